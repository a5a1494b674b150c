"""Emitted programs compute what NumPy computes, on the functional and on the timed machine."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from vtakit.compiler.emit.vta import Place, emit
from vtakit.compiler.evaluate import evaluate
from vtakit.compiler.expr import (
    Expr,
    Tensor,
    Type,
    all_of,
    cast,
    compute,
    elementwise,
    placeholder,
    reduce_axis,
    select,
    total,
)
from vtakit.compiler.kernel import build
from vtakit.compiler.schedule import Schedule, ScheduleError, Scope
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.instructions import Opcode
from vtakit.isa.stream import decode_stream
from vtakit.runtime.queue import CommandQueue
from vtakit.sim.machine import Machine

from .tensor_programs import PAGE, Operator, Tiles, addition, conv, pool, run, scheduled

CONFIGS = {name: PRESETS[name] for name in ("tiny", "small", "default", "batch2", "big")}
TINY = Tiles(o=1, y=3, x=3, c=1, double=False, split_window=True, constants_outside=False)


@pytest.fixture(params=CONFIGS.values(), ids=list(CONFIGS))
def config(request: pytest.FixtureRequest) -> Config:
    return request.param


def assert_computes(op: Operator, tiles: Tiles, config: Config) -> None:
    kernel = build(scheduled(op, tiles), config)
    for timing in (False, True):
        output, _ = run(kernel, op.given, op.out, timing=timing)
        np.testing.assert_array_equal(output, op.wanted)


@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [
        ((3, 3), (1, 1), (1, 1, 1, 1)),
        ((3, 3), (2, 2), (1, 1, 1, 1)),
        ((1, 1), (1, 1), (0, 0, 0, 0)),
        ((1, 1), (2, 2), (0, 0, 0, 0)),
        ((5, 3), (1, 2), (2, 0, 3, 1)),
        ((2, 7), (3, 1), (0, 3, 1, 3)),
    ],
)
def test_convolutions_of_any_kernel_stride_and_padding(
    config: Config,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> None:
    op = conv(config, c=2, o=2, kernel=kernel, stride=stride, pads=pads, rows=9, cols=8)
    assert_computes(op, TINY, config)


@pytest.mark.parametrize("threads", ["o", "y", "x"])
def test_virtual_threads_over_any_outer_loop(config: Config, threads: str) -> None:
    op = conv(config, c=2, o=3, rows=7, cols=7, residual=True)
    tiles = Tiles(o=1, y=2, x=3, c=1, threads=threads, double=False, split_window=True)
    assert_computes(op, replace(tiles, constants_outside=False), config)


@pytest.mark.parametrize("keep", ["", "weights", "inputs"])
def test_operands_that_stay_while_the_other_changes(keep: str) -> None:
    order = ("y", "x", "o") if keep == "inputs" else ("o", "y", "x")
    for name in ("small", "default", "batch2", "big"):
        op = conv(CONFIGS[name], c=2, o=3, rows=6, cols=5)
        assert_computes(op, Tiles(o=1, y=3, x=5, c=2, keep=keep, order=order), CONFIGS[name])


def test_a_dense_layer_is_a_convolution_of_one_position(config: Config) -> None:
    op = conv(config, c=5, o=4, rows=1, cols=1, kernel=(1, 1), pads=(0, 0, 0, 0))
    assert_computes(op, Tiles(o=3, y=1, x=1, c=2), config)


@pytest.mark.parametrize("largest", [True, False], ids=["max", "sum"])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [
        ((3, 3), (2, 2), (1, 1, 1, 1)),
        ((2, 2), (2, 2), (0, 0, 0, 0)),
        ((3, 2), (1, 1), (0, 1, 2, 0)),
        ((7, 8), (1, 1), (0, 0, 0, 0)),
    ],
)
def test_poolings(
    config: Config,
    largest: bool,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> None:
    op = pool(config, largest_=largest, kernel=kernel, stride=stride, pads=pads)
    out_rows, out_cols = op.out.shape[2:4]
    tiles = Tiles(o=1, y=min(2, out_rows), x=min(3, out_cols), double=config.acc_depth > 200)
    assert_computes(op, tiles, config)
    if largest:
        assert_computes(op, replace(tiles, o=1, x=out_cols, threads="y", double=False), config)


def test_elementwise_chains_with_an_operand_used_twice(config: Config) -> None:
    assert_computes(addition(config), Tiles(o=1, y=3, x=4), config)
    assert_computes(addition(config), Tiles(o=1, y=2, x=4, threads="o", double=False), config)


def test_a_tensor_may_be_the_inside_of_a_larger_one() -> None:
    config = PRESETS["small"]
    tile = (config.batch, config.block_in)
    x = placeholder("x", (2, 3, 4, *tile), Type.INT8)
    wide = elementwise("wide", x, lambda at: cast(x[at], Type.INT32))
    out = elementwise("out", x, lambda at: cast(wide[at], Type.INT8))
    s = Schedule.of(out).set_scope(wide, Scope.ACC)
    kernel = build(s.compute_at(wide, out, s.axes(out)[0]), config)
    halo = (2, 5, 6, *tile)
    inner = np.s_[:, 1:4, 1:5]
    strides = (30, 6, 1)
    first = 7 * config.inp_tile_bytes  # row 1, column 1
    queue = CommandQueue(config)
    emit(kernel, queue, {x: Place(first, strides), out: Place(PAGE + first, strides)})
    stream = queue.finish()
    machine = Machine(config, dram_bytes=8 * PAGE)
    values = np.random.default_rng(0).integers(-128, 128, halo).astype(np.int8)
    machine.dram[PAGE : PAGE + values.size] = values.reshape(-1).view(np.uint8)
    machine.dram[4 * PAGE : 4 * PAGE + stream.uops.size] = stream.uops
    machine.run(stream.relocate(PAGE, 4 * PAGE))
    result = machine.dram[2 * PAGE : 2 * PAGE + values.size].view(np.int8).reshape(halo)
    wanted = np.zeros_like(values)
    wanted[inner] = values[inner]
    np.testing.assert_array_equal(result, wanted)


def test_a_tile_that_is_all_padding_reads_nothing() -> None:
    config = PRESETS["small"]
    op = conv(config, rows=4, cols=4, kernel=(2, 2), pads=(3, 5, 4, 3))
    tiles = Tiles(o=1, y=1, x=2, c=1, double=False)
    assert_computes(op, tiles, config)
    assert_computes(op, replace(tiles, y=2, threads="y"), config)


def test_a_guarded_sum_multiplies_only_where_its_condition_holds(config: Config) -> None:
    block = config.block_in
    x = placeholder("x", (1, 1, 5, 6, config.batch, block), Type.INT8)
    w = placeholder("w", (1, 1, 3, 3, block, block), Type.INT8)
    ky, kx, i = reduce_axis(3, "ky"), reduce_axis(3, "kx"), reduce_axis(block, "i")

    def body(n: Expr, o: Expr, y: Expr, c: Expr, b: Expr, j: Expr) -> Expr:
        row, col = y + ky - 1, c + kx - 1
        inside = all_of(row >= 0, row < 5, col >= 0, col < 6)
        pixel = cast(x[n, 0, row, col, b, i], Type.INT32)
        product = pixel * cast(w[o, 0, ky, kx, j, i], Type.INT32)
        return total(select(inside, product, 0), over=(ky, kx, i))

    acc = compute("acc", x.shape, body)
    out = elementwise("out", acc, lambda at: cast(acc[at], Type.INT8))
    s = Schedule.of(out).set_scope(acc, Scope.ACC)
    s, x_held = s.cache_read(x, Scope.INP)
    s, _ = s.cache_read(w, Scope.WGT)
    s, rows, _ = s.split(out, s.axes(out)[2], 2)
    s = s.compute_at(acc, out, rows).compute_at(x_held, out, rows)
    random = np.random.default_rng(0)
    given: dict[Tensor, np.ndarray] = {
        t: random.integers(-128, 128, t.shape).astype(np.int8) for t in (x, w)
    }
    output, _ = run(build(s, config), given, out)
    np.testing.assert_array_equal(output, evaluate(out, given))


def test_every_tensor_needs_a_place_with_a_stride_for_each_axis() -> None:
    config = PRESETS["small"]
    op = conv(config)
    kernel = build(scheduled(op, Tiles()), config)
    places = {tensor: Place(PAGE * number) for number, tensor in enumerate(kernel.tensors)}
    with pytest.raises(ScheduleError, match="out has no place in DRAM; give it one to emit it"):
        emit(kernel, CommandQueue(config), {t: p for t, p in places.items() if t is not op.out})
    places[op.data] = Place(0, (1, 7))
    with pytest.raises(ScheduleError, match="data has 4 axes of tiles and is placed with 2"):
        emit(kernel, CommandQueue(config), places)


def test_more_padding_than_a_load_writes_is_refused() -> None:
    config = PRESETS["default"]
    op = conv(config, pads=(0, 16, 0, 0))
    kernel = build(scheduled(op, Tiles(y=5, x=30)), config)
    with pytest.raises(ScheduleError, match=r"around \['x'\], up to 16; a load writes at most 15"):
        run(kernel, op.given, op.out)


def test_a_tile_and_a_chunk_of_the_sum_are_one_instruction() -> None:
    config = PRESETS["default"]
    op = conv(config, c=4, o=4, rows=14, cols=14)
    kernel = build(scheduled(op, Tiles(o=4, y=7, x=14, c=2)), config)
    queue = CommandQueue(config)
    emit(kernel, queue, {t: Place(PAGE * 64 * n) for n, t in enumerate(kernel.tensors)})
    columns = decode_stream(queue.finish().insns, config)
    opcodes, resets = columns["opcode"], columns["reset"]
    assert np.sum((opcodes == Opcode.GEMM) & (resets == 0)) == 2 * 2  # row tiles, halves of the sum
    assert np.sum((opcodes == Opcode.GEMM) & (resets == 1)) == 2
    assert np.sum(opcodes == Opcode.ALU) == 2 * 6


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_schedule_of_any_convolution(data: st.DataObject) -> None:
    config = CONFIGS[data.draw(st.sampled_from(["tiny", "small", "default", "batch2"]))]
    kernel = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    op = conv(
        config,
        n=data.draw(st.integers(1, 2)),
        c=data.draw(st.integers(1, 3)),
        o=data.draw(st.integers(1, 3)),
        rows=data.draw(st.integers(4, 9)),
        cols=data.draw(st.integers(4, 9)),
        kernel=kernel,
        stride=data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        pads=data.draw(st.tuples(*[st.integers(0, 2)] * 4)),
        residual=data.draw(st.booleans()),
        seed=data.draw(st.integers(0, 1000)),
    )
    tiles = data.draw(tilings())
    try:
        kernel_ = build(scheduled(op, tiles), config)
    except ScheduleError as error:
        if "too few" not in str(error):
            raise
        assume(False)
        return
    output, _ = run(kernel_, op.given, op.out, timing=data.draw(st.booleans()))
    np.testing.assert_array_equal(output, op.wanted)


@st.composite
def tilings(draw: st.DrawFn) -> Tiles:
    keep = draw(st.sampled_from(["", "", "weights", "inputs"]))
    split = draw(st.booleans())
    order = draw(st.permutations(["o", "y", "x"]))
    return Tiles(
        o=draw(st.integers(1, 3)),
        y=draw(st.integers(1, 5)),
        x=draw(st.integers(1, 5)),
        c=draw(st.integers(1, 3)),
        order=(order[0], order[1], order[2]),
        threads=draw(st.sampled_from(["", "o", "y", "x"])),
        double=draw(st.booleans()),
        keep=keep,
        split_window=split,
        constants_outside=draw(st.booleans()),
    )
