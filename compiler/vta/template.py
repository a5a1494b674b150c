"""A layer and a tiling to tensor expressions with a schedule.

One template serves convolutions, dense layers, poolings and element-wise chains: what differs is
the anchor's expression and where its operands are held.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ...isa.config import Config
from ..expr import (
    Axis,
    Compute,
    Expr,
    Tensor,
    Type,
    all_of,
    cast,
    compute,
    largest,
    maximum,
    minimum,
    placeholder,
    reduce_axis,
    select,
    total,
)
from ..graph import Value
from ..ops.elementwise import Add, Binary, Maximum, Minimum, Mul, ShiftRight
from ..ops.pool import MaxPool2d
from ..schedule import Schedule, Scope
from .layer import Immediate, Layer, Vector, image
from .tiling import Keep, Overlap, Tiling

Ints: TypeAlias = npt.NDArray[np.integer[Any]]

_LEAST = -128
_OPERATIONS: dict[type[Binary], Callable[[Expr, Any], Expr]] = {
    Add: lambda a, b: a + b,
    Mul: lambda a, b: a * b,
    ShiftRight: lambda a, b: a >> b,
    Maximum: maximum,
    Minimum: minimum,
}


@dataclass(eq=False)
class Expressions:
    """What a layer computes, as tensor expressions on packed tensors.

    `images` are the placeholders of the int8 inputs by value; of the one that the anchor reads,
    `data`, halo included. `added` is a second one of that, where its image is a residual too.
    `weights` and `vectors` are those of constants, `arrays` their packed contents.
    `grouped` says that output blocks read different inputs of a convolution.
    `first` is the stage that brings the anchor's input on chip, None where that is a plain copy.
    `inside` are the stages in accumulators, in order.
    """

    images: dict[Value, Tensor] = field(default_factory=dict[Value, Tensor])
    data: Tensor | None = None
    added: Tensor | None = None
    weights: Tensor | None = None
    vectors: list[Tensor] = field(default_factory=list[Tensor])
    arrays: dict[Tensor, Ints] = field(default_factory=dict[Tensor, Ints])
    grouped: bool = False
    first: Tensor | None = None
    anchor: Tensor | None = None
    depth: tuple[Axis, ...] = ()
    inside: list[Tensor] = field(default_factory=list[Tensor])
    out: Compute | None = None


def express(layer: Layer, config: Config) -> Expressions:
    """Return the tensor expressions of a layer on packed tensors."""
    made = Expressions()
    n, channels, rows, cols = image(layer.output)
    blocks = -(-channels // config.block_out)
    shape = (-(-n // config.batch), blocks, rows, cols, config.batch, config.block_out)
    tensors: dict[Value, Tensor] = {}
    if layer.anchor is not None:
        anchored = _dense(layer, config, shape, made)
        if anchored is None:
            anchored = _pooling(layer, config, shape, made)
        tensors[layer.anchor.output] = anchored
        made.anchor = anchored
        made.inside.append(anchored)
    for index, (source, value) in enumerate(layer.casts):
        stored = made.added if source is layer.data else made.images.get(source)
        if stored is None:
            stored = placeholder(f"res{index}", shape, Type.INT8)
            if source is layer.data:
                made.added = stored
            else:
                made.images[source] = stored
        tensors[value] = _elementwise(f"wide{index}", shape, stored, made)
    for index, step in enumerate(layer.steps):
        left = tensors[step.left]
        operation = _OPERATIONS[type(step.op)]
        match step.right:
            case Immediate(value):
                operand: Any = value
            case Vector() as vector:
                operand = _vector(index, vector, blocks, config, made)
            case right:
                operand = tensors[right]
        name = f"{type(step.op).__name__.lower()}{index}"
        tensors[step.output] = _combine(name, shape, operation, left, operand)
        made.inside.append(tensors[step.output])
    result = layer.anchor.output if layer.anchor and layer.result is layer.output else layer.result
    last = tensors[result]
    made.out = _each("out", shape, lambda axes: cast(last[axes], Type.INT8))
    return made


def _dense(
    layer: Layer, config: Config, shape: tuple[int, ...], made: Expressions
) -> Tensor | None:
    """Return the accumulators of a convolution or dense layer."""
    if layer.weights is None:
        return None
    out_blocks, in_blocks = section = layer.section(config)
    packed = pack_weights(layer.weights, layer.groups, section, config)
    made.grouped = out_blocks < packed.shape[0]
    kept = padded = _input(layer, config, made)
    if _padded(layer):
        kept = made.first = _pad(layer, padded)
    weights = made.weights = placeholder("wgt", packed.shape, Type.INT8)
    made.arrays[weights] = packed
    c = reduce_axis(packed.shape[1], "c")
    ky, kx = reduce_axis(layer.window[0], "ky"), reduce_axis(layer.window[1], "kx")
    i = reduce_axis(config.block_in, "i")
    (sy, sx), (dy, dx) = layer.strides, layer.dilations
    made.depth = (c, ky, kx)

    def product(n: Expr, o: Expr, y: Expr, x: Expr, b: Expr, j: Expr) -> Expr:
        first = (o if out_blocks == 1 else o // out_blocks) * in_blocks if made.grouped else 0
        block = c + first
        return total(
            cast(kept[n, block, y * sy + ky * dy, x * sx + kx * dx, b, i], Type.INT32)
            * cast(weights[o, c, ky, kx, j, i], Type.INT32),
            over=(c, ky, kx, i),
        )

    return compute("acc", shape, product)


def _pooling(layer: Layer, config: Config, shape: tuple[int, ...], made: Expressions) -> Tensor:
    """Return the maximum or the sum over windows, of an input that is held in accumulators."""
    assert layer.anchor is not None
    stored = _input(layer, config, made)
    ky, kx = reduce_axis(layer.window[0], "ky"), reduce_axis(layer.window[1], "kx")
    (sy, sx), (dy, dx) = layer.strides, layer.dilations
    top, left = layer.pads[:2]
    rows, cols = stored.shape[2:4]
    if isinstance(layer.anchor.op, MaxPool2d):
        wide = made.first = _each("wide", stored.shape, lambda axes: cast(stored[axes], Type.INT32))

        def window(n: Expr, c: Expr, y: Expr, x: Expr, b: Expr, j: Expr) -> Expr:
            row, col = y * sy + ky * dy - top, x * sx + kx * dx - left
            value = wide[n, c, row, col, b, j]
            if not any(layer.pads):
                return largest(value, over=(ky, kx), initial=_LEAST)
            inside = all_of(row >= 0, row < rows, col >= 0, col < cols)
            return largest(select(inside, value, _LEAST), over=(ky, kx), initial=_LEAST)

        return compute("pool", shape, window)
    if _padded(layer):
        padded = (*stored.shape[:2], *_padded_extents(layer, stored), *stored.shape[4:])
        wide = _each("wide", padded, lambda axes: _shifted(layer, stored, axes, Type.INT32))
    else:
        wide = _each("wide", stored.shape, lambda axes: cast(stored[axes], Type.INT32))
    made.first = wide
    return compute(
        "pool",
        shape,
        lambda n, c, y, x, b, j: total(
            wide[n, c, y * sy + ky * dy, x * sx + kx * dx, b, j], over=(ky, kx)
        ),
    )


def _input(layer: Layer, config: Config, made: Expressions) -> Tensor:
    """Return the placeholder of the anchor's input, with its halo where it has one."""
    assert layer.data is not None
    n, channels, rows, cols = image(layer.data)
    if layer.halo is not None:
        top, left, bottom, right = layer.pads
        rows, cols = rows + top + bottom, cols + left + right
    shape = (-(-n // config.batch), -(-channels // config.block_in), rows, cols)
    made.data = placeholder("data", (*shape, config.batch, config.block_in), Type.INT8)
    made.images[layer.data] = made.data
    return made.data


def _padded(layer: Layer) -> bool:
    """Return whether the load adds zeros."""
    return any(layer.pads) and layer.halo is None


def _pad(layer: Layer, stored: Tensor) -> Tensor:
    shape = (*stored.shape[:2], *_padded_extents(layer, stored), *stored.shape[4:])
    return _each("pad", shape, lambda axes: _shifted(layer, stored, axes, Type.INT8))


def _padded_extents(layer: Layer, stored: Tensor) -> tuple[int, int]:
    top, left, bottom, right = layer.pads
    return stored.shape[2] + top + bottom, stored.shape[3] + left + right


def _shifted(layer: Layer, stored: Tensor, axes: tuple[Expr, ...], kind: Type) -> Expr:
    n, c, y, x, b, j = axes
    top, left = layer.pads[:2]
    rows, cols = stored.shape[2:4]
    inside = all_of(y >= top, y < rows + top, x >= left, x < cols + left)
    return select(inside, cast(stored[n, c, y - top, x - left, b, j], kind), 0)


def _elementwise(name: str, shape: tuple[int, ...], stored: Tensor, made: Expressions) -> Tensor:
    tensor = _each(name, shape, lambda axes: cast(stored[axes], Type.INT32))
    made.inside.append(tensor)
    return tensor


def _vector(
    index: int, vector: Vector, blocks: int, config: Config, made: Expressions
) -> Callable[[tuple[Expr, ...]], Expr]:
    packed = pack_vector(vector.data, config)
    tensor = placeholder(f"const{index}", packed.shape, Type.INT32)
    made.vectors.append(tensor)
    made.arrays[tensor] = packed
    return lambda axes: tensor[axes[1], axes[4], axes[5]]


def _combine(
    name: str,
    shape: tuple[int, ...],
    operation: Callable[[Expr, Any], Expr],
    left: Tensor,
    operand: Any,
) -> Tensor:
    def body(axes: tuple[Expr, ...]) -> Expr:
        match operand:
            case int():
                right: Any = operand
            case Tensor():
                right = operand[axes]
            case _:
                right = operand(axes)
        return operation(left[axes], right)

    return _each(name, shape, body)


def _each(
    name: str, shape: tuple[int, ...], element: Callable[[tuple[Expr, ...]], Expr]
) -> Compute:
    """Return the tensor whose element is a function of all its indices together."""

    def body(*axes: Expr) -> Expr:
        return element(axes)

    return compute(name, shape, body)


def pack_weights(
    weights: npt.NDArray[np.int8], groups: int, section: tuple[int, int], config: Config
) -> npt.NDArray[np.int8]:
    """Return weights (O, C, KH, KW) as tiles (OB, CB, KH, KW, block_out, block_in).

    Each output block meets CB blocks of inputs, those of its section (`Layer.section`); in them,
    channels of other groups have zeros.
    """
    o, c, kh, kw = weights.shape
    out_blocks, in_blocks = section
    ob = -(-o // config.block_out)
    packed = np.zeros((ob * config.block_out, in_blocks * config.block_in, kh, kw), np.int8)
    outputs = np.arange(o, dtype=np.int64)
    first = outputs // (o // groups) * c
    first -= outputs // (out_blocks * config.block_out) * in_blocks * config.block_in
    packed[outputs[:, None], first[:, None] + np.arange(c)] = weights
    tiles = packed.reshape(ob, config.block_out, in_blocks, config.block_in, kh, kw)
    return np.ascontiguousarray(tiles.transpose(0, 2, 4, 5, 1, 3))


def pack_vector(vector: npt.NDArray[np.int32], config: Config) -> npt.NDArray[np.int32]:
    """Return one number a channel, (C), as tiles (CB, batch, block_out)."""
    blocks = -(-vector.size // config.block_out)
    padded = np.zeros(blocks * config.block_out, np.int32)
    padded[: vector.size] = vector
    tiles = padded.reshape(blocks, 1, config.block_out)
    return np.ascontiguousarray(np.repeat(tiles, config.batch, axis=1))


def plan(made: Expressions, tiling: Tiling, banks: int = 1) -> Schedule:
    """Return the schedule that computes a layer's expressions tile by tile.

    `banks` are those of accumulators.

    load constants                           (where all of them fit; else for each tile)
    for n, blocks, rows, cols:               (blocks inside where channels are not outer)
      for two virtual threads:
        for depth, window:  load weights, inputs; multiply
        element-wise steps; store
    """
    out = made.out
    assert out is not None
    s = Schedule.of(out)
    for stage in made.inside:
        s = s.set_scope(stage, Scope.ACC)
    n, o, y, x, b, j = s.axes(out)
    s, oo, oi = s.split(out, o, tiling.blocks)
    s, yo, yi = s.split(out, y, tiling.rows)
    s, xo, xi = s.split(out, x, tiling.cols)
    threads: list[Axis] = []
    match tiling.overlap:
        case Overlap.CHANNELS:
            s, oo, thread = s.split(out, oo, 2)
            threads = [thread]
        case Overlap.ROWS:
            s, yo, thread = s.split(out, yo, 2)
            threads = [thread]
        case Overlap.COLS:
            s, xo, thread = s.split(out, xo, 2)
            threads = [thread]
        case Overlap.BUFFERS | Overlap.NONE:
            pass
    outer = [oo, yo, xo] if tiling.channels_outer else [yo, xo, oo]
    s = s.reorder(out, n, *outer, *threads, oi, yi, xi, b, j)
    tile = threads[-1] if threads else outer[-1]
    for thread in threads:
        s = s.virtual_thread(out, thread)
    for stage in made.inside:
        s = s.compute_at(stage, out, tile)
    held: list[Tensor] = []
    for vector in made.vectors:
        s, stage = s.cache_read(vector, Scope.ACC)
        held.append(stage)
        if not tiling.hold_vectors:
            s = s.compute_at(stage, out, tile)
    if made.weights is not None:
        s = _plan_sum(s, made, tiling, outer)
    elif made.first is not None:
        s = s.set_scope(made.first, Scope.ACC).compute_at(made.first, out, tile)
    if tiling.overlap is Overlap.BUFFERS:
        for stage in _turning(made, held, tiling, banks):
            s = s.double_buffer(stage)
    return s


def _turning(made: Expressions, held: list[Tensor], tiling: Tiling, banks: int) -> Sequence[Tensor]:
    """Return the stages in accumulators that take turns between two places.

    Where these are two banks, all that an operator reads and writes has to change banks together.
    """
    if banks == 1:
        return made.inside[:1] if made.anchor is not None else made.inside
    pooled = [made.first] if made.first is not None and made.weights is None else []
    return [*made.inside, *pooled, *([] if tiling.hold_vectors else held)]


def _plan_sum(s: Schedule, made: Expressions, tiling: Tiling, outer: list[Axis]) -> Schedule:
    """Cut the sum of a convolution or dense layer and place the loads of its operands."""
    acc, out, weights, data = made.anchor, made.out, made.weights, made.data
    assert acc is not None
    assert out is not None
    assert weights is not None
    assert data is not None
    c, ky, kx = made.depth
    s, wgt = s.cache_read(weights, Scope.WGT)
    if made.first is None:
        s, inp = s.cache_read(data, Scope.INP)
    else:
        inp = made.first
        s = s.set_scope(inp, Scope.INP)
    s, co, ci = s.split(acc, c, tiling.depth)
    s, kyo, kyi = s.split(acc, ky, tiling.window_rows)
    s, kxo, kxi = s.split(acc, kx, tiling.window_cols)
    n, o, y, x, b, j, *_, i = s.axes(acc)
    s = s.reorder(acc, co, kyo, kxo, n, o, y, x, ci, kyi, kxi, b, j, i)
    if tiling.keep is Keep.WEIGHTS:
        s = s.compute_at(wgt, out, outer[0])
    else:
        s = s.compute_at(wgt, acc, kxo)
    if tiling.keep is Keep.INPUTS:
        s = s.compute_at(inp, out, outer[1])
    else:
        s = s.compute_at(inp, acc, kxo)
    shared_inputs = tiling.overlap is Overlap.BUFFERS
    shared_inputs |= tiling.overlap is Overlap.CHANNELS and not made.grouped
    shared_weights = tiling.overlap in (Overlap.BUFFERS, Overlap.ROWS, Overlap.COLS)
    if shared_inputs:
        s = s.double_buffer(inp)
    if shared_weights:
        s = s.double_buffer(wgt)
    return s
