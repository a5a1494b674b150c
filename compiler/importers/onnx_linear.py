"""ONNX operators that multiply and accumulate, in our operators."""

import numpy as np

from ..graph import Value
from ..ops.elementwise import Add, Div, Mul, Sub, Unary
from ..ops.linear import Conv2d, ConvTranspose2d, Dense, MatMul
from ..ops.shape import Transpose
from .onnx_node import OnnxNode
from .onnx_windows import as_image, four, pads_of, spatial, two


def conv(node: OnnxNode) -> Value:
    """Conv of images, or of sequences as images of height 1."""
    x, w = node.value(0), node.value(1)
    node.floats(x, w)
    kernel = w.shape[2:]
    strides, dilations = spatial(node, x, "strides", 1), spatial(node, x, "dilations", 1)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    pads = pads_of(node, x, spans, strides)
    flat = len(x.shape) == 3
    if flat:
        x, w = as_image(node, x), as_image(node, w)
        strides, dilations, pads = [1, *strides], [1, *dilations], [0, pads[0], 0, pads[1]]
    op = Conv2d(two(strides), four(pads), two(dilations), int(node.attribute("group", 1)))
    out = node.emit(op, x, w)
    bias = node.optional(2)
    if bias is not None:
        out = node.emit(Add(), out, node.reshape(bias, (w.shape[0], 1, 1)))
    return node.reshape(out, (*out.shape[:2], out.shape[3])) if flat else out


def conv_transpose(node: OnnxNode) -> Value:
    """The transpose of a convolution, of images or of sequences as images of height 1."""
    x, w = node.value(0), node.value(1)
    node.floats(x, w)
    strides, dilations = spatial(node, x, "strides", 1), spatial(node, x, "dilations", 1)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, w.shape[2:], strict=True)]
    pads = _transposed_pads(node, x, spans, strides)
    flat = len(x.shape) == 3
    if flat:
        x, w = as_image(node, x), as_image(node, w)
        strides, dilations, pads = [1, *strides], [1, *dilations], [0, pads[0], 0, pads[1]]
    groups = int(node.attribute("group", 1))
    op = ConvTranspose2d(two(strides), four(pads), two(dilations), groups)
    out = node.emit(op, x, w)
    bias = node.optional(2)
    if bias is not None:
        out = node.emit(Add(), out, node.reshape(bias, (out.shape[1], 1, 1)))
    return node.reshape(out, (*out.shape[:2], out.shape[3])) if flat else out


def _transposed_pads(node: OnnxNode, x: Value, spans: list[int], strides: list[int]) -> list[int]:
    """Return what is cut off, negative where output padding adds: in front, then behind."""
    rank = len(spans)
    more = [int(pad) for pad in node.attribute("output_padding", [0] * rank)]
    whole = [(e - 1) * t + s for e, t, s in zip(x.shape[2:], strides, spans, strict=True)]
    wanted = node.attribute("output_shape", None)
    automatic = node.attribute("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER") and wanted is None:
        wanted = [extent * stride for extent, stride in zip(x.shape[2:], strides, strict=True)]
    if wanted is None:
        pads = [0] * (2 * rank) if automatic == "VALID" else pads_of(node, x, spans, strides)
        return [*pads[:rank], *(pad - m for pad, m in zip(pads[rank:], more, strict=True))]
    if len(wanted) != rank:
        wanted = wanted[-rank:]
    total = [extent + m - int(out) for extent, m, out in zip(whole, more, wanted, strict=True)]
    lower = automatic == "SAME_LOWER"
    front = [(max(pad, 0) + lower) // 2 for pad in total]
    behind = [pad - f - m for pad, f, m in zip(total, front, more, strict=True)]
    return [*front, *behind]


def gemm(node: OnnxNode) -> Value:
    """alpha * A * B + beta * C, either matrix maybe transposed."""
    a, b = node.value(0), node.value(1)
    node.floats(a, b)
    if node.attribute("transA", 0):
        a = node.emit(Transpose((1, 0)), a)
    if not node.attribute("transB", 0):
        b = node.emit(Transpose((1, 0)), b)
    out = node.emit(Dense(), a, b)
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    if alpha != 1:
        out = node.emit(Mul(), out, node.scalar(alpha, out))
    c = node.optional(2)
    if c is None:
        return out
    if beta != 1:
        c = node.emit(Mul(), c, node.scalar(beta, c))
    return node.emit(Add(), out, c)


def matmul(node: OnnxNode) -> Value:
    """Product of matrices; with a matrix on the right it is a dense layer."""
    a, b = node.value(0), node.value(1)
    node.floats(a, b)
    if not a.shape or not b.shape:
        node.fail(f"{a.type} times {b.type}: scalars are not matrices")
    lead = a.shape[:-1]
    if len(b.shape) == 2:
        flat = node.reshape(a, (int(np.prod(lead)), a.shape[-1]))
        out = node.emit(Dense(), flat, node.emit(Transpose((1, 0)), b))
        return node.reshape(out, (*lead, b.shape[1]))
    left = node.reshape(a, (1, *a.shape)) if len(a.shape) == 1 else a
    right = node.reshape(b, (*b.shape, 1)) if len(b.shape) == 1 else b
    out = node.emit(MatMul(), left, right)
    shape = list(out.shape)
    if len(b.shape) == 1:
        del shape[-1]
    if len(a.shape) == 1:
        del shape[-1 if len(b.shape) == 1 else -2]
    return node.reshape(out, shape)


def batch_normalization(node: OnnxNode) -> Value:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift, as one Mul and one Add."""
    if node.attribute("training_mode", 0):
        node.fail("it is in training mode; export the model for inference")
    x, scale, shift, mean, variance = (node.value(index) for index in range(5))
    node.floats(x)
    epsilon = node.scalar(float(node.attribute("epsilon", 1e-5)), x)
    deviation = node.emit(Unary("sqrt"), node.emit(Add(), variance, epsilon))
    factor = node.emit(Div(), scale, deviation)
    offset = node.emit(Sub(), shift, node.emit(Mul(), mean, factor))
    along = (x.shape[1],) + (1,) * (len(x.shape) - 2)
    out = node.emit(Mul(), x, node.reshape(factor, along))
    return node.emit(Add(), out, node.reshape(offset, along))
