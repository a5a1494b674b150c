"""Blocks are matched by what they compute and where, and a mismatch says what differs."""

from collections.abc import Callable

import numpy as np
import pytest
from vtakit.compiler.evaluate import evaluate
from vtakit.compiler.expr import (
    BinaryOp,
    Compute,
    Const,
    Expr,
    Placeholder,
    Tensor,
    Type,
    cast,
    compute,
    elementwise,
    maximum,
    placeholder,
    reduce_axis,
    select,
    total,
)
from vtakit.compiler.inplace import in_place
from vtakit.compiler.interpret import interpret
from vtakit.compiler.intrinsics import gemm, intrinsics, store
from vtakit.compiler.kernel import build
from vtakit.compiler.loops import Buffer, Program, blocks, buffers
from vtakit.compiler.lower import lower
from vtakit.compiler.schedule import Schedule, ScheduleError, Scope
from vtakit.compiler.tensorize import tensorize
from vtakit.isa.config import PRESETS, Config

from .tensor_programs import Tiles, addition, conv, pool, run, scheduled

TINY = PRESETS["tiny"]
SHAPE = (3, 5, TINY.batch, TINY.block_out)
X, Y = placeholder("x", SHAPE, Type.INT32), placeholder("y", SHAPE, Type.INT32)


def chain(
    body: Callable[[Tensor, Tensor, tuple[Expr, ...]], Expr], y: Placeholder = Y
) -> tuple[Schedule, Compute, Compute]:
    """One elementwise stage on two loaded tensors, stored; loads and stage whole, in ACC."""
    made = elementwise("made", X, lambda at: body(X, y, at))
    out = elementwise("out", X, lambda at: cast(made[at], Type.INT8))
    s = Schedule.of(out).set_scope(made, Scope.ACC)
    for tensor in s.stage(made).sources:
        s, _ = s.cache_read(tensor, Scope.ACC)
    return s, made, out


def names(program: Program) -> list[str]:
    return [block.match.intrinsic.name for block in blocks(program.body) if block.match]


def failure(s: Schedule, config: Config = TINY) -> str:
    with pytest.raises(ScheduleError) as caught:
        tensorize(in_place(lower(s)), intrinsics(config))
    return str(caught.value)


@pytest.mark.parametrize(
    ("body", "instruction"),
    [
        (lambda x, y, at: x[at] + y[at], "ALU ADD"),
        (lambda x, y, at: x[at] * y[at], "ALU MUL"),
        (lambda x, y, at: maximum(x[at], y[at]), "ALU MAX"),
        (lambda x, y, at: x[at] >> y[at], "ALU SHR"),
        (lambda x, y, at: x[at] + 5, "ALU ADD imm"),
        (lambda x, y, at: 5 + x[at], "ALU ADD imm"),
        (lambda x, y, at: x[at] - 5, "ALU ADD imm"),
        (lambda x, y, at: x[at] * -32768, "ALU MUL imm"),
        (lambda x, y, at: x[at] >> 31, "ALU SHR imm"),
    ],
)
def test_an_elementwise_stage_is_an_alu_instruction(
    body: Callable[[Tensor, Tensor, tuple[Expr, ...]], Expr], instruction: str
) -> None:
    s, _, out = chain(body)
    kernel = build(s, TINY)
    assert names(kernel.program)[-2:] == [instruction, "STORE"]
    random = np.random.default_rng(0)
    used = [tensor for tensor in kernel.tensors if tensor is not out]
    given: dict[Tensor, np.ndarray] = {
        t: random.integers(0, 31, SHAPE).astype(np.int32) for t in used
    }
    wanted = evaluate(out, given)
    np.testing.assert_array_equal(interpret(kernel.program, given)[out], wanted)
    np.testing.assert_array_equal(run(kernel, given, out)[0], wanted)


def test_the_same_stage_under_any_name_and_order_of_loops_matches() -> None:
    for order in ((0, 1), (1, 0)):
        s, made, _ = chain(lambda x, y, at: y[at] + x[at])
        loops = s.axes(made)
        s = s.reorder(made, *(loops[place] for place in order))
        assert "ALU ADD" in names(build(s, TINY).program)


def test_a_vector_is_broadcast_and_a_scalar_is_not_a_tile() -> None:
    vector = placeholder("vector", (3, TINY.batch, TINY.block_out), Type.INT32)
    made = compute("made", SHAPE, lambda c, x, b, j: X[c, x, b, j] * vector[c, b, j])
    out = elementwise("out", X, lambda at: cast(made[at], Type.INT8))
    s = Schedule.of(out).set_scope(made, Scope.ACC)
    for tensor in (X, vector):
        s, _ = s.cache_read(tensor, Scope.ACC)
    assert names(build(s, TINY).program) == ["LOAD ACC", "LOAD ACC", "ALU MUL", "STORE"]
    scalar = placeholder("scalar", (1, 1), Type.INT32)
    made = elementwise("made", X, lambda at: X[at] * scalar[0, 0])
    out = elementwise("out", X, lambda at: cast(made[at], Type.INT8))
    s = Schedule.of(out).set_scope(made, Scope.ACC)
    for tensor in (X, scalar):
        s, _ = s.cache_read(tensor, Scope.ACC)
    assert "tiles of scalar are (1, 1) and of its src (1, 4)" in failure(s)


def test_a_mismatch_says_what_differs() -> None:
    s, _, _ = chain(lambda x, y, at: x[at] * 40000)
    assert "the constant 40000 does not fit its immediate, -32768 to 32767; give" in failure(s)
    s, made, _ = chain(lambda x, y, at: x[at] - y[at])
    assert "no instruction computes stage made" in failure(s)
    out = elementwise("out", X, lambda at: cast(X[at], Type.INT8))
    assert "x is in DRAM and must be in ACC; set_scope or cache_read" in failure(Schedule.of(out))
    big = PRESETS["default"]
    s, _, _ = chain(lambda x, y, at: x[at] + 5)
    assert "tiles of x are (1, 4) and of its src (1, 16)" in failure(s, big)
    s, made, _ = chain(lambda x, y, at: x[at] + 5)
    s, _, _ = s.split(made, s.axes(made)[-1], 2)
    assert "inside its tile, where a whole loop must be" in failure(s)


def test_a_convolution_with_an_operand_in_the_wrong_memory_says_so() -> None:
    op = conv(TINY, pads=(0, 0, 0, 0))
    s = Schedule.of(op.out)
    for stage in op.inside:
        s = s.set_scope(stage, Scope.ACC)
    s, _ = s.cache_read(op.data, Scope.ACC)
    text = failure(s)
    assert "stage data.ACC" in text or "data.ACC is in ACC and must be in INP" in text


def test_an_intrinsic_that_was_asked_for_must_be_the_one() -> None:
    op = conv(TINY, pads=(0, 0, 0, 0))
    s = scheduled(op, Tiles(o=1, y=2, x=2, constants_outside=False, double=False))
    assert op.anchor is not None
    _, b, j = op.anchor.axes[-3:]
    x, *_, i = s.axes(op.anchor)[-5:]
    outer = [axis for axis in s.axes(op.anchor) if axis not in (b, j, i)]
    s = s.reorder(op.anchor, *outer, b, j, i)
    assert "GEMM" in names(build(s.tensorize(op.anchor, b, gemm(TINY)), TINY).program)
    with pytest.raises(ScheduleError, match="the nearest is STORE, but acc is in ACC and must be"):
        build(s.tensorize(op.anchor, b, store(TINY)), TINY)
    with pytest.raises(ScheduleError, match="it runs .* itself and was said to run"):
        build(s.tensorize(op.anchor, x, gemm(TINY)), TINY)


def test_indices_that_are_no_sums_of_loops_are_refused() -> None:
    halved = compute("halved", SHAPE, lambda c, x, b, j: X[c, x // 2, b, j])
    out = elementwise("out", X, lambda at: cast(halved[at], Type.INT8))
    s = Schedule.of(out).set_scope(halved, Scope.ACC)
    assert "moves by x // 2, which is no sum of loops" in failure(s)


def test_every_instruction_is_declared_once_for_each_memory() -> None:
    found = [str(intrinsic) for intrinsic in intrinsics(TINY)]
    assert len(found) == len(set(found))
    assert "GEMM: acc = reduce + over i of int32(inp[b, i]) * int32(wgt[o, i])" in found
    assert "LOAD ACC_8BIT padded: dst = select(inside, int32(src[b, i]), 0)" in found
    assert "STORE: out = int8(acc[b, o])" in found


def test_a_chain_works_in_one_buffer() -> None:
    op = conv(PRESETS["default"], residual=True)
    program = build(scheduled(op, Tiles(double=False)), PRESETS["default"]).program
    held = [b.name for b in buffers(program.body) if b.scope is Scope.ACC]
    assert held == ["bias.ACC", "mul.ACC", "acc", "widened"]


def test_an_operand_that_is_used_again_is_copied() -> None:
    op = addition(TINY)
    program = lower(scheduled(op, Tiles(o=1, y=3, x=4)))
    shared = in_place(program)
    for step in (program, shared):
        np.testing.assert_array_equal(interpret(step, op.given)[op.out], op.wanted)
    held = [b.name for b in buffers(shared.body)]
    assert held == ["wide_x", "times_x", "wide_y"]
    first, second, third = [b for b in blocks(shared.body) if b.stage == "times_x"]
    assert (first.update, second.update, third.update) == (None, BinaryOp.ADD, BinaryOp.MUL)
    assert (str(first.value), str(third.value)) == ("0", "-300")


def test_an_operand_is_not_overwritten_while_another_index_of_it_is_read() -> None:
    reversed_ = compute("reversed", SHAPE, lambda c, x, b, j: X[c, x, b, j] + X[c, 4 - x, b, j])
    out = elementwise("out", X, lambda at: cast(reversed_[at], Type.INT8))
    s = Schedule.of(out).set_scope(reversed_, Scope.ACC)
    s, _ = s.cache_read(X, Scope.ACC)
    values = np.random.default_rng(0).integers(-99, 99, SHAPE).astype(np.int32)
    kernel = build(s, TINY)
    wanted = evaluate(out, {X: values})
    np.testing.assert_array_equal(interpret(kernel.program, {X: values})[out], wanted)
    np.testing.assert_array_equal(run(kernel, {X: values}, out)[0], wanted)


def test_only_a_neutral_choice_leaves_a_window_out() -> None:
    op = pool(TINY, largest_=True)
    program = build(scheduled(op, Tiles(y=2, x=2, double=False)), TINY).program
    guards = [block.guard for block in blocks(program.body) if block.guard is not None]
    assert len(guards) == 1
    k = reduce_axis(3, "k")
    worse = compute(
        "worse",
        (3, TINY.batch, TINY.block_out),
        lambda c, b, j: total(select(k < c, X[c, k, b, j], Const(7, Type.INT32)), over=(k,)),
    )
    out = elementwise("out", worse, lambda at: cast(worse[at], Type.INT8))
    s = Schedule.of(out).set_scope(worse, Scope.ACC)
    s, _ = s.cache_read(X, Scope.ACC)
    assert "no instruction computes stage worse" in failure(s)


def test_buffers_that_do_not_fit_are_named_with_what_is_missing() -> None:
    op = conv(TINY, c=4, o=4)
    with pytest.raises(ScheduleError, match=r"WGT needs 288 tiles and holds 64, 224 too few: wgt"):
        build(scheduled(op, Tiles(o=4, y=1, x=1, c=4)), TINY)


def test_a_buffer_says_what_it_holds() -> None:
    op = conv(TINY, c=2)
    program = lower(scheduled(op, Tiles(c=1)))
    pad = next(b for b in buffers(program.body) if b.name == "pad")
    assert isinstance(pad, Buffer)
    assert (pad.scope, pad.copies, pad.tiles) == (Scope.INP, 2, 36)
    assert pad.shape == (1, 1, 6, 6, 1, 4)
