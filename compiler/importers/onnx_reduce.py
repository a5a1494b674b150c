"""ONNX operators that reduce along axes, in our operators."""

from collections.abc import Callable, Iterable
from math import prod

import numpy as np

from ..graph import DType, Value
from ..ops.elementwise import Add, Cast, Compare, Mul, Sub, Unary, Where
from ..ops.linear import MatMul
from ..ops.reduce import ArgMax, Reduce, Softmax
from ..ops.shape import Slice, Transpose
from .onnx_node import OnnxNode
from .onnx_pool import mean_of_planes

Map = Callable[[OnnxNode, Value], Value]
"""What is done before a reduction, or after it."""


def reduction(
    function: str, before: Map | None = None, after: Map | None = None
) -> Callable[[OnnxNode], Value]:
    """Return the handler of a reduction of what `before` makes of x, on which `after` follows.

    A mean over image planes is a pool.
    """

    def handle(node: OnnxNode) -> Value:
        x = node.value(0)
        axes = node.integers(1, "axes")
        if not axes and node.attribute("noop_with_empty_axes", 0):
            return x if before is None else before(node, x)
        x = x if before is None else before(node, x)
        out = reduce_along(node, function, x, axes or range(len(x.shape)))
        return out if after is None else after(node, out)

    return handle


def reduce_along(node: OnnxNode, function: str, x: Value, axes: Iterable[int]) -> Value:
    """Return a reduction along axes, kept as the node says."""
    keepdims = bool(node.attribute("keepdims", 1))
    along = sorted(node.axis(axis, len(x.shape)) for axis in axes)
    planes = len(x.shape) in (3, 4) and along == [*range(2, len(x.shape))]
    if function == "mean" and planes and x.dtype is DType.FLOAT32:
        mean = mean_of_planes(node, x)
        return mean if keepdims else node.reshape(mean, x.shape[:2])
    return node.emit(Reduce(function, tuple(along), keepdims), x)


def square(node: OnnxNode, x: Value) -> Value:
    """Return x * x."""
    return node.emit(Mul(), x, x)


def unary(function: str) -> Map:
    """Return what applies a function of one variable; of integers, by way of float64."""

    def apply(node: OnnxNode, x: Value) -> Value:
        if x.dtype.numpy.kind == "f" or function == "abs":
            return node.emit(Unary(function), x)
        wide = node.emit(Cast(DType.FLOAT64), x)
        return node.emit(Cast(x.dtype), node.emit(Unary(function), wide))

    return apply


def log_sum_exp(node: OnnxNode) -> Value:
    """The logarithm of a sum of exponentials, of numbers however great."""
    x = node.value(0)
    axes = node.integers(1, "axes")
    if not axes and node.attribute("noop_with_empty_axes", 0):
        return x
    axes = tuple(sorted(node.axis(axis, len(x.shape)) for axis in axes or range(len(x.shape))))
    top = node.emit(Reduce("max", axes, True), x)
    finite = node.emit(Compare("less"), node.emit(Unary("abs"), top), node.scalar(np.inf, top))
    top = node.emit(Where(), finite, top, node.scalar(0, top))
    total = node.emit(Reduce("sum", axes, True), node.emit(Unary("exp"), node.emit(Sub(), x, top)))
    out = node.emit(Add(), node.emit(Unary("log"), total), top)
    if node.attribute("keepdims", 1):
        return out
    return node.reshape(out, [e for axis, e in enumerate(out.shape) if axis not in axes])


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


def argument(*, least: bool) -> Callable[[OnnxNode], Value]:
    """Return the handler that gives the index of the greatest element, or of the least."""

    def handle(node: OnnxNode) -> Value:
        x = node.value(0)
        axis = node.axis(int(node.attribute("axis", 0)), len(x.shape))
        keepdims = bool(node.attribute("keepdims", 1))
        if least:
            if x.dtype.numpy.kind == "u":
                node.fail(f"{x.name} is {x.type}; signed numbers are supported here")
            x = node.emit(Sub(), node.scalar(0, x), x)
        if not node.attribute("select_last_index", 0):
            return node.emit(ArgMax(axis, keepdims), x)
        counts, starts, steps = list(x.shape), [0] * len(x.shape), [1] * len(x.shape)
        starts[axis], steps[axis] = x.shape[axis] - 1, -1
        back = node.emit(Slice(tuple(starts), tuple(counts), tuple(steps)), x)
        found = node.emit(ArgMax(axis, keepdims), back)
        return node.emit(Sub(), node.scalar(x.shape[axis] - 1, found), found)

    return handle


def cumulative(node: OnnxNode) -> Value:
    """Sums of all elements up to each, along an axis: a product by a triangle of ones."""
    x = node.value(0)
    node.floats(x)
    axis = node.axis(int(node.array(1, "axis").reshape(())), len(x.shape))
    extent = x.shape[axis]
    ones = np.tri(extent, k=-1 if node.attribute("exclusive", 0) else 0, dtype=np.float32)
    ones = ones if node.attribute("reverse", 0) else ones.T
    perm = [*range(axis), *range(axis + 1, len(x.shape)), axis]
    last = node.emit(Transpose(tuple(perm)), x)
    flat = node.reshape(last, (prod(last.shape[:-1]), extent))
    out = node.reshape(node.emit(MatMul(), flat, node.constant(np.ascontiguousarray(ones))),
                       last.shape)  # fmt: skip
    back = [*range(axis), len(perm) - 1, *range(axis, len(perm) - 1)]
    return node.emit(Transpose(tuple(back)), out)
