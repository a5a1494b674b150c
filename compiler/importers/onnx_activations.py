"""ONNX activation functions in our operators."""

from math import pi, sqrt

from ..graph import Value
from ..ops.elementwise import Add, Div, Maximum, Minimum, Mul, Sub, Unary
from ..ops.logic import Less, Where
from .onnx_node import OnnxNode


def relu(node: OnnxNode) -> Value:
    """max(x, 0)."""
    x = node.value(0)
    return node.emit(Maximum(), x, node.scalar(0, x))


def leaky_relu(node: OnnxNode) -> Value:
    """x where it is positive, alpha x elsewhere."""
    x = node.value(0)
    alpha = float(node.attribute("alpha", 0.01))
    scaled = node.emit(Mul(), x, node.scalar(alpha, x))
    return node.emit(Maximum() if alpha <= 1 else Minimum(), x, scaled)


def prelu(node: OnnxNode) -> Value:
    """x where it is positive, slope * x elsewhere."""
    x, slope = node.value(0), node.value(1)
    zero = node.scalar(0, x)
    below = node.emit(Mul(), node.emit(Minimum(), x, zero), slope)
    return node.emit(Add(), node.emit(Maximum(), x, zero), below)


def elu(node: OnnxNode) -> Value:
    """x where it is positive, alpha (exp(x) - 1) elsewhere."""
    return _elu(node, float(node.attribute("alpha", 1.0)), 1)


def hard_sigmoid(node: OnnxNode) -> Value:
    """alpha x + beta, clipped to 0 and 1."""
    return _ramp(node, float(node.attribute("alpha", 0.2)), float(node.attribute("beta", 0.5)))


def hard_swish(node: OnnxNode) -> Value:
    """x times (x / 6 + 1 / 2, clipped to 0 and 1)."""
    return node.emit(Mul(), node.value(0), _ramp(node, 1 / 6, 0.5))


def _ramp(node: OnnxNode, slope: float, offset: float) -> Value:
    x = node.value(0)
    line = node.emit(Mul(), x, node.scalar(slope, x))
    line = node.emit(Add(), line, node.scalar(offset, x))
    above = node.emit(Maximum(), line, node.scalar(0, x))
    return node.emit(Minimum(), above, node.scalar(1, x))


def gelu(node: OnnxNode) -> Value:
    """x / 2 (1 + erf(x / sqrt 2)), or with tanh in the place of erf."""
    x = node.value(0)
    node.fractions(x)
    match node.attribute("approximate", "none"):
        case "none":
            bell = node.emit(Unary("erf"), node.emit(Mul(), x, node.scalar(0.5**0.5, x)))
        case "tanh":
            cube = node.emit(Mul(), node.emit(Mul(), x, x), x)
            inner = node.emit(Add(), x, node.emit(Mul(), cube, node.scalar(0.044715, x)))
            inner = node.emit(Mul(), inner, node.scalar(sqrt(2 / pi), x))
            bell = node.emit(Unary("tanh"), inner)
        case other:
            node.fail(f"approximate {other} is not supported; none and tanh are")
    bell = node.emit(Add(), bell, node.scalar(1, x))
    return node.emit(Mul(), node.emit(Mul(), x, node.scalar(0.5, x)), bell)


def selu(node: OnnxNode) -> Value:
    """gamma x where it is positive, gamma alpha (exp(x) - 1) elsewhere."""
    alpha = float(node.attribute("alpha", 1.67326319217681884765625))
    gamma = float(node.attribute("gamma", 1.05070102214813232421875))
    out = _elu(node, alpha, 1)
    return node.emit(Mul(), out, node.scalar(gamma, out))


def celu(node: OnnxNode) -> Value:
    """x where it is positive, alpha (exp(x / alpha) - 1) elsewhere."""
    alpha = float(node.attribute("alpha", 1.0))
    return _elu(node, alpha, 1 / alpha)


def _elu(node: OnnxNode, alpha: float, inside: float) -> Value:
    x = node.value(0)
    node.fractions(x)
    zero = node.scalar(0, x)
    below = node.emit(Minimum(), x, zero)
    if inside != 1:
        below = node.emit(Mul(), below, node.scalar(inside, x))
    below = node.emit(Sub(), node.emit(Unary("exp"), below), node.scalar(1, x))
    below = node.emit(Mul(), below, node.scalar(alpha, x))
    return node.emit(Add(), node.emit(Maximum(), x, zero), below)


def thresholded_relu(node: OnnxNode) -> Value:
    """x where it is greater than alpha, 0 elsewhere."""
    x = node.value(0)
    node.fractions(x)
    above = node.emit(Less(), node.scalar(float(node.attribute("alpha", 1.0)), x), x)
    return node.emit(Where(), above, x, node.scalar(0, x))


def shrink(node: OnnxNode) -> Value:
    """x moved by `bias` toward 0 where it is further than `lambd` from it, 0 elsewhere."""
    x = node.value(0)
    node.fractions(x)
    reach, bias = float(node.attribute("lambd", 0.5)), float(node.attribute("bias", 0.0))
    zero, shift = node.scalar(0, x), node.scalar(bias, x)
    low = node.emit(Less(), x, node.scalar(-reach, x))
    high = node.emit(Less(), node.scalar(reach, x), x)
    above = node.emit(Where(), high, node.emit(Sub(), x, shift), zero)
    return node.emit(Where(), low, node.emit(Add(), x, shift), above)


def softsign(node: OnnxNode) -> Value:
    """x / (1 + |x|)."""
    x = node.value(0)
    node.fractions(x)
    return node.emit(Div(), x, node.emit(Add(), node.emit(Unary("abs"), x), node.scalar(1, x)))


def mish(node: OnnxNode) -> Value:
    """x tanh(ln(1 + exp(x)))."""
    x = node.value(0)
    node.fractions(x)
    return node.emit(Mul(), x, node.emit(Unary("tanh"), node.emit(Unary("softplus"), x)))


def swish(node: OnnxNode) -> Value:
    """x times sigmoid(alpha x)."""
    x = node.value(0)
    node.fractions(x)
    alpha = float(node.attribute("alpha", 1.0))
    inner = x if alpha == 1 else node.emit(Mul(), x, node.scalar(alpha, x))
    return node.emit(Mul(), x, node.emit(Unary("sigmoid"), inner))
