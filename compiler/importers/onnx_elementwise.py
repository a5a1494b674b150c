"""ONNX operators of arithmetic, comparison and logic, element by element, in our operators."""

from collections.abc import Callable
from functools import reduce as fold_left

import numpy as np

from ..graph import Value
from ..ops.elementwise import Add, Binary, Cast, Div, Maximum, Minimum, Mul, Pow, Sub, Unary
from ..ops.logic import Comparison, Equal, Less, Where
from ..ops.shape import Broadcast
from .onnx_node import OnnxNode

Handler = Callable[[OnnxNode], Value]


def binary(op: Binary) -> Handler:
    """Return the handler of an operator of two inputs."""
    return lambda node: node.emit(op, node.value(0), node.value(1))


def unary(function: str) -> Handler:
    """Return the handler of a function of one variable, of floats."""

    def handle(node: OnnxNode) -> Value:
        node.fractions(node.value(0))
        return node.emit(Unary(function), node.value(0))

    return handle


def variadic(op: Binary) -> Handler:
    """Return the handler of an operator of any number of inputs."""

    def handle(node: OnnxNode) -> Value:
        values = [node.value(index) for index in range(len(node.inputs))]
        return fold_left(lambda a, b: node.emit(op, a, b), values)

    return handle


def mean(node: OnnxNode) -> Value:
    """The mean of several tensors."""
    total = variadic(Add())(node)
    return node.emit(Mul(), total, node.scalar(1 / len(node.inputs), total))


def clip(node: OnnxNode) -> Value:
    """min(max(x, low), high), either of which may be missing."""
    x = node.value(0)
    low, high = node.optional(1), node.optional(2)
    if node.opset < 11:
        low = node.scalar(node.attribute("min", -np.inf), x)
        high = node.scalar(node.attribute("max", np.inf), x)
    if low is not None:
        x = node.emit(Maximum(), x, node.reshape(low, ()))
    return x if high is None else node.emit(Minimum(), x, node.reshape(high, ()))


def cast(node: OnnxNode) -> Value:
    """Another element type."""
    x = node.value(0)
    dtype = node.dtype("to", x.dtype)
    return x if x.dtype is dtype else node.emit(Cast(dtype), x)


def cast_like(node: OnnxNode) -> Value:
    """The element type of another tensor."""
    x, like = node.value(0), node.value(1)
    return x if x.dtype is like.dtype else node.emit(Cast(like.dtype), x)


def reciprocal(node: OnnxNode) -> Value:
    """1 / x."""
    return node.emit(Div(), node.scalar(1, node.value(0)), node.value(0))


def negate(node: OnnxNode) -> Value:
    """0 - x."""
    return node.emit(Mul(), node.value(0), node.scalar(-1, node.value(0)))


def power(node: OnnxNode) -> Value:
    """a to the power of b, in the type of a; b may be of another."""
    a, b = node.value(0), node.value(1)
    if a.dtype is b.dtype:
        return node.emit(Pow(), a, b)
    if not node.is_float(a) and node.is_float(b):
        real = node.emit(Pow(), node.emit(Cast(b.dtype), a), b)
        return node.emit(Cast(a.dtype), real)
    return node.emit(Pow(), a, node.emit(Cast(a.dtype), b))


def modulo(node: OnnxNode) -> Value:
    """What division leaves: of the sign of the divisor or, with `fmod`, of the dividend."""
    a, b = node.value(0), node.value(1)
    truncated = bool(node.attribute("fmod", 0))
    quotient = node.emit(Div(), a, b)
    if node.is_float(a) and not truncated:
        quotient = node.emit(Unary("floor"), quotient)
        return node.emit(Sub(), a, node.emit(Mul(), quotient, b))
    if node.is_float(a):
        down, up = node.emit(Unary("floor"), quotient), node.emit(Unary("ceil"), quotient)
        below = node.emit(Less(), quotient, node.scalar(0, quotient))
        quotient = node.emit(Where(), below, up, down)
    rest = node.emit(Sub(), a, node.emit(Mul(), quotient, b))
    if truncated or a.dtype.numpy.kind == "u":
        return rest
    zero = node.scalar(0, rest)
    signs = node.emit(Less(), rest, zero), node.emit(Less(), b, zero)
    differ = negation(node, node.emit(Equal(), *signs))
    some = negation(node, node.emit(Equal(), rest, zero))
    wrong = node.emit(Minimum(), differ, some)
    return node.emit(Where(), wrong, node.emit(Add(), rest, b), rest)


def comparison(op: Comparison, *, swap: bool = False) -> Handler:
    """Return the handler of a comparison, with `swap` of the second input to the first."""

    def handle(node: OnnxNode) -> Value:
        a, b = node.value(0), node.value(1)
        return node.emit(op, b, a) if swap else node.emit(op, a, b)

    return handle


def logical(op: Binary) -> Handler:
    """Return the handler of an operator of two truths."""

    def handle(node: OnnxNode) -> Value:
        node.truths(node.value(0), node.value(1))
        return node.emit(op, node.value(0), node.value(1))

    return handle


def exclusive_or(node: OnnxNode) -> Value:
    """Whether one of two is true and the other is not."""
    node.truths(node.value(0), node.value(1))
    return negation(node, node.emit(Equal(), node.value(0), node.value(1)))


def not_(node: OnnxNode) -> Value:
    """Whether it is not true."""
    node.truths(node.value(0))
    return negation(node, node.value(0))


def negation(node: OnnxNode, truth: Value) -> Value:
    """Return the opposite of a truth."""
    return node.emit(Equal(), truth, node.scalar(0, truth))


def where(node: OnnxNode) -> Value:
    """The second input where the first is true, else the third."""
    return node.emit(Where(), node.value(0), node.value(1), node.value(2))


def is_nan(node: OnnxNode) -> Value:
    """Whether it is not a number, which is not even itself."""
    return negation(node, node.emit(Equal(), node.value(0), node.value(0)))


def is_infinite(node: OnnxNode) -> Value:
    """Whether it is infinite, of the signs that are asked for."""
    x = node.value(0)
    node.fractions(x)
    found = node.constant(np.asarray(False))
    for sign, name in ((1, "detect_positive"), (-1, "detect_negative")):
        if node.attribute(name, 1):
            hit = node.emit(Equal(), x, node.scalar(sign * np.inf, x))
            found = node.emit(Maximum(), found, hit)
    return found if found.shape == x.shape else node.emit(Broadcast(x.shape), found)
