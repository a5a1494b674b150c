"""ONNX normalizations in our operators."""

from collections.abc import Sequence

from ..graph import Value
from ..ops.elementwise import Add, Div, Maximum, Mul, Pow, Sub, Unary
from ..ops.pool import SumPool2d
from ..ops.reduce import Reduce
from .onnx_node import OnnxNode


def batch_normalization(node: OnnxNode) -> Value | list[Value]:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift, as one Mul and one Add.

    In training mode mean and variance are those of the batch, and their running values are given.
    """
    x, scale, shift, mean, variance = (node.value(index) for index in range(5))
    node.fractions(x)
    more: list[Value] = []
    if node.attribute("training_mode", 0):
        momentum = float(node.attribute("momentum", 0.9))
        axes = [axis for axis in range(len(x.shape)) if axis != 1]
        running = mean, variance
        mean = node.emit(Reduce("mean", tuple(axes), False), x)
        centred = node.emit(Sub(), x, _along(node, mean, x))
        square = node.emit(Mul(), centred, centred)
        variance = node.emit(Reduce("mean", tuple(axes), False), square)
        for old, new in zip(running, (mean, variance), strict=True):
            old = node.emit(Mul(), old, node.scalar(momentum, old))
            more.append(
                node.emit(Add(), old, node.emit(Mul(), new, node.scalar(1 - momentum, new)))
            )
    epsilon = node.scalar(float(node.attribute("epsilon", 1e-5)), x)
    deviation = node.emit(Unary("sqrt"), node.emit(Add(), variance, epsilon))
    factor = node.emit(Div(), scale, deviation)
    offset = node.emit(Sub(), shift, node.emit(Mul(), mean, factor))
    out = node.emit(Mul(), x, _along(node, factor, x))
    return [node.emit(Add(), out, _along(node, offset, x)), *more]


def _along(node: OnnxNode, numbers: Value, x: Value) -> Value:
    """Return a number for each channel as it broadcasts to x."""
    return node.reshape(numbers, (x.shape[1],) + (1,) * (len(x.shape) - 2))


def instance_normalization(node: OnnxNode) -> Value:
    """x without its mean and deviation over each channel's plane, times scale, plus shift."""
    x, scale, shift = (node.value(index) for index in range(3))
    node.fractions(x)
    out = _normal(node, x, range(2, len(x.shape)))[0]
    out = node.emit(Mul(), out, _along(node, scale, x))
    return node.emit(Add(), out, _along(node, shift, x))


def group_normalization(node: OnnxNode) -> Value:
    """x without its mean and deviation over groups of channels, times scale, plus shift."""
    x, scale, shift = (node.value(index) for index in range(3))
    node.fractions(x)
    groups = int(node.attribute("num_groups", 1))
    n, c, *extents = x.shape
    if groups < 1 or c % groups:
        node.fail(f"{c} channels cannot be in {groups} groups")
    grouped = node.reshape(x, (n, groups, c // groups, *extents))
    out = _normal(node, grouped, range(2, len(grouped.shape)))[0]
    if node.opset < 21 and scale.shape == (groups,):  # a number for each group
        shape = (groups,) + (1,) * (1 + len(extents))
        out = node.emit(Mul(), out, node.reshape(scale, shape))
        return node.reshape(node.emit(Add(), out, node.reshape(shift, shape)), x.shape)
    out = node.reshape(out, x.shape)
    out = node.emit(Mul(), out, _along(node, scale, x))
    return node.emit(Add(), out, _along(node, shift, x))


def layer_normalization(node: OnnxNode) -> list[Value]:
    """x without its mean and deviation over the axes from `axis` on, times scale, plus shift."""
    x, scale = node.value(0), node.value(1)
    node.fractions(x)
    first = node.axis(int(node.attribute("axis", -1)), len(x.shape))
    out, mean, inverse = _normal(node, x, range(first, len(x.shape)))
    out = node.emit(Mul(), out, scale)
    shift = node.optional(2)
    out = out if shift is None else node.emit(Add(), out, shift)
    return [out, mean, inverse]


def rms_normalization(node: OnnxNode) -> Value:
    """x over the root of the mean of its squares over the axes from `axis` on, times scale."""
    x, scale = node.value(0), node.value(1)
    node.fractions(x)
    first = node.axis(int(node.attribute("axis", -1)), len(x.shape))
    inverse = _inverse(node, node.emit(Mul(), x, x), range(first, len(x.shape)), 1e-5)
    return node.emit(Mul(), node.emit(Mul(), x, inverse), scale)


def mean_variance_normalization(node: OnnxNode) -> Value:
    """x without its mean and deviation over `axes`."""
    x = node.value(0)
    node.fractions(x)
    axes = [node.axis(int(axis), len(x.shape)) for axis in node.attribute("axes", [0, 2, 3])]
    average = Reduce("mean", tuple(sorted(axes)), True)
    centred = node.emit(Sub(), x, node.emit(average, x))
    square = node.emit(average, node.emit(Mul(), centred, centred))
    deviation = node.emit(Add(), node.emit(Unary("sqrt"), square), node.scalar(1e-9, x))
    return node.emit(Div(), centred, deviation)


def lp_normalization(node: OnnxNode) -> Value:
    """x over the p-th root of the sum of its absolute values to the power of p, along an axis."""
    x = node.value(0)
    node.fractions(x)
    axis, p = node.axis(int(node.attribute("axis", -1)), len(x.shape)), node.attribute("p", 2)
    if p not in (1, 2):
        node.fail(f"p {p} is not supported; 1 and 2 are")
    powered = node.emit(Mul(), x, x) if p == 2 else node.emit(Unary("abs"), x)
    norm = node.emit(Reduce("sum", (axis,), True), powered)
    norm = node.emit(Unary("sqrt"), norm) if p == 2 else norm
    least = node.scalar(1e-30, x)  # of nothing but zeros it is zero, not zero over zero
    return node.emit(Div(), x, node.emit(Maximum(), norm, least))


def lrn(node: OnnxNode) -> Value:
    """x over (bias + alpha / size times the squares of channels nearby) to the power beta."""
    x = node.value(0)
    node.floats(x)
    size = int(node.attribute("size", 1))
    if size < 1 or not x.size or len(x.shape) < 3:
        node.fail(f"size {size} does not fit {x.name}: {x.type}")
    alpha, beta = float(node.attribute("alpha", 1e-4)), float(node.attribute("beta", 0.75))
    n, c = x.shape[:2]
    plane = x.size // (n * c)
    square = node.reshape(node.emit(Mul(), x, x), (n, 1, c, plane))
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    total = node.emit(SumPool2d((size, 1), (1, 1), (before, 0, after, 0)), square)
    total = node.emit(Mul(), node.reshape(total, x.shape), node.scalar(alpha / size, x))
    total = node.emit(Add(), total, node.scalar(float(node.attribute("bias", 1.0)), x))
    return node.emit(Div(), x, node.emit(Pow(), total, node.scalar(beta, x)))


def _normal(node: OnnxNode, x: Value, axes: Sequence[int]) -> tuple[Value, Value, Value]:
    """Return x without mean and deviation over axes, the mean, and one over the deviation."""
    mean = node.emit(Reduce("mean", tuple(axes), True), x)
    centred = node.emit(Sub(), x, mean)
    inverse = _inverse(node, node.emit(Mul(), centred, centred), axes, 1e-5)
    return node.emit(Mul(), centred, inverse), mean, inverse


def _inverse(node: OnnxNode, square: Value, axes: Sequence[int], epsilon: float) -> Value:
    mean = node.emit(Reduce("mean", tuple(axes), True), square)
    epsilon = float(node.attribute("epsilon", epsilon))
    root = node.emit(Unary("sqrt"), node.emit(Add(), mean, node.scalar(epsilon, mean)))
    return node.emit(Div(), node.scalar(1, root), root)
