"""ONNX quantization, and products of integers, in our operators."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import DType, Value
from ..ops.elementwise import Add, Cast, Div, Maximum, Minimum, Mul, Sub, Unary
from ..ops.linear import Dense
from ..ops.logic import Equal, Where
from ..ops.quantize import DequantizeLinear, QuantizeLinear
from ..ops.reduce import Reduce
from ..ops.shape import Gather, Transpose
from .onnx_conv import convolved
from .onnx_narrow import quantized
from .onnx_node import OnnxNode
from .onnx_windows import windows


def quantize_linear(node: OnnxNode) -> Value:
    """round(x / scale) + zero point, saturated."""
    if node.narrow or not _is_known(node):
        return _quantize(node)
    x, scale, zero_point = _quantization(node, node.dtype("output_dtype", DType.UINT8))
    node.floats(x)
    return node.emit(QuantizeLinear(_axis(node, x, scale)), x, scale, zero_point)


def dequantize_linear(node: OnnxNode) -> Value:
    """(x - zero point) * scale."""
    if _of_floats(node) or not _is_known(node):
        return _dequantize(node)
    x, scale, zero_point = _quantization(node, node.value(0).dtype)
    if x.dtype not in _WIDE:
        node.fail(f"{x.name} is {x.type}; int8, uint8, int16, uint16 and int32 are supported")
    return node.emit(DequantizeLinear(_axis(node, x, scale)), x, scale, zero_point)


_NARROW = (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16)
_WIDE = (*_NARROW, DType.INT32)


def _is_known(node: OnnxNode) -> bool:
    """Whether scale and zero point are constants, as layers of integers have them."""
    if node.attribute("block_size", 0):
        return False
    return all(value is None or node.is_constant(value) for value in node.inputs[1:3])


def _of_floats(node: OnnxNode) -> bool:
    """Whether what DequantizeLinear takes has fractions, of a narrow type."""
    narrow = node.narrow_inputs[0] if node.narrow_inputs else None
    return narrow is not None and narrow.is_float


def _quantize(node: OnnxNode) -> Value:
    """QuantizeLinear by a scale that is computed while the network runs."""
    x = node.value(0)
    scale, zero = _broadcast(node, node.value(1)), _broadcast(node, node.optional(2))
    node.floats(x, scale)
    if node.narrow:
        return quantized(node, x, scale, zero, node.narrow)
    dtype = node.dtype("output_dtype", DType.UINT8) if zero is None else zero.dtype
    if dtype not in _NARROW:
        node.fail(f"its zero point is {dtype.value}; int8, uint8, int16 and uint16 are supported")
    y = node.emit(Unary("round"), node.emit(Div(), x, scale))
    if zero is not None:
        y = node.emit(Add(), y, node.emit(Cast(DType.FLOAT32), zero))
    limits = np.iinfo(dtype.numpy)
    low, high = node.scalar(limits.min, y), node.scalar(limits.max, y)
    return node.emit(Cast(dtype), node.emit(Minimum(), node.emit(Maximum(), y, low), high))


def _dequantize(node: OnnxNode) -> Value:
    """DequantizeLinear by a scale that is computed while the network runs."""
    x = node.value(0)
    scale, zero = _broadcast(node, node.value(1)), _broadcast(node, node.optional(2))
    if _of_floats(node):
        x = x if scale.dtype is x.dtype else node.emit(Cast(scale.dtype), x)
        return node.emit(Mul(), x, scale)
    if x.dtype not in _WIDE:
        node.fail(f"{x.name} is {x.type}; int8, uint8, int16, uint16 and int32 are supported")
    wide = node.emit(Cast(DType.INT32), x) if x.dtype is not DType.INT32 else x
    if zero is not None:
        zero = zero if zero.dtype is DType.INT32 else node.emit(Cast(DType.INT32), zero)
        wide = node.emit(Sub(), wide, zero)
    return node.emit(Mul(), node.emit(Cast(DType.FLOAT32), wide), scale)


def _broadcast(node: OnnxNode, parameter: Value | None) -> Any:
    """Return a scale or zero point as it broadcasts to x."""
    if parameter is None:
        return None
    if block := int(node.attribute("block_size", 0)):
        return _blocks(node, parameter, block)
    if parameter.size == 1:
        return node.reshape(parameter, ())
    rank = len(node.value(0).shape)
    axis = node.axis(int(node.attribute("axis", 1)), rank)
    return node.reshape(parameter, [parameter.size if a == axis else 1 for a in range(rank)])


def _blocks(node: OnnxNode, parameter: Value, block: int) -> Value:
    """Return parameters of which each is for `block` elements along an axis, one for each."""
    x = node.value(0)
    axis = node.axis(int(node.attribute("axis", 1)), len(x.shape))
    fits = len(parameter.shape) == len(x.shape) and block > 0
    if not fits or parameter.shape[axis] != -(-x.shape[axis] // block):
        node.fail(f"blocks of {block} along axis {axis} of {x.name}: {x.type} need others than "
                  f"{parameter.type}")  # fmt: skip
    places = node.constant(np.arange(x.shape[axis], dtype=np.int64) // block)
    return node.emit(Gather(axis), parameter, places)


def _axis(node: OnnxNode, x: Value, scale: Value) -> int:
    return 1 if scale.shape == () else node.axis(int(node.attribute("axis", 1)), len(x.shape))


def _quantization(node: OnnxNode, default: DType) -> tuple[Value, Value, Value]:
    """Return x, scale and zero point, the latter two constants and, of one element, scalars."""
    x, scale = node.value(0), node.array(1, "scale")
    if node.optional(2) is None:
        zero_point = np.zeros(scale.shape, default.numpy)
    else:
        zero_point = node.array(2, "zero point")
    if scale.dtype != np.float32 or (scale <= 0).any() or not np.isfinite(scale).all():
        node.fail(f"its scale {scale.ravel()[:4]} has to be positive float32")
    if scale.size == 1:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    return x, node.constant(scale), node.constant(zero_point)


def dynamic_quantize_linear(node: OnnxNode) -> list[Value]:
    """x as uint8, with the scale and zero point that its least and greatest element ask for."""
    x = node.value(0)
    node.floats(x)
    axes, zero = tuple(range(len(x.shape))), node.scalar(0, x)
    top = node.emit(Maximum(), node.emit(Reduce("max", axes, False), x), zero)
    least = node.emit(Minimum(), node.emit(Reduce("min", axes, False), x), zero)
    whole = node.scalar(255, x)
    scale = node.emit(Div(), node.emit(Sub(), top, least), whole)
    scale = node.emit(Where(), node.emit(Equal(), scale, zero), node.scalar(1, x), scale)

    def saturated(value: Value) -> Value:
        return node.emit(Minimum(), node.emit(Maximum(), value, zero), whole)

    offset = saturated(node.emit(Div(), node.emit(Sub(), zero, least), scale))
    offset = node.emit(Unary("round"), offset)
    y = node.emit(Add(), node.emit(Unary("round"), node.emit(Div(), x, scale)), offset)
    byte = Cast(DType.UINT8)
    return [node.emit(byte, saturated(y)), scale, node.emit(byte, offset)]


def conv_integer(node: OnnxNode) -> Value:
    """Conv of 8-bit integers less their zero points, int32."""
    (x, zero_x), (w, zero_w) = _int8(node, 0), _int8(node, 1)
    over = windows(node, x, w.shape[2:])
    ones_x = node.constant(np.ones((1, *x.shape[1:]), np.int8))
    ones_w = node.constant(np.ones(w.shape, np.int8))
    if zero_w is not None and zero_w.shape:
        zero_w = node.reshape(zero_w, (w.shape[0],) + (1,) * (len(w.shape) - 2))
    return _centred(
        node,
        convolved(node, x, w, over),
        zero_x,
        lambda: convolved(node, ones_x, w, over),
        zero_w,
        lambda: convolved(node, x, ones_w, over),
        lambda: convolved(node, ones_x, ones_w, over),
    )


def matmul_integer(node: OnnxNode) -> Value:
    """MatMul of 8-bit integers less their zero points, int32, with a matrix on the right."""
    (a, zero_a), (b, zero_b) = _int8(node, 0), _int8(node, 1)
    if len(b.shape) != 2 or len(a.shape) < 2:
        node.fail(f"{a.type} times {b.type} is not supported; a matrix on the right is")
    lead, depth = a.shape[:-1], a.shape[-1]
    rows = node.reshape(a, (a.size // depth, depth))
    if zero_a is not None and zero_a.shape:
        zero_a = node.reshape(zero_a, (zero_a.size, 1))
    columns = node.emit(Transpose((1, 0)), b)
    out = _centred(
        node,
        node.emit(Dense(), rows, columns),
        zero_a,
        lambda: _sum(node, b, 0),
        zero_b,
        lambda: _sum(node, rows, 1),
        lambda: node.constant(np.asarray(depth, np.int32)),
    )
    return node.reshape(out, (*lead, b.shape[1]))


def _sum(node: OnnxNode, value: Value, axis: int) -> Value:
    return node.emit(Reduce("sum", (axis,), True), node.emit(Cast(DType.INT32), value))


def _int8(node: OnnxNode, at: int) -> tuple[Value, Value | None]:
    """Return an input as int8, and its zero point as int32 or None: uint8 is less by 128."""
    value, zero = node.value(at), node.optional(at + 2)
    shift = 128 if value.dtype is DType.UINT8 else 0
    if value.dtype not in (DType.INT8, DType.UINT8):
        node.fail(f"{value.name} is {value.type}; int8 and uint8 are supported")
    wide = Cast(DType.INT32)
    zero = node.constant(np.int32(0)) if zero is None else node.emit(wide, zero)
    zero = node.reshape(zero, ()) if zero.size == 1 else zero
    if shift:
        amount = node.scalar(shift, zero)
        value = node.emit(Sub(), node.emit(wide, value), amount)
        value, zero = node.emit(Cast(DType.INT8), value), node.emit(Sub(), zero, amount)
    known = node.builder.constants.get(zero)
    return value, None if known is not None and not known.any() else zero


def _centred(
    node: OnnxNode,
    product: Value,
    zero_x: Value | None,
    sums_w: Callable[[], Value],
    zero_w: Value | None,
    sums_x: Callable[[], Value],
    cells: Callable[[], Value],
) -> Value:
    """Return sums of (x - zero_x) (w - zero_w) from those of x w, of w, of x, and of ones."""
    if zero_x is not None:
        product = node.emit(Sub(), product, node.emit(Mul(), sums_w(), zero_x))
    if zero_w is not None:
        product = node.emit(Sub(), product, node.emit(Mul(), sums_x(), zero_w))
    if zero_x is not None and zero_w is not None:
        both = node.emit(Mul(), zero_x, zero_w)
        product = node.emit(Add(), product, node.emit(Mul(), cells(), both))
    return product
