"""Lowered programs compute what the expressions say, whatever the schedule."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from vtakit.compiler.evaluate import evaluate
from vtakit.compiler.expr import (
    Compute,
    Tensor,
    Type,
    all_of,
    compute,
    elementwise,
    largest,
    placeholder,
    reduce_axis,
    select,
    total,
)
from vtakit.compiler.interpret import interpret
from vtakit.compiler.kernel import build
from vtakit.compiler.loops import blocks
from vtakit.compiler.lower import lower
from vtakit.compiler.schedule import Schedule, ScheduleError, Scope
from vtakit.isa.config import PRESETS

from .tensor_programs import Array, Tiles, conv, scheduled

GOLDEN = Path(__file__).parents[1] / "golden"


def pipeline(
    stride: int, window: int, pad: int
) -> tuple[Compute, list[Compute], dict[Tensor, Array]]:
    """A padded input, a window reduction, a sum with a vector, and a row sum of that."""
    random = np.random.default_rng(stride + 10 * window)
    rows, cols = 7, 9
    a = placeholder("a", (rows, cols, 2), Type.INT32)
    v = placeholder("v", (2,), Type.INT32)
    padded = compute(
        "padded",
        (rows + 2 * pad, cols + 2 * pad, 2),
        lambda y, x, k: select(
            all_of(y >= pad, y < rows + pad, x >= pad, x < cols + pad), a[y - pad, x - pad, k], 0
        ),
    )
    ky, kx = reduce_axis(window, "ky"), reduce_axis(window, "kx")
    shape = ((rows + 2 * pad - window) // stride + 1, (cols + 2 * pad - window) // stride + 1, 2)
    pooled = compute(
        "pooled",
        shape,
        lambda y, x, k: total(padded[y * stride + ky, x * stride + kx, k], over=(ky, kx)),
    )
    shifted = compute("shifted", shape, lambda y, x, k: pooled[y, x, k] + v[k] * 2)
    r = reduce_axis(shape[1], "r")
    peak = compute("peak", (shape[0], 2), lambda y, k: largest(shifted[y, r, k], (r,), -(1 << 31)))
    out = compute("out", shape, lambda y, x, k: shifted[y, x, k] - peak[y, k])
    given_: dict[Tensor, Array] = {
        a: random.integers(-99, 99, a.shape).astype(np.int32),
        v: random.integers(-99, 99, v.shape).astype(np.int32),
    }
    return out, [padded, pooled, shifted, peak], given_


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_sequence_of_primitives_keeps_the_result(data: st.DataObject) -> None:
    out, stages, arrays = pipeline(
        data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2))
    )
    s = Schedule.of(out)
    wanted = evaluate(out, arrays)
    try:
        for _ in range(data.draw(st.integers(0, 9))):
            s = step(data, s, out, stages)
        program = lower(s)
    except ScheduleError as error:
        if not any(reason in str(error) for reason in REFUSALS):
            raise
        assume(False)
        return
    np.testing.assert_array_equal(interpret(program, arrays)[out], wanted)


REFUSALS = (
    "cannot fuse",
    "is fused from",
    "reads it outside that loop",
    "is computed at",
    "must be directly inside",
    "is a reduction",
    "marked",
    "before that",
)


def step(data: st.DataObject, s: Schedule, out: Compute, stages: list[Compute]) -> Schedule:
    """Apply one primitive, drawn at random."""
    known = [stage.tensor for stage in s.stages]
    tensor = data.draw(st.sampled_from(known))
    loops = s.axes(tensor)
    match data.draw(st.sampled_from(["split", "split", "fuse", "reorder", "at", "at", "other"])):
        case "split":
            axis, factor = data.draw(st.tuples(st.sampled_from(loops), st.integers(1, 5)))
            return s.split(tensor, axis, factor)[0]
        case "fuse" if len(loops) > 1:
            place = data.draw(st.integers(0, len(loops) - 2))
            return s.fuse(tensor, loops[place], loops[place + 1])[0]
        case "reorder":
            return s.reorder(tensor, *data.draw(st.permutations(loops)))
        case "at" if tensor is not out:
            consumer = data.draw(st.sampled_from(s.readers(tensor))).tensor
            axis = data.draw(st.sampled_from(s.axes(consumer)))
            return s.set_scope(tensor, Scope.ACC).compute_at(tensor, consumer, axis)
        case "other":
            return other(data, s, tensor, out)
        case _:
            return s


def other(data: st.DataObject, s: Schedule, tensor: Compute, out: Compute) -> Schedule:
    match data.draw(st.sampled_from(["cache_read", "cache_write", "inline", "unroll", "double"])):
        case "cache_read":
            source = data.draw(st.sampled_from(s.stage(tensor).sources))
            return s.cache_read(source, Scope.ACC, [tensor])[0]
        case "cache_write":
            return s.cache_write(tensor, Scope.ACC)[0]
        case "inline" if tensor is not out:
            return s.compute_inline(tensor)
        case "unroll":
            return s.unroll(tensor, data.draw(st.sampled_from(s.axes(tensor))))
        case "double" if tensor is not out:
            return s.set_scope(tensor, Scope.ACC).double_buffer(tensor)
        case _:
            return s


def test_a_ragged_tile_comes_out_shorter_without_conditions() -> None:
    a = placeholder("a", (14,), Type.INT32)
    out = elementwise("out", a, lambda at: a[at] + 1)
    s = Schedule.of(out)
    s, cache = s.cache_read(a, Scope.ACC)
    s, outer, inner = s.split(out, s.axes(out)[0], 4)
    s, _, _ = s.split(out, inner, 3)
    text = str(lower(s.compute_at(cache, out, outer)))
    assert "a.ACC = ACC int32(min(4, 14 - i0_o * 4)) at [i0_o * 4]" in text
    assert "when" not in text
    assert "select" not in text


def test_a_reduction_begins_in_the_first_iteration_of_its_outer_loops() -> None:
    op = conv(PRESETS["tiny"], c=2)
    text = str(lower(scheduled(op, Tiles(c=1, split_window=True))))
    assert "when c_o == 0 and ky == 0\n" in text
    assert text.index("for ky in 3") < text.index("when c_o == 0") < text.index("acc[0, 0, y, x")


def test_only_the_rows_that_a_strided_kernel_needs_are_kept() -> None:
    op = conv(PRESETS["tiny"], kernel=(1, 1), stride=(2, 2), pads=(0, 0, 0, 0), rows=9, cols=9)
    text = str(lower(scheduled(op, Tiles(y=3, x=5))))
    assert "data.INP = INP int8(1, 1, min(3, 5 - y_o * 3), 9, 1, 4) x2" in text
    assert "step (1, 1, 2, 1, 1, 1)" in text


def test_weights_are_loaded_before_inputs() -> None:
    text = str(lower(scheduled(conv(PRESETS["tiny"], c=2), Tiles())))
    assert text.index("wgt.WGT[") < text.index(": pad[")


def test_loops_of_a_last_short_tile_are_not_fused() -> None:
    a = placeholder("a", (14, 3), Type.INT32)
    out = elementwise("out", a, lambda at: a[at] + 1)
    s = Schedule.of(out)
    y, x = s.axes(out)
    s, _, inner = s.split(out, y, 4)
    s, _ = s.fuse(out, inner, x)
    with pytest.raises(ScheduleError, match="the length of i0_i varies; choose tiles that divide"):
        lower(s)


def test_a_producer_must_surround_all_of_its_readers() -> None:
    out, (padded, pooled, shifted, peak), _ = pipeline(1, 3, 1)
    s = Schedule.of(out).set_scope(shifted, Scope.ACC)
    s = s.compute_at(shifted, out, s.axes(out)[0])
    with pytest.raises(ScheduleError, match="shifted is computed at y of out, but peak reads it"):
        lower(s)
    s = Schedule.of(out).compute_at(padded, pooled, pooled.axes[0])
    with pytest.raises(ScheduleError, match="padded is kept in DRAM and computed at a loop"):
        lower(s)
    s = Schedule.of(out).set_scope(peak, Scope.ACC).compute_at(peak, pooled, pooled.axes[0])
    with pytest.raises(ScheduleError, match="peak is computed at y of pooled, which does not use"):
        lower(s)


@pytest.mark.parametrize(
    ("name", "tiles"),
    [
        ("buffers", Tiles(o=2, y=4, x=7, c=1)),
        ("threads", Tiles(o=2, y=4, x=7, c=1, threads="o", double=False)),
    ],
)
def test_a_convolution_lowers_to_the_golden_program(name: str, tiles: Tiles) -> None:
    op = conv(PRESETS["default"], c=2, o=4, residual=True)
    kernel = build(scheduled(op, tiles), PRESETS["default"])
    assert str(kernel.program) == (GOLDEN / f"conv_{name}.txt").read_text(encoding="utf-8")


def test_every_block_of_a_convolution_is_one_nest() -> None:
    op = conv(PRESETS["default"], c=2, o=4)
    program = build(scheduled(op, Tiles(o=2, y=4, x=7, c=1)), PRESETS["default"]).program
    found = [block.match.intrinsic.name for block in blocks(program.body) if block.match]
    assert found == [
        *["LOAD ACC"] * 2,
        "LOAD WGT",
        "LOAD INP padded",
        "RESET",
        "GEMM",
        "ALU ADD",
        "ALU SHR imm",
        "ALU MUL",
        "ALU SHR imm",
        "ALU MAX imm",
        "ALU MIN imm",
        "STORE",
    ]
