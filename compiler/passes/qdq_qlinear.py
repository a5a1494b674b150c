"""Layers whose int8 ONNX Runtime computes in float32 of its own kind, which the CPU repeats."""

import numpy as np

from ..graph import Node
from ..ops.pool import SumPool2d
from ..ops.qlinear import QLinearAveragePool, QLinearSoftmax
from ..ops.reduce import Softmax
from .qdq_kernels import Tensor
from .quantize_groups import Group

NOISE = 2.0**-23
"""Of float32 arithmetic, relative, in each of its operations."""


def softmax(node: Node, x: Tensor, y: Tensor) -> QLinearSoftmax:
    """Return what a Softmax is on int8, from x to y."""
    assert isinstance(node.op, Softmax)
    return QLinearSoftmax(node.op.axis, x.scale, y.scale, y.zero_point, y.shift)


def is_average(group: Group) -> bool:
    """Whether a group is an average over windows without padding, and nothing more."""
    op = group.anchor.op if group.anchor else None
    if not isinstance(op, SumPool2d) or any(op.pads) or group.addend is not None:
        return False
    count = op.window[0] * op.window[1]
    one = group.factor.ndim == 0 and abs(group.factor.item() * count - 1) < 1e-6
    return one and not group.offset.any() and not group.clipped


def average(group: Group, x: Tensor, y: Tensor, low: int, high: int) -> QLinearAveragePool | None:
    """Return what an average is on int8, from x to y; None of groups that are sums of integers.

    ONNX Runtime adds integers where the window is the whole plane, else float32. Of that the sum of
    the integers tells the result, unless it is half way between two integers, or very nearly so:
    then the rounding of the terms decides. `low` and `high` bound the integers of x.
    """
    if not is_average(group):
        return None
    assert group.anchor is not None
    op = group.anchor.op
    assert isinstance(op, SumPool2d)
    if op.window == group.anchor.inputs[0].shape[2:]:
        return None
    count = op.window[0] * op.window[1]
    ratio = x.scale / y.scale / count
    sums = np.arange(count * (low - x.zero_point), count * (high - x.zero_point) + 1)
    real = sums * ratio + y.kernel_zero
    largest = max(abs(low - x.zero_point), abs(high - x.zero_point))
    noise = NOISE * ((count + 2) * count * largest * ratio + np.abs(real))
    if (np.abs(real - np.floor(real) - 0.5) > noise).all():
        return None
    scales = x.scale, x.zero_point, y.scale, y.zero_point
    return QLinearAveragePool(op.window, op.strides, *scales, y.shift)
