"""ONNX activations that are several of our operators."""

import math

import numpy as np

from ..graph import Value
from ..ops.elementwise import Add, Compare, Div, Maximum, Minimum, Mul, Sub, Unary, Where
from .onnx_node import OnnxNode


def below_zero(node: OnnxNode, alpha: float, gamma: float = 1.0, scale: float = 1.0) -> Value:
    """gamma x where it is positive, gamma alpha (exp(x / scale) - 1) elsewhere."""
    x = node.value(0)
    zero = node.scalar(0, x)
    below = node.emit(Minimum(), x, zero)
    if scale != 1:
        below = node.emit(Mul(), below, node.scalar(1 / scale, x))
    below = node.emit(Sub(), node.emit(Unary("exp"), below), node.scalar(1, x))
    below = node.emit(Mul(), below, node.scalar(alpha, x))
    out = node.emit(Add(), node.emit(Maximum(), x, zero), below)
    return out if gamma == 1 else node.emit(Mul(), out, node.scalar(gamma, x))


def elu(node: OnnxNode) -> Value:
    """x where it is positive, alpha (exp(x) - 1) elsewhere."""
    return below_zero(node, float(node.attribute("alpha", 1.0)))


def selu(node: OnnxNode) -> Value:
    """gamma times an Elu."""
    alpha = float(node.attribute("alpha", 1.6732632423543772))
    return below_zero(node, alpha, float(node.attribute("gamma", 1.0507009873554805)))


def celu(node: OnnxNode) -> Value:
    """x where it is positive, alpha (exp(x / alpha) - 1) elsewhere."""
    alpha = float(node.attribute("alpha", 1.0))
    return below_zero(node, alpha, scale=alpha)


def thresholded_relu(node: OnnxNode) -> Value:
    """x where it is more than alpha, 0 elsewhere."""
    x = node.value(0)
    alpha = node.scalar(float(node.attribute("alpha", 1.0)), x)
    above = node.emit(Compare("less"), alpha, x)
    return node.emit(Where(), above, x, node.scalar(0, x))


def shrink(node: OnnxNode) -> Value:
    """x nearer to zero by `bias` where it is farther from it than `lambd`, 0 elsewhere."""
    x = node.value(0)
    limit, bias = float(node.attribute("lambd", 0.5)), float(node.attribute("bias", 0.0))
    below = node.emit(Compare("less"), x, node.scalar(-limit, x))
    above = node.emit(Compare("less"), node.scalar(limit, x), x)
    less, more = (node.emit(op, x, node.scalar(bias, x)) for op in (Sub(), Add()))
    inner = node.emit(Where(), above, less, node.scalar(0, x))
    return node.emit(Where(), below, more, inner)


def softsign(node: OnnxNode) -> Value:
    """x / (1 + |x|)."""
    x = node.value(0)
    size = node.emit(Add(), node.emit(Unary("abs"), x), node.scalar(1, x))
    return node.emit(Div(), x, size)


def mish(node: OnnxNode) -> Value:
    """x tanh(log(1 + exp(x)))."""
    x = node.value(0)
    return node.emit(Mul(), x, node.emit(Unary("tanh"), node.emit(Unary("softplus"), x)))


def swish(node: OnnxNode) -> Value:
    """x / (1 + exp(-alpha x))."""
    x = node.value(0)
    alpha = float(node.attribute("alpha", 1.0))
    scaled = x if alpha == 1 else node.emit(Mul(), x, node.scalar(alpha, x))
    return node.emit(Mul(), x, node.emit(Unary("sigmoid"), scaled))


def gelu(node: OnnxNode) -> Value:
    """x / 2 (1 + erf(x / sqrt 2)), or its approximation by tanh."""
    x = node.value(0)
    kind = node.attribute("approximate", "none")
    if kind not in ("none", "tanh"):
        node.fail(f"approximate {kind} is not one that ONNX has")
    if kind == "none":
        bell = node.emit(Unary("erf"), node.emit(Mul(), x, node.scalar(0.5**0.5, x)))
    else:
        cube = node.emit(Mul(), node.emit(Mul(), x, x), x)
        inner = node.emit(Add(), x, node.emit(Mul(), cube, node.scalar(0.044715, x)))
        inner = node.emit(Mul(), inner, node.scalar(math.sqrt(2 / np.pi), x))
        bell = node.emit(Unary("tanh"), inner)
    bell = node.emit(Add(), bell, node.scalar(1, x))
    return node.emit(Mul(), node.emit(Mul(), x, node.scalar(0.5, x)), bell)
