"""Operators on quantized tensors (ONNX's QOperator form) as those between floats (QDQ).

QLinearConv(x, w)    →    QuantizeLinear(Conv(DequantizeLinear(x), DequantizeLinear(w)))

ONNX Runtime runs the second form with the kernels of the first, and `passes.qdq` finds what these
compute.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..graph import Value
from ..ops.elementwise import Add, Binary, Mul, Unary
from ..ops.quantize import DequantizeLinear, QuantizeLinear
from . import onnx_elementwise as elementwise
from . import onnx_linear as linear
from . import onnx_pool as pool
from . import onnx_reduce as reduce
from . import onnx_shape as shape
from .onnx_node import OnnxNode

Handler = Callable[[OnnxNode], Value | list[Value]]


def _parameters(node: OnnxNode, scale: int, zero: int, like: Value | None) -> tuple[Value, Value]:
    """Return a scale and a zero point, scalars or one a channel; zero where it is left out."""
    scales = node.array(scale, "scale")
    if scales.dtype == np.float16:
        scales = scales.astype(np.float32)
    if node.optional(zero) is not None:
        zeros = node.array(zero, "zero point")
    elif like is not None:
        zeros = np.zeros(scales.shape, like.dtype.numpy)
    else:
        node.fail(f"input {zero}, the zero point of the result, is missing")
    if scales.dtype != np.float32 or (scales <= 0).any() or not np.isfinite(scales).all():
        node.fail(f"its scale {scales.ravel()[:4]} has to be positive float32")
    if zeros.size == 1 < scales.size:
        zeros = np.broadcast_to(zeros.reshape(()), scales.shape)
    rank = () if scales.size == 1 else (scales.size,)
    return node.constant(scales.reshape(rank)), node.constant(np.array(zeros).reshape(rank))


def _read(node: OnnxNode, index: int, axis: int = 1) -> Value:
    """Return a quantized input as float32; its scale and zero point follow it."""
    x = node.value(index)
    return _real(node, x, *_parameters(node, index + 1, index + 2, x), axis)


def _real(node: OnnxNode, x: Value, scale: Value, zero: Value, axis: int) -> Value:
    return node.emit(DequantizeLinear(axis if scale.shape else 1), x, scale, zero)


def _result(node: OnnxNode, y: Value, index: int) -> Value:
    """Return float32 as it is to be quantized; scale and zero point are two inputs."""
    return node.emit(QuantizeLinear(1), y, *_parameters(node, index, index + 1, None))


def _as(node: OnnxNode, *inputs: Value) -> OnnxNode:
    """Return the node with other inputs, for the handler of its operator on floats."""
    return replace(node, inputs=inputs)


def convolution(node: OnnxNode) -> Value:
    """QLinearConv; its bias is int32, in units of both scales together."""
    x, w = _read(node, 0), _read(node, 3, axis=0)
    inputs = [x, w]
    bias = node.optional(8)
    if bias is not None:
        inputs.append(_bias(node, bias))
    return _result(node, linear.conv(_as(node, *inputs)), 6)


def _bias(node: OnnxNode, bias: Value) -> Value:
    """Return an int32 bias as float32: its units are those of the products."""
    units = (node.array(1, "scale").reshape(()) * node.array(4, "scale")).astype(np.float32)
    units = units.reshape(() if units.size == 1 else units.size)
    zeros = node.constant(np.zeros(units.shape, np.int32))
    return _real(node, bias, node.constant(units), zeros, len(bias.shape) - 1)


def matrix_product(node: OnnxNode) -> Value:
    """QLinearMatMul; scales of the second matrix may be of its columns."""
    a, b = _read(node, 0), _read(node, 3, axis=len(node.value(3).shape) - 1)
    return _result(node, linear.matmul(_as(node, a, b)), 6)


def gemm(node: OnnxNode) -> Value:
    """com.microsoft's QGemm; without a scale of the result that is float32."""
    columns = 0 if node.attribute("transB", 0) else 1
    inputs = [_read(node, 0), _read(node, 3, axis=columns)]
    bias = node.optional(6)
    if bias is not None:
        inputs.append(_bias(node, bias))
    out = linear.gemm(_as(node, *inputs))
    return out if node.optional(7) is None else _result(node, out, 7)


def binary(op: Binary) -> Handler:
    """Return the handler of an operator of two quantized tensors."""

    def handle(node: OnnxNode) -> Value:
        return _result(node, node.emit(op, _read(node, 0), _read(node, 3)), 6)

    return handle


def of_one(handler: Callable[[OnnxNode], Value]) -> Handler:
    """Return the handler of an operator of one quantized tensor: that of floats, in between."""

    def handle(node: OnnxNode) -> Value:
        if node.attribute("channels_last", 0):
            node.fail("channels_last is not supported; channels come second")
        return _result(node, handler(_as(node, _read(node, 0))), 3)

    return handle


def sigmoid(node: OnnxNode) -> Value:
    """The logistic function."""
    return node.emit(Unary("sigmoid"), node.value(0))


def softmax(node: OnnxNode) -> Value:
    """Softmax, whose opset is an attribute."""
    opset = int(node.attribute("opset", 13))
    return reduce.softmax(log=False)(replace(node, opset=opset))


def concat(node: OnnxNode) -> Value:
    """Quantized tensors joined; scale and zero point of the result come first."""
    parts: Sequence[Value] = [_read(node, index) for index in range(2, len(node.inputs), 3)]
    return _result(node, shape.concat(_as(node, *parts)), 0)


QLINEAR: dict[str, Handler] = {
    "QGemm": gemm,
    "QLinearAdd": binary(Add()),
    "QLinearAveragePool": of_one(pool.average_pool),
    "QLinearConcat": concat,
    "QLinearConv": convolution,
    "QLinearGlobalAveragePool": of_one(pool.global_average_pool),
    "QLinearLeakyRelu": of_one(elementwise.leaky_relu),
    "QLinearMatMul": matrix_product,
    "QLinearMul": binary(Mul()),
    "QLinearSigmoid": of_one(sigmoid),
    "QLinearSoftmax": of_one(softmax),
}
"""Operators on quantized tensors, ONNX's and those of com.microsoft."""
