"""ONNX layers that are quantized as one operator, in our operators.

They are written as what they stand for: DequantizeLinear, the layer in float32, QuantizeLinear. So
they read like a network that has these as nodes of their own (QDQ), and become the same integers.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..graph import DType, Value
from ..ops.elementwise import Cast
from ..ops.shape import Concat
from .onnx_conv import conv
from .onnx_linear import gemm, matmul
from .onnx_node import OnnxNode
from .onnx_quantize import dequantize_linear, quantize_linear
from .onnx_reduce import softmax

Handler = Callable[[OnnxNode], Value]


def layer(handler: Callable[[OnnxNode], Value], count: int = 1) -> Handler:
    """Return the handler of an operator of `count` tensors, each with its scale and zero point.

    The result's scale and zero point come after them.
    """

    def handle(node: OnnxNode) -> Value:
        if node.attribute("channels_last", 0):
            node.fail("channels_last 1 is not supported; 0 is")
        values = [_real(node, 3 * place) for place in range(count)]
        return _integer(node, handler(node.with_inputs(*values)), 3 * count, node.value(0))

    return handle


def qlinear_conv(node: OnnxNode) -> Value:
    """Conv of x and weights, each with scale and zero point; the bias is int32 of both scales."""
    x, w = _real(node, 0), _real(node, 3, axis=0)
    bias = _bias(node, 8)
    return _integer(node, conv(node.with_inputs(x, w, bias)), 6, node.value(0))


def qlinear_matmul(node: OnnxNode) -> Value:
    """MatMul of a and b, each with scale and zero point."""
    a, b = node.value(0), node.value(3)
    real = _real(node, 0, axis=len(a.shape) - 2), _real(node, 3, axis=len(b.shape) - 1)
    return _integer(node, matmul(node.with_inputs(*real)), 6, a)


def qgemm(node: OnnxNode) -> Value:
    """Gemm of a and b, each with scale and zero point; the bias is int32 of both scales."""
    a, b = _real(node, 0), _real(node, 3, axis=0 if node.attribute("transB", 0) else 1)
    bias = _bias(node, 6)
    kept = {name: node.attributes[name] for name in ("transA", "transB") if name in node.attributes}
    alpha = float(node.attribute("alpha", 1.0))
    if alpha != 1:
        node.fail(f"alpha {alpha} is not supported; 1 is")
    out = gemm(node.changed(kept, a, b, bias))
    return out if node.optional(7) is None else _integer(node, out, 7, node.value(0))


def qlinear_concat(node: OnnxNode) -> Value:
    """Tensors joined, each with scale and zero point; the result's come first."""
    values = [_real(node, place) for place in range(2, len(node.inputs), 3)]
    axis = node.axis(int(node.attribute("axis", 0)), len(values[0].shape))
    out = values[0] if len(values) == 1 else node.emit(Concat(axis), *values)
    return _integer(node, out, 0, node.value(2))


def qlinear_softmax(node: OnnxNode) -> Value:
    """Softmax as the opset that its own attribute names has it."""
    x = _real(node, 0)
    opset = int(node.attribute("opset", node.opset))
    inner = replace(node.with_inputs(x), opset=opset)
    return _integer(node, softmax(log=False)(inner), 3, node.value(0))


def _real(node: OnnxNode, at: int, axis: int = 1) -> Value:
    """Return the real values of the integers at an input, whose scale and zero point follow."""
    parts = [node.value(at), _scale(node, at + 1), node.optional(at + 2)]
    return dequantize_linear(node.changed({"axis": axis}, *parts))


def _integer(node: OnnxNode, y: Value, at: int, like: Value) -> Value:
    """Return y as integers, of the scale and zero point from an input on."""
    zero = node.optional(at + 1)
    if zero is None:
        zero = node.constant(np.zeros((), like.dtype.numpy))
    return quantize_linear(node.changed({}, y, _scale(node, at), zero))


def _scale(node: OnnxNode, at: int) -> Value:
    """Return a scale as float32; it may be float16."""
    scale = node.value(at)
    return node.emit(Cast(DType.FLOAT32), scale) if scale.dtype is DType.FLOAT16 else scale


def _bias(node: OnnxNode, at: int) -> Value | None:
    """Return the real values of a bias, whose scale is that of the first two tensors together."""
    bias = node.optional(at)
    if bias is None:
        return None
    scales: Sequence[np.ndarray] = [node.array(place, "scale").ravel() for place in (1, 4)]
    scale = np.asarray(scales[0] * scales[1], np.float32)
    return dequantize_linear(node.changed({"axis": 0}, bias, node.constant(scale)))
