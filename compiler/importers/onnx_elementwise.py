"""ONNX operators element by element, and quantization, in our operators."""

from collections.abc import Callable
from functools import reduce as fold_left

import numpy as np

from ..graph import DType, Value
from ..ops.elementwise import Add, Binary, Cast, Div, Maximum, Minimum, Mul, Sub, Unary
from ..ops.quantize import DequantizeLinear, QuantizeLinear
from .onnx_node import OnnxNode

Handler = Callable[[OnnxNode], Value]


def binary(op: Binary) -> Handler:
    """Return the handler of an operator of two inputs."""
    return lambda node: node.emit(op, node.value(0), node.value(1))


def unary(function: str) -> Handler:
    """Return the handler of a function of one float32 variable."""

    def handle(node: OnnxNode) -> Value:
        x = node.value(0)
        if function != "abs" and x.dtype.numpy.kind != "f":
            node.fail(f"{x.name} is {x.type}; only floats are supported here")
        return node.emit(Unary(function), x)

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


def relu(node: OnnxNode) -> Value:
    """max(x, 0)."""
    x = node.value(0)
    return node.emit(Maximum(), x, node.scalar(0, x))


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


def quantize_linear(node: OnnxNode) -> Value:
    """round(x / scale) + zero point, saturated."""
    x, scale, zero_point = _quantization(node, DType.UINT8)
    node.floats(x)
    if node.attribute("block_size", 0):
        scale, zero_point = (_by_element(node, x, value) for value in (scale, zero_point))
        scaled = node.emit(Unary("round"), node.emit(Div(), x, scale))
        shifted = node.emit(Add(), scaled, node.emit(Cast(x.dtype), zero_point))
        limits = np.iinfo(zero_point.dtype.numpy)
        clipped = node.emit(Maximum(), shifted, node.scalar(limits.min, x))
        clipped = node.emit(Minimum(), clipped, node.scalar(limits.max, x))
        return node.emit(Cast(zero_point.dtype), clipped)
    return node.emit(QuantizeLinear(_axis(node, x, scale)), x, scale, zero_point)


def dequantize_linear(node: OnnxNode) -> Value:
    """(x - zero point) * scale."""
    x, scale, zero_point = _quantization(node, node.value(0).dtype)
    if node.attribute("block_size", 0):
        scale, zero_point = (_by_element(node, x, value) for value in (scale, zero_point))
        parts = [node.emit(Cast(DType.INT32), value) for value in (x, zero_point)]
        return node.emit(Mul(), node.emit(Cast(scale.dtype), node.emit(Sub(), *parts)), scale)
    return node.emit(DequantizeLinear(_axis(node, x, scale)), x, scale, zero_point)


def _output(node: OnnxNode, default: DType) -> DType:
    """Return the element type that a node is asked to give."""
    from onnx import helper

    number = int(node.attribute("output_dtype", 0))
    return DType(str(helper.tensor_dtype_to_np_dtype(number))) if number else default


def _by_element(node: OnnxNode, x: Value, parameters: Value) -> Value:
    """Return scales or zero points of blocks, one for each element."""
    axis = node.axis(int(node.attribute("axis", 1)), len(x.shape))
    size, array = int(node.attribute("block_size", 0)), node.builder.constants[parameters]
    whole = np.repeat(array, size, axis) if len(array.shape) == len(x.shape) else array
    whole = whole.take(range(min(x.shape[axis], whole.shape[axis])), axis)
    if whole.shape != x.shape:
        node.fail(f"blocks of {size} with {parameters.type} do not fit {x.name}: {x.type}")
    return node.constant(whole)


def _axis(node: OnnxNode, x: Value, scale: Value) -> int:
    return 1 if scale.shape == () else node.axis(int(node.attribute("axis", 1)), len(x.shape))


def _quantization(node: OnnxNode, default: DType) -> tuple[Value, Value, Value]:
    """Return x, scale and zero point, the latter two constants and, of one element, scalars."""
    x, scale = node.value(0), node.array(1, "scale")
    if node.optional(2) is None:
        zero_point = np.zeros(scale.shape, _output(node, default).numpy)
    else:
        zero_point = node.array(2, "zero point")
    if scale.dtype != np.float32 or (scale <= 0).any() or not np.isfinite(scale).all():
        node.fail(f"its scale {scale.ravel()[:4]} has to be positive float32")
    if scale.size == 1:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    return x, node.constant(scale), node.constant(zero_point)


def cast_like(node: OnnxNode) -> Value:
    """The element type of another tensor."""
    x, like = node.value(0), node.value(1)
    return x if x.dtype is like.dtype else node.emit(Cast(like.dtype), x)


def cast(node: OnnxNode) -> Value:
    """Another element type."""
    import onnx

    number = int(node.attribute("to", 0))
    try:
        dtype = DType(str(onnx.helper.tensor_dtype_to_np_dtype(number)))
    except (ValueError, KeyError):
        name = onnx.TensorProto.DataType.Name(number) if number else "nothing"
        node.fail(f"it casts to {name.lower()}; {', '.join(d.value for d in DType)} are supported")
    x = node.value(0)
    return x if x.dtype is dtype else node.emit(Cast(dtype), x)


def reciprocal(node: OnnxNode) -> Value:
    """1 / x."""
    return node.emit(Div(), node.scalar(1, node.value(0)), node.value(0))


def negate(node: OnnxNode) -> Value:
    """0 - x."""
    return node.emit(Mul(), node.value(0), node.scalar(-1, node.value(0)))
