"""ONNX operators that normalise by means and variances, in our operators."""

from collections.abc import Sequence
from math import prod

from ..graph import Value
from ..ops.elementwise import Add, Compare, Div, Mul, Pow, Sub, Unary, Where
from ..ops.pool import SumPool2d
from ..ops.reduce import Reduce
from .onnx_node import OnnxNode


def _normalized(
    node: OnnxNode, x: Value, axes: Sequence[int], epsilon: float
) -> tuple[Value, Value, Value]:
    """Return (x - mean) / sqrt(variance + epsilon) along axes, the mean, and one over that root."""
    mean = node.emit(Reduce("mean", tuple(axes), True), x)
    apart = node.emit(Sub(), x, mean)
    square = node.emit(Mul(), apart, apart)
    variance = node.emit(Reduce("mean", tuple(axes), True), square)
    inverse = _inverse_root(node, variance, epsilon)
    return node.emit(Mul(), apart, inverse), mean, inverse


def _inverse_root(node: OnnxNode, variance: Value, epsilon: float) -> Value:
    root = node.emit(Add(), variance, node.scalar(epsilon, variance))
    return node.emit(Div(), node.scalar(1, variance), node.emit(Unary("sqrt"), root))


def instance_normalization(node: OnnxNode) -> Value:
    """Each plane normalised by itself, then scaled and shifted by channel."""
    x, scale, shift = (node.value(index) for index in range(3))
    axes = range(2, len(x.shape))
    out, _, _ = _normalized(node, x, axes, float(node.attribute("epsilon", 1e-5)))
    along = (x.shape[1], *(1 for _ in axes))
    out = node.emit(Mul(), out, node.reshape(scale, along))
    return node.emit(Add(), out, node.reshape(shift, along))


def layer_normalization(node: OnnxNode) -> list[Value]:
    """Everything from an axis on normalised together, scaled and shifted; mean, inverse root."""
    x, scale = node.value(0), node.value(1)
    axis = node.axis(int(node.attribute("axis", -1)), len(x.shape))
    axes = range(axis, len(x.shape))
    out, mean, inverse = _normalized(node, x, axes, float(node.attribute("epsilon", 1e-5)))
    out = node.emit(Mul(), out, scale)
    shift = node.optional(2)
    return [out if shift is None else node.emit(Add(), out, shift), mean, inverse]


def rms_normalization(node: OnnxNode) -> Value:
    """x over the root of the mean of its squares from an axis on, scaled."""
    x, scale = node.value(0), node.value(1)
    axis = node.axis(int(node.attribute("axis", -1)), len(x.shape))
    axes = tuple(range(axis, len(x.shape)))
    squares = node.emit(Reduce("mean", axes, True), node.emit(Mul(), x, x))
    inverse = _inverse_root(node, squares, float(node.attribute("epsilon", 1e-5)))
    return node.emit(Mul(), node.emit(Mul(), x, inverse), scale)


def group_normalization(node: OnnxNode) -> Value:
    """Channels normalised in groups, then scaled and shifted by channel."""
    x, scale, shift = (node.value(index) for index in range(3))
    groups = int(node.attribute("num_groups", 0))
    n, channels, *rest = x.shape
    if groups < 1 or channels % groups:
        node.fail(f"num_groups {groups} does not divide the {channels} channels of {x.name}")
    together = node.reshape(x, (n, groups, channels // groups * prod(rest)))
    out, _, _ = _normalized(node, together, [2], float(node.attribute("epsilon", 1e-5)))
    if scale.shape[0] != channels:  # before opset 21 there is one for each group
        along = (groups, 1)
    else:
        out, along = node.reshape(out, x.shape), (channels, *(1 for _ in rest))
    out = node.emit(Mul(), out, node.reshape(scale, along))
    return node.reshape(node.emit(Add(), out, node.reshape(shift, along)), x.shape)


def mean_variance_normalization(node: OnnxNode) -> Value:
    """(x - mean) over the deviation, along axes."""
    x = node.value(0)
    axes = [node.axis(int(axis), len(x.shape)) for axis in node.attribute("axes", [0, 2, 3])]
    mean = node.emit(Reduce("mean", tuple(axes), True), x)
    apart = node.emit(Sub(), x, mean)
    square = node.emit(Mul(), apart, apart)
    variance = node.emit(Reduce("mean", tuple(axes), True), square)
    deviation = node.emit(Add(), node.emit(Unary("sqrt"), variance), node.scalar(1e-9, x))
    return node.emit(Div(), apart, deviation)


def lp_normalization(node: OnnxNode) -> Value:
    """x over the sum of its magnitudes along an axis, or the root of that of its squares."""
    x = node.value(0)
    axis = node.axis(int(node.attribute("axis", -1)), len(x.shape))
    p = int(node.attribute("p", 2))
    if p not in (1, 2):
        node.fail(f"p is {p}; 1 and 2 are supported")
    size = node.emit(Unary("abs"), x) if p == 1 else node.emit(Mul(), x, x)
    total = node.emit(Reduce("sum", (axis,), True), size)
    norm = total if p == 1 else node.emit(Unary("sqrt"), total)
    none = node.emit(Compare("equal"), norm, node.scalar(0, norm))
    return node.emit(Where(), none, node.scalar(0, x), node.emit(Div(), x, norm))


def lrn(node: OnnxNode) -> Value:
    """x over (bias + alpha / size * the sum of squares of neighbouring channels) ** beta."""
    x = node.value(0)
    node.floats(x)
    size, bias = int(node.attribute("size", 0)), float(node.attribute("bias", 1.0))
    alpha, beta = float(node.attribute("alpha", 1e-4)), float(node.attribute("beta", 0.75))
    if size < 1 or len(x.shape) < 2:
        node.fail(f"size {size} for {x.name}: {x.type}; it is at least 1, of images")
    n, channels, *rest = x.shape
    squares = node.reshape(node.emit(Mul(), x, x), (n, 1, channels, prod(rest)))
    before = (size - 1) // 2
    near = node.emit(SumPool2d((size, 1), (1, 1), (before, 0, size - 1 - before, 0)), squares)
    near = node.reshape(near, x.shape)
    inner = node.emit(Mul(), near, node.scalar(alpha / size, x))
    inner = node.emit(Add(), inner, node.scalar(bias, x))
    return node.emit(Div(), x, node.emit(Pow(), inner, node.scalar(beta, x)))
