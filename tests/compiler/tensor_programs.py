"""Operators to test the tensor compiler with: expressions, schedules, and NumPy's own answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from vtakit.compiler.emit.vta import Place, emit
from vtakit.compiler.expr import (
    Axis,
    Compute,
    Const,
    Expr,
    Placeholder,
    Tensor,
    Type,
    all_of,
    cast,
    compute,
    elementwise,
    largest,
    maximum,
    minimum,
    placeholder,
    reduce_axis,
    select,
    total,
)
from vtakit.compiler.kernel import Kernel
from vtakit.compiler.schedule import Schedule, Scope
from vtakit.isa.config import Config
from vtakit.runtime.queue import CommandQueue
from vtakit.sim.machine import Machine, Result

Array = npt.NDArray[Any]
PAGE = 4096


@dataclass(frozen=True)
class Tiles:
    """How `scheduled` cuts an operator: tile sizes, loop order, and what overlaps.

    `threads` is "" or the outer loop (o, y or x) that two virtual threads share. `keep` is
    "weights" or "inputs" when they are loaded further out, for the whole sum.
    """

    o: int = 1
    y: int = 4
    x: int = 4
    c: int = 1
    order: tuple[str, str, str] = ("o", "y", "x")
    threads: str = ""
    double: bool = True
    keep: str = ""
    split_window: bool = False
    constants_outside: bool = True


@dataclass
class Operator:
    """An operator on packed tensors: what to schedule, its inputs, and the wanted output."""

    out: Compute
    given: dict[Tensor, Array]
    wanted: Array
    data: Placeholder
    loaded: Tensor | None = None  # the padded or widened input, where that is a stage
    weights: Placeholder | None = None
    anchor: Compute | None = None
    sums: tuple[Axis, ...] = ()
    constants: tuple[Placeholder, ...] = ()
    inside: tuple[Compute, ...] = ()


def conv(
    config: Config,
    *,
    n: int = 1,
    c: int = 1,
    o: int = 1,
    rows: int = 7,
    cols: int = 7,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (1, 1, 1, 1),
    residual: bool = False,
    seed: int = 0,
) -> Operator:
    """A convolution, bias, multiplier, shift and clip; `c`, `o` in blocks; pads t, l, b, r."""
    random = np.random.default_rng(seed)
    b, block = config.batch, config.block_in
    (kh, kw), (sy, sx) = kernel, stride
    top, left, bottom, right = pads
    high, wide = rows + top + bottom, cols + left + right
    shape = (n, o, (high - kh) // sy + 1, (wide - kw) // sx + 1, b, block)
    x = random.integers(-128, 128, (n * b, c * block, rows, cols)).astype(np.int8)
    w = random.integers(-128, 128, (o * block, c * block, kh, kw)).astype(np.int8)
    bias_array = random.integers(-50000, 50000, o * block).astype(np.int32)
    factor = random.integers(1, 60, o * block).astype(np.int32)
    res = random.integers(-128, 128, (n * b, o * block, *shape[2:4])).astype(np.int8)

    data = placeholder("data", (n, c, rows, cols, b, block), Type.INT8)
    wgt = placeholder("wgt", (o, c, kh, kw, block, block), Type.INT8)
    bias = placeholder("bias", (o, b, block), Type.INT32)
    mul = placeholder("mul", (o, b, block), Type.INT32)
    given: dict[Tensor, Array] = {
        data: packed(x, config),
        wgt: packed_weights(w, config),
        bias: packed_vector(bias_array, config),
        mul: packed_vector(factor, config),
    }
    loaded: Tensor | None = None
    if any(pads):
        loaded = padding("pad", data, pads)
    source = data if loaded is None else loaded
    sums = (reduce_axis(c, "c"), reduce_axis(kh, "ky"), reduce_axis(kw, "kx"))
    i = reduce_axis(block, "i")
    ci, ky, kx = sums
    acc = compute(
        "acc",
        shape,
        lambda n, o, y, x, b, j: total(
            cast(source[n, ci, y * sy + ky, x * sx + kx, b, i], Type.INT32)
            * cast(wgt[o, ci, ky, kx, j, i], Type.INT32),
            over=(*sums, i),
        ),
    )
    biased = compute(
        "biased", shape, lambda n, o, y, x, b, j: acc[n, o, y, x, b, j] + bias[o, b, j]
    )
    before = elementwise("before", acc, lambda at: biased[at] >> 4)
    scaled = compute(
        "scaled", shape, lambda n, o, y, x, b, j: before[n, o, y, x, b, j] * mul[o, b, j]
    )
    inside = [acc, biased, before, scaled]
    if residual:
        more = placeholder("more", shape, Type.INT8)
        given[more] = packed(res, config)
        widened = elementwise("widened", more, lambda at: cast(more[at], Type.INT32))
        times = elementwise("times", acc, lambda at: widened[at] * 77)
        added = elementwise("added", acc, lambda at: scaled[at] + times[at])
        inside += [widened, times, added]
    result = inside[-1]
    shifted = elementwise("shifted", acc, lambda at: result[at] >> 11)
    low = elementwise("low", acc, lambda at: maximum(shifted[at], -120))
    high_ = elementwise("high", acc, lambda at: minimum(low[at], 121))
    out = elementwise("out", acc, lambda at: cast(high_[at], Type.INT8))

    sums_ = convolved(x, w, stride, pads)
    answer = sums_ + bias_array[:, None, None].astype(np.int64)
    answer = (answer >> 4) * factor[:, None, None]
    if residual:
        answer = answer + 77 * res.astype(np.int64)
    wanted = packed(np.clip(answer >> 11, -120, 121).astype(np.int8), config)
    return Operator(
        out,
        given,
        wanted,
        data,
        loaded,
        wgt,
        acc,
        sums,
        (bias, mul),
        (*inside, shifted, low, high_),
    )


def pool(
    config: Config,
    *,
    largest_: bool,
    n: int = 1,
    c: int = 2,
    rows: int = 7,
    cols: int = 8,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (2, 2),
    pads: tuple[int, int, int, int] = (1, 1, 1, 1),
    seed: int = 0,
) -> Operator:
    """A max pooling whose pads never win, or a sum pooling shifted by 3."""
    random = np.random.default_rng(seed)
    b, block = config.batch, config.block_in
    (kh, kw), (sy, sx) = kernel, stride
    top, left, bottom, right = pads
    shape = (
        n,
        c,
        (rows + top + bottom - kh) // sy + 1,
        (cols + left + right - kw) // sx + 1,
        b,
        block,
    )
    x = random.integers(-128, 128, (n * b, c * block, rows, cols)).astype(np.int8)
    data = placeholder("data", (n, c, rows, cols, b, block), Type.INT8)
    ky, kx = reduce_axis(kh, "ky"), reduce_axis(kw, "kx")
    fill = -128 if largest_ else 0
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(
            x.astype(np.int64),
            ((0, 0), (0, 0), (top, bottom), (left, right)),
            constant_values=fill,
        ),
        kernel,
        (2, 3),
    )[:, :, ::sy, ::sx]
    if largest_:
        wide = elementwise("wide", data, lambda at: cast(data[at], Type.INT32))

        def window(n: Expr, c: Expr, y: Expr, x: Expr, b: Expr, j: Expr) -> Expr:
            row, col = y * sy + ky - top, x * sx + kx - left
            value = wide[n, c, row, col, b, j]
            inside = all_of(row >= 0, row < rows, col >= 0, col < cols)
            return largest(select(inside, value, -128) if any(pads) else value, over=(ky, kx))

        pooled = compute("pooled", shape, window)
        stages = [pooled]
        answer = windows.max(axis=(-2, -1))
    else:
        wide = padding("wide", data, pads, Type.INT32)
        pooled = compute(
            "pooled",
            shape,
            lambda n, c, y, x, b, j: total(
                wide[n, c, y * sy + ky, x * sx + kx, b, j], over=(ky, kx)
            ),
        )
        stages = [pooled, elementwise("shifted", pooled, lambda at: pooled[at] >> 3)]
        answer = windows.sum(axis=(-2, -1)) >> 3
    last = stages[-1]
    out = elementwise("out", pooled, lambda at: cast(last[at], Type.INT8))
    given: dict[Tensor, Array] = {data: packed(x, config)}
    wanted = packed(answer.astype(np.int8), config)
    return Operator(out, given, wanted, data, wide, None, pooled, (ky, kx), (), tuple(stages))


def addition(
    config: Config, *, n: int = 1, c: int = 2, rows: int = 5, cols: int = 6, seed: int = 0
) -> Operator:
    """Two int8 tensors, each times a number, added, shifted and clipped; one is used twice."""
    random = np.random.default_rng(seed)
    b, block = config.batch, config.block_in
    shape = (n, c, rows, cols, b, block)
    x, y = random.integers(-128, 128, (2, n * b, c * block, rows, cols)).astype(np.int8)
    first, second = placeholder("x", shape, Type.INT8), placeholder("y", shape, Type.INT8)
    wide_x = elementwise("wide_x", first, lambda at: cast(first[at], Type.INT32))
    wide_y = elementwise("wide_y", first, lambda at: cast(second[at], Type.INT32))
    times_x = elementwise("times_x", first, lambda at: wide_x[at] * -300)
    times_y = elementwise("times_y", first, lambda at: wide_y[at] * 411)
    added = elementwise("added", first, lambda at: times_x[at] + times_y[at])
    squared = elementwise("squared", first, lambda at: wide_x[at] * wide_x[at])
    both = elementwise("both", first, lambda at: added[at] + squared[at])
    shifted = elementwise("shifted", first, lambda at: both[at] >> 9)
    low = elementwise("low", first, lambda at: maximum(shifted[at], -128))
    high = elementwise("high", first, lambda at: minimum(low[at], 127))
    out = elementwise("out", first, lambda at: cast(high[at], Type.INT8))
    a, d = x.astype(np.int64), y.astype(np.int64)
    answer = np.clip((a * -300 + d * 411 + a * a) >> 9, -128, 127)
    return Operator(
        out,
        {first: packed(x, config), second: packed(y, config)},
        packed(answer.astype(np.int8), config),
        first,
        inside=(wide_x, wide_y, times_x, times_y, added, squared, both, shifted, low, high),
    )


def padding(
    name: str, data: Tensor, pads: tuple[int, int, int, int], element: Type = Type.INT8
) -> Compute:
    """The data with zeros around its rows and columns."""
    n, c, rows, cols, b, block = data.shape
    top, left, bottom, right = pads
    shape = (n, c, rows + top + bottom, cols + left + right, b, block)
    return compute(
        name,
        shape,
        lambda n, c, y, x, b, i: select(
            all_of(y >= top, y < rows + top, x >= left, x < cols + left),
            cast(data[n, c, y - top, x - left, b, i], element),
            Const(0, element),
        ),
    )


def scheduled(op: Operator, tiles: Tiles) -> Schedule:
    """The operator cut as `tiles` says."""
    s = Schedule.of(op.out)
    for stage in op.inside:
        s = s.set_scope(stage, Scope.ACC)
    n, o, y, x, _, _ = s.axes(op.out)
    outer: dict[str, Axis] = {}
    inner: list[Axis] = []
    for name, axis, size in (("o", o, tiles.o), ("y", y, tiles.y), ("x", x, tiles.x)):
        s, outer[name], cut = s.split(op.out, axis, size)
        inner.append(cut)
    order = [outer[name] for name in tiles.order]
    if tiles.threads:
        place = tiles.order.index(tiles.threads)
        s, order[place], thread = s.split(op.out, order[place], 2)
        s = s.virtual_thread(op.out, thread)
        order.append(thread)
    s = s.reorder(op.out, n, *order, *inner)
    for stage in op.inside:
        s = s.compute_at(stage, op.out, order[-1])
    for constant in op.constants:
        s, held = s.cache_read(constant, Scope.ACC)
        s = s.compute_at(held, op.out, order[0 if tiles.constants_outside else -1])
    if op.weights is None:
        if op.loaded is not None:
            s = s.set_scope(op.loaded, Scope.ACC).compute_at(op.loaded, op.out, order[-1])
            if tiles.double:
                s = s.double_buffer(op.loaded)
        return s
    assert op.anchor is not None
    s, wgt = s.cache_read(op.weights, Scope.WGT)
    if op.loaded is None:
        s, inp = s.cache_read(op.data, Scope.INP)
    else:
        inp = op.loaded
        s = s.set_scope(inp, Scope.INP)
    c, ky, kx = op.sums
    s, co, ci = s.split(op.anchor, c, tiles.c)
    steps = [co, ky] if tiles.split_window else [co]
    rest = [kx] if tiles.split_window else [ky, kx]
    s = s.reorder(op.anchor, *steps, *s.axes(op.anchor)[:4], ci, *rest)
    at = {"weights": (op.out, order[0]), "inputs": (op.out, order[-1])}
    for held, name in ((wgt, "weights"), (inp, "inputs")):
        consumer, axis = at[name] if tiles.keep == name else (op.anchor, steps[-1])
        s = s.compute_at(held, consumer, axis)
    if tiles.double:
        for held in (wgt, inp, op.anchor):
            s = s.double_buffer(held)
    return s


def run(
    kernel: Kernel, given: Mapping[Tensor, Array], output: Tensor, *, timing: bool = False
) -> tuple[Array, Result]:
    """Emit a kernel, run it, and return its output with what the machine says."""
    places: dict[Tensor, Place] = {}
    size = 0
    for tensor in kernel.tensors:
        places[tensor] = Place(size)
        size += pages(int(np.prod(tensor.shape)) * np.dtype(tensor.element.value).itemsize)
    queue = CommandQueue(kernel.config)
    emit(kernel, queue, places)
    stream = queue.finish()
    machine = Machine(kernel.config, dram_bytes=2 * PAGE + size + pages(stream.uops.size))
    for tensor, array in given.items():
        begin = PAGE + places[tensor].byte
        machine.dram[begin : begin + array.nbytes] = array.reshape(-1).view(np.uint8)
    uops = PAGE + size
    machine.dram[uops : uops + stream.uops.size] = stream.uops
    result = machine.run(stream.relocate(PAGE, uops), timing=timing)
    begin = PAGE + places[output].byte
    raw = machine.dram[begin : begin + int(np.prod(output.shape))]
    return raw.view(np.int8).reshape(output.shape).copy(), result


def pages(size: int) -> int:
    """The size rounded up to whole pages."""
    return -(-size // PAGE) * PAGE


def packed(array: Array, config: Config) -> Array:
    """(N, C, H, W) as tiles (NB, CB, H, W, batch, block)."""
    n, c, h, w = array.shape
    b, block = config.batch, config.block_in
    return np.ascontiguousarray(
        array.reshape(n // b, b, c // block, block, h, w).transpose(0, 2, 4, 5, 1, 3)
    )


def packed_weights(array: Array, config: Config) -> Array:
    """(O, C, KH, KW) as tiles (OB, CB, KH, KW, block_out, block_in)."""
    o, c, h, w = array.shape
    block = config.block_in
    return np.ascontiguousarray(
        array.reshape(o // block, block, c // block, block, h, w).transpose(0, 2, 4, 5, 1, 3)
    )


def packed_vector(array: Array, config: Config) -> Array:
    """(C) as tiles (CB, batch, block), repeated for each image of the batch."""
    rows = array.reshape(-1, 1, config.block_out)
    return np.ascontiguousarray(np.repeat(rows, config.batch, axis=1))


def convolved(
    x: Array, w: Array, stride: tuple[int, int], pads: tuple[int, int, int, int]
) -> npt.NDArray[np.int64]:
    """NumPy's convolution of (N, C, H, W) by (O, C, KH, KW), in int64."""
    top, left, bottom, right = pads
    around = np.pad(x.astype(np.int64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(around, w.shape[2:], (2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1]]
    return np.einsum("nchwyx,ocyx->nohw", windows, w.astype(np.int64))
