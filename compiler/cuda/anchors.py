"""Convolutions and dense layers as sums over rows of pixels, all of a batch's images in one row."""

from collections.abc import Sequence

import numpy as np

from ..cpu.operands import Array, Operands
from ..cpu.stored import Stored, image
from ..expr import Compute, Const, Expr, Type, cast, compute, reduce_axis, total
from ..graph import Node
from ..ops.linear import Conv2d
from .intrinsics import DOT, STEP


def pixel(p: Expr, shape: Sequence[int]) -> tuple[Expr, Expr, Expr]:
    """Return the image, row and column of pixel `p` of images (N, CB, H, W, block)."""
    n, _, rows, cols, _ = shape
    at_row = p // cols
    if n == 1:
        return Const(0), at_row, p % cols
    return p // (rows * cols), at_row % rows, p % cols


def whole_blocks(node: Node, weights: Array, data: Stored) -> bool:
    """Return whether a convolution's groups are whole blocks of channels."""
    op = node.op if isinstance(node.op, Conv2d) else Conv2d()
    if op.groups == 1:
        return True
    _, channels, _, _ = image(data.value.shape)
    inner, outer = channels // op.groups, weights.shape[0] // op.groups
    return inner % STEP == 0 and outer % STEP == 0


def sums(
    node: Node,
    data: Stored,
    weights: Array,
    operands: Operands,
    shape: tuple[int, ...],
    step: int,
) -> Compute:
    """Return acc (CB, P, block) of an operator whose result is (N, CB, H, W, block) of `shape`.

    `step` is how many channels are multiplied and added at a time: 16, 4, or 1 for float32.
    """
    op = node.op if isinstance(node.op, Conv2d) else Conv2d()
    n, out_blocks, rows, cols, lanes = shape
    block = data.block
    if weights.ndim == 2:
        _, c, high, wide = image(data.value.shape)
        weights = weights.reshape(-1, c, high, wide)
    outputs, channels, kh, kw = weights.shape
    in_blocks = -(-channels // block)
    padded = np.zeros((out_blocks * lanes, in_blocks * block, kh, kw), weights.dtype)
    padded[:outputs, :channels] = weights
    packed = padded.reshape(out_blocks, lanes, in_blocks, block // step, step, kh, kw)
    packed = packed.transpose(0, 2, 5, 6, 3, 1, 4)  # (OB, CB, KH, KW, q, lane, step)
    _, total_blocks, high, wide, _ = data.inner
    top, left, bottom, right = op.pads
    around = (high + top + bottom, wide + left + right)
    (sy, sx), (dy, dx) = op.strides, op.dilations
    out_group = out_blocks // op.groups
    axes = [
        reduce_axis(extent, name)
        for extent, name in ((in_blocks, "c"), (kh, "ky"), (kw, "kx"), (block // step, "q"))
    ]
    c, ky, kx, q = axes
    begin, strides = data.begin(op.pads), data.strides[:4]

    def place(o: Expr, p: Expr) -> tuple[Expr, ...]:
        number, y, x = pixel(p, (n, out_blocks, rows, cols, lanes))
        row = c if op.groups == 1 else o // out_group * in_blocks + c
        return number, row, y * sy + ky * dy, x * sx + kx * dx

    acc = (out_blocks, n * rows * cols, lanes)
    images = (n, total_blocks, *around)
    if step == 1:
        w = operands.array(packed[..., 0])
        x = operands.view(data, (*images, block), (*strides, 1), begin)
        return compute(
            "acc",
            acc,
            lambda o, p, lane: total(x[(*place(o, p), q)] * w[o, c, ky, kx, q, lane], over=axes),
        )
    w = operands.array(packed)
    x = operands.view(data, (*images, block), (*strides, 1), begin)
    k = reduce_axis(step, "k")

    def product(o: Expr, p: Expr, lane: Expr) -> Expr:
        left, right = x[(*place(o, p), q * step + k)], w[o, c, ky, kx, q, lane, k]
        return total(cast(left, Type.INT32) * cast(right, Type.INT32), over=(*axes, k))

    return compute("acc", acc, product)


def multiplied(data: Stored, pixels: int) -> int:
    """Return how many channels are multiplied at a time: on a tensor core, by `dp4a`, or one."""
    if data.element is not Type.INT8:
        return 1
    return STEP if data.block == STEP and pixels >= 8 else DOT
