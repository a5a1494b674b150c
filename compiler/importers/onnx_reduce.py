"""ONNX operators that reduce along axes, and those that run along one, in our operators."""

from collections.abc import Callable
from math import prod

import numpy as np

from ..graph import DType, Value
from ..ops.elementwise import Add, Cast, Mul, Sub, Unary
from ..ops.logic import Equal
from ..ops.reduce import ArgMax, Reduce, Softmax
from ..ops.shape import Pad, Slice
from .onnx_node import OnnxNode
from .onnx_pool import mean_of_planes

Handler = Callable[[OnnxNode], Value]


def softmax(log: bool) -> Callable[[OnnxNode], Value]:
    """Return the handler of Softmax, or of its logarithm."""

    def handle(node: OnnxNode) -> Value:
        x = node.value(0)
        axis = node.axis(int(node.attribute("axis", 1 if node.opset < 13 else -1)), len(x.shape))
        if node.opset >= 13:
            return node.emit(Softmax(axis, log), x)
        flat = node.reshape(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))
        return node.reshape(node.emit(Softmax(1, log), flat), x.shape)

    return handle


def hardmax(node: OnnxNode) -> Value:
    """1 at the first of the greatest along an axis, 0 elsewhere."""
    x = node.value(0)
    axis = node.axis(int(node.attribute("axis", 1 if node.opset < 13 else -1)), len(x.shape))
    flat = x
    if node.opset < 13:
        flat = node.reshape(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))
        axis = 1
    numbers = np.arange(flat.shape[axis], dtype=np.int64)
    numbers = numbers.reshape([-1 if a == axis else 1 for a in range(len(flat.shape))])
    first = node.emit(ArgMax(axis, True), flat)
    found = node.emit(Equal(), first, node.constant(numbers))
    return node.reshape(node.emit(Cast(x.dtype), found), x.shape)


def reduction(function: str) -> Handler:
    """Return the handler of a reduction; a mean over image planes is a pool."""

    def handle(node: OnnxNode) -> Value:
        x = node.value(0)
        reduced = _axes(node, x)
        if reduced is None:
            return x
        axes, keepdims = reduced
        if x.dtype is DType.BOOL and function in ("max", "min"):
            wide = node.emit(Cast(DType.UINT8), x)
            return node.emit(Cast(DType.BOOL), node.emit(Reduce(function, axes, keepdims), wide))
        if function == "mean" and len(x.shape) in (3, 4) and axes == (*range(2, len(x.shape)),):
            mean = mean_of_planes(node, x)
            return mean if keepdims else node.reshape(mean, x.shape[:2])
        return node.emit(Reduce(function, axes, keepdims), x)

    return handle


def of_elements(before: str, after: str = "") -> Handler:
    """Return the handler of a function of the sum of functions of the elements."""

    def apply(node: OnnxNode, function: str, x: Value) -> Value:
        if function == "square":
            return node.emit(Mul(), x, x)
        return node.emit(Unary(function), x) if function else x

    def handle(node: OnnxNode) -> Value:
        x = node.value(0)
        if after:
            node.fractions(x)
        reduced = _axes(node, x)
        x = apply(node, before, x)
        if reduced is not None:
            x = node.emit(Reduce("sum", *reduced), x)
        return apply(node, after, x)

    return handle


def log_sum_exp(node: OnnxNode) -> Value:
    """The logarithm of the sum of exp(x), the greatest x taken out of it."""
    x = node.value(0)
    node.fractions(x)
    reduced = _axes(node, x)
    if reduced is None:
        return x
    axes, keepdims = reduced
    if not x.size:  # there is no greatest
        total = node.emit(Reduce("sum", axes, keepdims), node.emit(Unary("exp"), x))
        return node.emit(Unary("log"), total)
    top = node.emit(Reduce("max", axes, True), x)
    powers = node.emit(Unary("exp"), node.emit(Sub(), x, top))
    total = node.emit(Unary("log"), node.emit(Reduce("sum", axes, True), powers))
    out = node.emit(Add(), total, top)
    if keepdims:
        return out
    return node.reshape(out, [e for axis, e in enumerate(x.shape) if axis not in axes])


def _axes(node: OnnxNode, x: Value) -> tuple[tuple[int, ...], bool] | None:
    """Return which axes are reduced and whether they are kept; None when nothing is reduced."""
    axes = node.integers(1, "axes")
    if not axes:
        if node.attribute("noop_with_empty_axes", 0):
            return None
        axes = list(range(len(x.shape)))
    axes = sorted({node.axis(axis, len(x.shape)) for axis in axes})
    return tuple(axes), bool(node.attribute("keepdims", 1))


def arg(*, least: bool) -> Handler:
    """Return the handler of the index of the greatest element, or the least."""

    def handle(node: OnnxNode) -> Value:
        x = node.value(0)
        axis = node.axis(int(node.attribute("axis", 0)), len(x.shape))
        if least:
            unsigned = x.dtype.numpy.kind == "u"  # what is greater becomes less, and none wraps
            top = np.iinfo(x.dtype.numpy).max if unsigned else 0 if node.is_float(x) else -1
            x = node.emit(Sub(), node.scalar(top, x), x)
        last = bool(node.attribute("select_last_index", 0))
        if last:
            x = _reversed(node, x, axis)
        out = node.emit(ArgMax(axis, bool(node.attribute("keepdims", 1))), x)
        return node.emit(Sub(), node.scalar(x.shape[axis] - 1, out), out) if last else out

    return handle


def _reversed(node: OnnxNode, x: Value, axis: int) -> Value:
    starts = [extent - 1 if a == axis else 0 for a, extent in enumerate(x.shape)]
    steps = [-1 if a == axis else 1 for a in range(len(x.shape))]
    return node.emit(Slice(tuple(starts), x.shape, tuple(steps)), x)


def running(op: Add | Mul) -> Handler:
    """Return the handler of the sum, or product, of all elements up to each along an axis.

    Each step takes in twice as many: x + x moved by one, then that moved by two, by four, ...
    """
    neutral = 0 if isinstance(op, Add) else 1

    def handle(node: OnnxNode) -> Value:
        x = node.value(0)
        (number,) = node.array(1, "axis").ravel()
        axis = node.axis(int(number), len(x.shape))
        backward = bool(node.attribute("reverse", 0))
        if node.attribute("exclusive", 0):
            x = _moved(node, x, axis, 1, backward, neutral)
        step = 1
        while step < x.shape[axis]:
            x = node.emit(op, x, _moved(node, x, axis, step, backward, neutral))
            step *= 2
        return x

    return handle


def _moved(node: OnnxNode, x: Value, axis: int, step: int, backward: bool, neutral: int) -> Value:
    """Return x moved along an axis, away from where it then holds `neutral`."""

    def at(number: int) -> tuple[int, ...]:
        return tuple(number if a == axis else 0 for a in range(len(x.shape)))

    step = min(step, x.shape[axis])
    kept = x.shape[axis] - step
    if not kept:
        return node.constant(np.full(x.shape, neutral, x.dtype.numpy))
    counts = tuple(kept if a == axis else extent for a, extent in enumerate(x.shape))
    part = node.emit(Slice(at(step if backward else 0), counts, (1,) * len(counts)), x)
    before, after = (at(0), at(step)) if backward else (at(step), at(0))
    return node.emit(Pad(before, after, neutral), part)
