"""ONNX operators that compare, decide and choose, in our operators."""

from collections.abc import Callable

import numpy as np

from ..graph import DType, Value
from ..ops.elementwise import Add, Cast, Compare, Div, Maximum, Minimum, Mul, Pow, Sub, Unary, Where
from ..ops.reduce import ArgMax
from .onnx_node import OnnxNode

Handler = Callable[[OnnxNode], Value]


def compare(function: str, *, swapped: bool = False) -> Handler:
    """Return the handler of a comparison; `swapped`, of its second input with its first."""

    def handle(node: OnnxNode) -> Value:
        a, b = node.value(0), node.value(1)
        return node.emit(Compare(function), *((b, a) if swapped else (a, b)))

    return handle


def both(node: OnnxNode) -> Value:
    """a and b: the lesser of two bools."""
    return node.emit(Minimum(), node.value(0), node.value(1))


def either(node: OnnxNode) -> Value:
    """a or b: the greater of two bools."""
    return node.emit(Maximum(), node.value(0), node.value(1))


def different(node: OnnxNode) -> Value:
    """One of a and b, but not both."""
    return negated(node, node.emit(Compare("equal"), node.value(0), node.value(1)))


def not_(node: OnnxNode) -> Value:
    """What is true becomes false."""
    return negated(node, node.value(0))


def negated(node: OnnxNode, x: Value) -> Value:
    """Return the opposite of a bool."""
    return node.emit(Compare("equal"), x, node.scalar(False, x))


def where(node: OnnxNode) -> Value:
    """An element of the second input where the first is true, else of the third."""
    return node.emit(Where(), node.value(0), node.value(1), node.value(2))


def is_nan(node: OnnxNode) -> Value:
    """Whether it is not a number: only that differs from itself."""
    x = node.value(0)
    return negated(node, node.emit(Compare("equal"), x, x))


def is_inf(node: OnnxNode) -> Value:
    """Whether it is infinite, of one sign or of either."""
    x = node.value(0)
    above, below = node.attribute("detect_positive", 1), node.attribute("detect_negative", 1)
    if not above and not below:
        return node.constant(np.zeros(x.shape, bool))
    read = node.emit(Unary("abs"), x) if above and below else x
    limit = node.scalar(np.inf if above else -np.inf, x)
    return node.emit(Compare("equal"), read, limit)


def sign(node: OnnxNode) -> Value:
    """1, 0 or -1."""
    x = node.value(0)
    zero = node.scalar(0, x)
    above = node.emit(Cast(x.dtype), node.emit(Compare("less"), zero, x))
    below = node.emit(Cast(x.dtype), node.emit(Compare("less"), x, zero))
    return node.emit(Sub(), above, below)


def mod(node: OnnxNode) -> Value:
    """What is left of a division, with the sign of the divisor; with `fmod`, of what is divided."""
    a, b = node.value(0), node.value(1)
    whole = node.emit(Div(), a, b)
    if a.dtype.numpy.kind == "f":
        if not node.attribute("fmod", 0):
            node.fail(f"{a.name} is {a.type}: fmod=1 is needed for floats")
        toward_zero = node.emit(Unary("floor"), node.emit(Unary("abs"), whole))
        down = node.emit(Compare("less"), whole, node.scalar(0, whole))
        negative = node.emit(Mul(), toward_zero, node.scalar(-1, whole))
        whole = node.emit(Where(), down, negative, toward_zero)
        return node.emit(Sub(), a, node.emit(Mul(), whole, b))
    rest = node.emit(Sub(), a, node.emit(Mul(), whole, b))
    if node.attribute("fmod", 0) or a.dtype.numpy.kind == "u":
        return rest
    zero = node.scalar(0, rest)
    signs = [node.emit(Compare("less"), value, zero) for value in (rest, b)]
    other = negated(node, node.emit(Compare("equal"), *signs))
    some = negated(node, node.emit(Compare("equal"), rest, zero))
    wrong = node.emit(Minimum(), other, some)
    return node.emit(Where(), wrong, node.emit(Add(), rest, b), rest)


def power(node: OnnxNode) -> Value:
    """a to the power of b, in the type of a."""
    a, b = node.value(0), node.value(1)
    if a.dtype is b.dtype:
        return node.emit(Pow(), a, b)
    if a.dtype is DType.FLOAT32:
        return node.emit(Pow(), a, node.emit(Cast(a.dtype), b))
    wide = [node.emit(Cast(DType.FLOAT64), value) for value in (a, b)]
    return node.emit(Cast(a.dtype), node.emit(Pow(), *wide))


def hardmax(node: OnnxNode) -> Value:
    """1 for the first greatest element along an axis, 0 for the others."""
    x = node.value(0)
    axis = node.axis(int(node.attribute("axis", 1 if node.opset < 13 else -1)), len(x.shape))
    if node.opset < 13:
        node.fail("opset 13 and later are supported")
    greatest = node.emit(ArgMax(axis, True), x)
    shape = [1] * len(x.shape)
    shape[axis] = x.shape[axis]
    places = node.constant(np.arange(x.shape[axis], dtype=np.int64).reshape(shape))
    return node.emit(Cast(x.dtype), node.emit(Compare("equal"), places, greatest))


def one_hot(node: OnnxNode) -> Value:
    """One value at the index given, along a new axis, another elsewhere."""
    x = node.value(0)
    depth = int(node.array(1, "depth").reshape(()))
    axis = node.axis(int(node.attribute("axis", -1)), len(x.shape) + 1)
    index = node.emit(Cast(DType.INT64), x) if x.dtype is not DType.INT64 else x
    shape = [1] * (len(x.shape) + 1)
    shape[axis] = depth
    places = node.constant(np.arange(depth, dtype=np.int64).reshape(shape))
    index = node.reshape(index, (*x.shape[:axis], 1, *x.shape[axis:]))
    below = node.emit(Compare("less"), index, node.scalar(0, index))
    wrapped = node.emit(Add(), index, node.scalar(depth, index))
    index = node.emit(Where(), below, wrapped, index)
    found = node.emit(Compare("equal"), places, index)
    off, on = np.split(node.array(2, "values"), 2)
    values = [node.constant(value.reshape(())) for value in (on, off)]
    return node.emit(Where(), found, *values)


def trilu(node: OnnxNode) -> Value:
    """The upper, or lower, triangle of matrices; zeros elsewhere."""
    x = node.value(0)
    k = int(node.array(1, "diagonal").reshape(())) if node.optional(1) is not None else 0
    kept = np.tri(*x.shape[-2:], k=k if not node.attribute("upper", 1) else k - 1, dtype=bool)
    mask = node.constant(~kept if node.attribute("upper", 1) else kept)
    return node.emit(Where(), mask, x, node.scalar(0, x))
