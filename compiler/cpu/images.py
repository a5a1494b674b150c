"""Operators on images as expressions: convolution, dense layer, pooling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..expr import (
    Binary,
    BinaryOp,
    Compute,
    Const,
    Expr,
    Function,
    Type,
    call,
    cast,
    compute,
    constant,
    largest,
    maximum,
    minimum,
    reduce_axis,
    select,
    total,
)
from ..expr import all_of as all_hold
from ..graph import DType, Node
from ..ops.linear import Conv2d, Dense
from ..ops.pool import MaxPool2d, SumPool2d
from ..ops.qlinear import QLinearAveragePool
from .groups import is_dot
from .intrinsics import DOT
from .operands import Array, Operands, unbiased
from .stored import BLOCK, ZERO, Stored, image


@dataclass(frozen=True)
class Anchor:
    """An operator's sums, and the result that they stand for.

    Parameters
    ----------
    acc : Compute
        (N, CB, H, W, 16), or the sums of several stages, the last one.
    kind : str
        How it is scheduled: "dot" (also float), "taps", "depthwise", "pool" or "plain".
    correction : int32 (O) or None
        What is to be added to each channel's sums.
    finish : function or None
        The operator's result as a function of a sum, where it is not the sum.
    place : tuple of Expr or None
        Where the sum of an element is, if not at the element's own indices.
    """

    acc: Compute
    kind: str
    correction: Array | None = None
    finish: Callable[[Expr], Expr] | None = None
    place: tuple[Expr, ...] | None = None

    def result(self, at: Sequence[Expr]) -> Expr:
        """Return the operator's result, without the correction."""
        found = self.acc[self.place or tuple(at)]
        return found if self.finish is None else self.finish(found)


def anchored(
    node: Node, data: Stored, operands: Operands, shape: tuple[int, ...], *, taps: bool = False
) -> Anchor:
    """Return an operator on an image, as sums (N, CB, H, W, 16) of `shape`.

    With `taps`, depthwise convolutions of int8 are sums of several neighbours at a time.
    """
    match node.op:
        case Conv2d() | Dense():
            weights = operands.constants.get(node.inputs[1])
            if weights is None:
                return _computed(node, data, operands, shape)
            if isinstance(node.op, Dense):
                return _dense(data, weights, operands, shape)
            return _convolution(node, node.op, data, weights, operands, shape, taps)
        case MaxPool2d() as op:
            finish = unbiased if data.biased else None
            return Anchor(_max_pool(op, data, operands, shape), "pool", None, finish)
        case SumPool2d() as op:
            return _sum_pool(op, data, operands, shape)
        case QLinearAveragePool() as op:
            sums = _average(op, data, operands, shape)
            return Anchor(sums, "pool", None, lambda total: _mean(op, total))
        case op:
            raise AssertionError(f"{op} is no operator on images")


def _dense(data: Stored, weights: Array, operands: Operands, shape: tuple[int, ...]) -> Anchor:
    _, c, rows, cols = image(data.value.shape)
    return _dot(Conv2d(), data, weights.reshape(-1, c, rows, cols), operands, shape)


def _convolution(
    node: Node,
    op: Conv2d,
    data: Stored,
    weights: Array,
    operands: Operands,
    shape: tuple[int, ...],
    taps: bool,
) -> Anchor:
    channels, outputs = image(data.value.shape)[1], weights.shape[0]
    inner, outer = channels // op.groups, outputs // op.groups
    if is_dot(node, data.value, operands.constants):
        return _dot(op, data, weights, operands, shape)
    if inner == outer == 1 and taps and data.biased and op.dilations[1] == 1:
        sums = _taps(op, data, weights, operands, shape)
        return Anchor(sums, "taps", _correction(data, weights))
    if inner == outer == 1:
        return Anchor(_depthwise(op, data, weights, operands, shape), "depthwise",
                      _correction(data, weights))  # fmt: skip
    w = operands.array(weights)

    def weight(*at: Expr) -> Expr:
        return w[at]

    return Anchor(_direct(op, data, weights.shape, weight, operands, shape), "plain")


def _computed(node: Node, data: Stored, operands: Operands, shape: tuple[int, ...]) -> Anchor:
    """Return a convolution or dense layer whose weights are no constants, as they lie."""
    value = node.inputs[1]
    if isinstance(node.op, Conv2d):
        counts = image(value.shape)

        def element(*at: Expr) -> Expr:
            return operands.element(value, at)

        return Anchor(_direct(node.op, data, counts, element, operands, shape), "plain")
    _, c, rows, cols = image(data.value.shape)

    def weight(o: Expr, c: Expr, ky: Expr, kx: Expr) -> Expr:
        return operands.element(value, (o, (c * rows + ky) * cols + kx))

    counts = (value.shape[0], c, rows, cols)
    return Anchor(_direct(Conv2d(), data, counts, weight, operands, shape), "plain")


def _correction(data: Stored, weights: Array) -> Array | None:
    """Return what makes sums with uint8, 128 more than int8, right again."""
    if not data.biased:
        return None
    sums = weights.astype(np.int64).reshape(weights.shape[0], -1).sum(axis=1)
    return (-ZERO * sums).astype(np.int32)


def _dot(
    op: Conv2d, data: Stored, weights: Array, operands: Operands, shape: tuple[int, ...]
) -> Anchor:
    """Sums of products over blocks of channels, DOT bytes or one float32 at a time."""
    is_float = weights.dtype == np.float32
    outputs, channels, kh, kw = weights.shape
    out_blocks, in_blocks, block = shape[1], -(-channels // data.block), data.block
    padded = np.zeros((out_blocks * BLOCK, in_blocks * block, kh, kw), weights.dtype)
    padded[:outputs, :channels] = weights
    step = 1 if is_float else DOT
    packed = padded.reshape(out_blocks, BLOCK, in_blocks, block // step, step, kh, kw)
    packed = packed.transpose(0, 2, 5, 6, 3, 1, 4)  # (OB, CB, KH, KW, q, 16, step)
    n, total_blocks, rows, cols, _ = data.inner
    top, left, bottom, right = op.pads
    strides = data.strides[:4]
    around = (rows + top + bottom, cols + left + right)
    (sy, sx), (dy, dx) = op.strides, op.dilations
    per_group_out, per_group_in = out_blocks // op.groups, in_blocks
    axes = [
        reduce_axis(extent, name)
        for extent, name in ((in_blocks, "c"), (kh, "ky"), (kw, "kx"), (block // step, "q"))
    ]
    c, ky, kx, q = axes
    begin = data.begin(op.pads)

    def row(o: Expr) -> Expr:
        return c if op.groups == 1 else o // per_group_out * per_group_in + c

    if is_float:
        w = operands.array(packed[..., 0])
        x = operands.view(data, (n, total_blocks, *around, block), (*strides, 1), begin)

        def product(n: Expr, o: Expr, y: Expr, x_: Expr, lane: Expr) -> Expr:
            place = x[n, row(o), y * sy + ky * dy, x_ * sx + kx * dx, q]
            return total(place * w[o, c, ky, kx, q, lane], over=axes)

        return Anchor(compute("acc", shape, product), "dot")
    w = operands.array(packed)
    x = operands.view(
        data, (n, total_blocks, *around, block // step, step), (*strides, step, 1), begin
    )
    k = reduce_axis(step, "k")

    def dot(n: Expr, o: Expr, y: Expr, x_: Expr, lane: Expr) -> Expr:
        place = x[n, row(o), y * sy + ky * dy, x_ * sx + kx * dx, q, k]
        weight = w[o, c, ky, kx, q, lane, k]
        return total(cast(place, Type.INT32) * cast(weight, Type.INT32), over=(*axes, k))

    return Anchor(compute("acc", shape, dot), "dot", _correction(data, weights))


def _depthwise(
    op: Conv2d, data: Stored, weights: Array, operands: Operands, shape: tuple[int, ...]
) -> Compute:
    channels, _, kh, kw = weights.shape
    wide = np.float32 if weights.dtype == np.float32 else np.int32
    padded = np.zeros((shape[1] * BLOCK, kh, kw), wide)
    padded[:channels] = weights[:, 0]
    packed = padded.reshape(shape[1], BLOCK, kh, kw).transpose(0, 2, 3, 1)
    w = operands.array(packed)
    n, blocks, rows, cols, block = data.inner
    top, left, bottom, right = op.pads
    around = (rows + top + bottom, cols + left + right)
    x = operands.view(data, (n, blocks, *around, block), data.strides, data.begin(op.pads))
    (sy, sx), (dy, dx) = op.strides, op.dilations
    ky, kx = reduce_axis(kh, "ky"), reduce_axis(kw, "kx")
    kind = Type.FLOAT32 if wide is np.float32 else Type.INT32
    return compute(
        "acc",
        shape,
        lambda n, c, y, x_, lane: total(
            cast(x[n, c, y * sy + ky * dy, x_ * sx + kx * dx, lane], kind) * w[c, ky, kx, lane],
            over=(ky, kx),
        ),
    )


def _taps(
    op: Conv2d, data: Stored, weights: Array, operands: Operands, shape: tuple[int, ...]
) -> Compute:
    """Depthwise sums of DOT neighbours of a row at a time, those beyond the window times zero."""
    channels, _, kh, kw = weights.shape
    steps = -(-kw // DOT)
    padded = np.zeros((shape[1] * BLOCK, kh, steps * DOT), np.int8)
    padded[:channels, :, :kw] = weights[:, 0]
    packed = padded.reshape(shape[1], BLOCK, kh, steps, DOT).transpose(0, 2, 3, 1, 4)
    w = operands.array(packed)  # (CB, KH, q, 16, DOT)
    n, blocks, rows, cols, block = data.inner
    top, left, bottom, right = op.pads
    around = (rows + top + bottom, cols + left + right + steps * DOT - kw)
    x = operands.view(data, (n, blocks, *around, block), data.strides, data.begin(op.pads))
    (sy, sx), (dy, _) = op.strides, op.dilations
    ky, q, k = (reduce_axis(e, name) for e, name in ((kh, "ky"), (steps, "q"), (DOT, "k")))

    def element(n: Expr, c: Expr, y: Expr, x_: Expr, lane: Expr) -> Expr:
        place = x[n, c, y * sy + ky * dy, x_ * sx + q * DOT + k, lane]
        weight = w[c, ky, q, lane, k]
        return total(cast(place, Type.INT32) * cast(weight, Type.INT32), over=(ky, q, k))

    return compute("acc", shape, element)


def _direct(
    op: Conv2d,
    data: Stored,
    counts: tuple[int, ...],
    weight: Callable[[Expr, Expr, Expr, Expr], Expr],
    operands: Operands,
    shape: tuple[int, ...],
) -> Compute:
    """A convolution element by element: in groups that are no whole blocks, of any weights.

    `counts` are the extents of the weights, (O, I, KH, KW).
    """
    outputs, inner, kh, kw = counts
    outer = outputs // op.groups
    kind = Type.FLOAT32 if data.value.dtype is DType.FLOAT32 else Type.INT32
    n, blocks, rows, cols, block = data.inner
    top, left, bottom, right = op.pads
    around = (rows + top + bottom, cols + left + right)
    x = operands.view(data, (n, blocks, *around, block), data.strides, data.begin(op.pads))
    (sy, sx), (dy, dx) = op.strides, op.dilations
    c = reduce_axis(inner, "c")
    ky, kx = reduce_axis(kh, "ky"), reduce_axis(kw, "kx")

    def element(n: Expr, o: Expr, y: Expr, x_: Expr, lane: Expr) -> Expr:
        output = minimum(o * BLOCK + lane, outputs - 1)
        channel = output // outer * inner + c
        place = x[n, channel // block, y * sy + ky * dy, x_ * sx + kx * dx, channel % block]
        value = cast(unbiased(place) if data.biased else place, kind)
        return total(value * cast(weight(output, c, ky, kx), kind), over=(c, ky, kx))

    return compute("acc", shape, element)


def _max_pool(op: MaxPool2d, data: Stored, operands: Operands, shape: tuple[int, ...]) -> Compute:
    """The greatest of each window; beyond the edge stands an element of the window again."""
    _, _, rows, cols = image(data.value.shape)
    (kh, kw), (sy, sx), (dy, dx) = op.window, op.strides, op.dilations
    ky, kx = reduce_axis(kh, "ky"), reduce_axis(kw, "kx")
    whole = operands.whole(data)
    top, left, bottom, right = op.pads
    repeats = op.dilations == (1, 1) and max(top, bottom) < kh and max(left, right) < kw

    def element(n: Expr, c: Expr, y: Expr, x: Expr, lane: Expr) -> Expr:
        row, col = y * sy + ky * dy - top, x * sx + kx * dx - left
        near_row = _within(row, rows, top or bottom)
        near_col = _within(col, cols, left or right)
        if repeats or not any(op.pads):
            return largest(whole[n, c, near_row, near_col, lane], over=(ky, kx))
        least = largest(whole[n, c, near_row, near_col, lane], over=(ky, kx)).initial
        inside = all_hold(row >= 0, row < rows, col >= 0, col < cols)
        found = whole[n, c, near_row, near_col, lane]
        return largest(select(inside, found, constant(least, found.type)), over=(ky, kx))

    return compute("acc", shape, element)


def _within(index: Expr, extent: int, padded: int) -> Expr:
    return minimum(maximum(index, 0), extent - 1) if padded else index


def _sum_pool(op: SumPool2d, data: Stored, operands: Operands, shape: tuple[int, ...]) -> Anchor:
    (kh, kw), (sy, sx) = op.window, op.strides
    ky, kx = reduce_axis(kh, "ky"), reduce_axis(kw, "kx")
    n, blocks, rows, cols, block = data.inner
    top, left, bottom, right = op.pads
    around = (rows + top + bottom, cols + left + right)
    x = operands.view(data, (n, blocks, *around, block), data.strides, data.begin(op.pads))
    kind = Type.FLOAT32 if data.value.dtype is DType.FLOAT32 else Type.INT32
    acc = compute(
        "acc",
        shape,
        lambda n, c, y, x_, lane: total(
            cast(x[n, c, y * sy + ky, x_ * sx + kx, lane], kind), (ky, kx)
        ),
    )
    correction = None
    if data.biased:
        correction = np.full(image(data.value.shape)[1], -ZERO * kh * kw, np.int32)
    return Anchor(acc, "pool", correction)


def _average(
    op: QLinearAveragePool, data: Stored, operands: Operands, shape: tuple[int, ...]
) -> Compute:
    """The mean of each window, in float32 step by step as ONNX Runtime takes it."""
    (kh, kw), (sy, sx) = op.window, op.strides
    ky, kx = reduce_axis(kh, "ky"), reduce_axis(kw, "kx")
    whole = operands.whole(data)
    scale = constant(float(np.float32(op.x_scale)), Type.FLOAT32)

    def term(n: Expr, c: Expr, y: Expr, x: Expr, lane: Expr) -> Expr:
        element = cast(whole[n, c, y * sy + ky, x * sx + kx, lane], Type.INT32)
        offset = Const((ZERO if data.biased else 0) + op.x_zero, Type.INT32)
        return total(cast(element - offset, Type.FLOAT32) * scale, over=(ky, kx))

    return compute("acc", shape, term)


def _mean(op: QLinearAveragePool, sums: Expr) -> Expr:
    count = np.float32(op.window[0] * op.window[1])
    mean = Binary(BinaryOp.DIV, sums, _float(count))
    scaled = Binary(BinaryOp.DIV, mean, _float(np.float32(op.y_scale)))
    return rounded(scaled + _float(np.float32(op.y_zero + op.shift)), op.shift)


def rounded(value: Expr, shift: int) -> Expr:
    """Return a float32 as int8, as ONNX Runtime rounds it: `shift` more, and half to even."""
    low, high = _float(np.float32(-128 + shift)), _float(np.float32(127 + shift))
    whole = cast(call(Function.ROUND, minimum(maximum(value, low), high)), Type.INT32)
    return cast(whole - shift, Type.INT8)


def _float(value: np.float32) -> Expr:
    return constant(float(value), Type.FLOAT32)
