"""ONNX operators that multiply and accumulate, and those that pool, in our operators."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...runtime.host.pool import sum_pool2d
from ..graph import Value
from ..ops.elementwise import Add, Div, Mul, Sub, Unary
from ..ops.linear import Conv2d, ConvTranspose2d, Dense, MatMul
from ..ops.pool import MaxPool2d, SumPool2d
from ..ops.shape import Transpose
from .onnx_node import OnnxNode


def conv(node: OnnxNode) -> Value:
    """Conv of images, or of sequences as images of height 1."""
    x, w = node.value(0), node.value(1)
    node.floats(x, w)
    kernel = w.shape[2:]
    strides, dilations = _spatial(node, x, "strides", 1), _spatial(node, x, "dilations", 1)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    pads = _pads(node, x, spans, strides)
    flat = len(x.shape) == 3
    if flat:
        x, w = _as_image(node, x), _as_image(node, w)
        strides, dilations, pads = [1, *strides], [1, *dilations], [0, pads[0], 0, pads[1]]
    op = Conv2d(_two(strides), _four(pads), _two(dilations), int(node.attribute("group", 1)))
    out = node.emit(op, x, w)
    bias = node.optional(2)
    if bias is not None:
        out = node.emit(Add(), out, node.reshape(bias, (w.shape[0], 1, 1)))
    return node.reshape(out, (*out.shape[:2], out.shape[3])) if flat else out


def conv_transpose(node: OnnxNode) -> Value:
    """The transpose of a convolution, of images or of sequences as images of height 1."""
    x, w = node.value(0), node.value(1)
    node.floats(x, w)
    strides, dilations = _spatial(node, x, "strides", 1), _spatial(node, x, "dilations", 1)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, w.shape[2:], strict=True)]
    pads = _transposed_pads(node, x, spans, strides)
    flat = len(x.shape) == 3
    if flat:
        x, w = _as_image(node, x), _as_image(node, w)
        strides, dilations, pads = [1, *strides], [1, *dilations], [0, pads[0], 0, pads[1]]
    groups = int(node.attribute("group", 1))
    op = ConvTranspose2d(_two(strides), _four(pads), _two(dilations), groups)
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
        pads = [0] * (2 * rank) if automatic == "VALID" else _pads(node, x, spans, strides)
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
    if node.attribute("training_mode", 0) or len([name for name in node.outputs if name]) > 1:
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


def max_pool(node: OnnxNode) -> Value:
    """Maximum over windows."""
    if len([name for name in node.outputs if name]) > 1:
        node.fail("its second output, the indices of the maxima, is not supported")
    if node.attribute("storage_order", 0):
        node.fail("storage_order 1 is not supported; 0 is")
    pool = _pool(node)
    op = MaxPool2d(pool.window, pool.strides, pool.all_pads, pool.dilations)
    return pool.restored(node.emit(op, pool.image))


def average_pool(node: OnnxNode) -> Value:
    """Mean over windows: their sums, times one over the cells that count in each."""
    pool = _pool(node)
    node.floats(pool.image)
    if pool.dilations != (1, 1):
        node.fail(f"dilations {pool.dilations} are not supported; 1 is")
    window, strides = pool.window, pool.strides
    cells = np.ones((1, 1, *pool.image.shape[2:]), np.float32)
    if node.attribute("count_include_pad", 0):
        top, left, bottom, right = pool.pads
        cells = np.pad(cells, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=1)
        pads = (0, 0, *pool.extra)
    else:
        pads = pool.all_pads
    counted = sum_pool2d(cells, window=window, strides=strides, pads=pads, pad_value=0)[0, 0]
    uniform = (counted == counted.flat[0]).all()
    factor = np.asarray(1 / counted.flat[0] if uniform else 1 / counted, np.float32)
    total = node.emit(SumPool2d(window, strides, pool.all_pads), pool.image)
    return pool.restored(node.emit(Mul(), total, node.constant(factor)))


def global_average_pool(node: OnnxNode) -> Value:
    """Mean over each channel's plane."""
    return mean_of_planes(node, node.value(0))


def global_max_pool(node: OnnxNode) -> Value:
    """Maximum over each channel's plane."""
    x = node.value(0)
    image = _as_image(node, x) if len(x.shape) == 3 else x
    out = node.emit(MaxPool2d(_two(image.shape[2:])), image)
    return node.reshape(out, (*x.shape[:2], *([1] * (len(x.shape) - 2))))


def mean_of_planes(node: OnnxNode, x: Value) -> Value:
    """Return the mean of x (N, C, H, W) or (N, C, L) over all but its first two axes, kept."""
    node.floats(x)
    image = _as_image(node, x) if len(x.shape) == 3 else x
    total = node.emit(SumPool2d(_two(image.shape[2:])), image)
    out = node.emit(Mul(), total, node.scalar(1 / (image.shape[2] * image.shape[3]), x))
    return node.reshape(out, (*x.shape[:2], *([1] * (len(x.shape) - 2))))


def _as_image(node: OnnxNode, x: Value) -> Value:
    if len(x.shape) not in (3, 4):
        node.fail(
            f"{x.name} is {x.type}; sequences (N, C, L) and images (N, C, H, W) are supported"
        )
    return node.reshape(x, (*x.shape[:2], 1, x.shape[2])) if len(x.shape) == 3 else x


def _two(numbers: Any) -> tuple[int, int]:
    first, second = numbers
    return int(first), int(second)


def _four(numbers: Any) -> tuple[int, int, int, int]:
    top, left, bottom, right = numbers
    return int(top), int(left), int(bottom), int(right)


def _spatial(node: OnnxNode, x: Value, name: str, default: int) -> list[int]:
    """Return a list of one number for each spatial axis of x."""
    rank = len(x.shape) - 2
    if rank not in (1, 2):
        node.fail(
            f"{x.name} is {x.type}; sequences (N, C, L) and images (N, C, H, W) are supported"
        )
    numbers = [int(number) for number in node.attribute(name, [default] * rank)]
    if len(numbers) != rank or min(numbers) < 1:
        node.fail(f"{name} {numbers} do not fit {x.name}: {x.type}")
    return numbers


def _pads(node: OnnxNode, x: Value, spans: list[int], strides: list[int]) -> list[int]:
    """Return the padding in front of each spatial axis, then that behind each."""
    rank = len(spans)
    automatic = node.attribute("auto_pad", "NOTSET")
    if automatic in ("NOTSET", "VALID"):
        pads = [int(pad) for pad in node.attribute("pads", [0] * (2 * rank))]
        pads = [0] * (2 * rank) if automatic == "VALID" else pads
        if len(pads) != 2 * rank or min(pads) < 0:
            node.fail(f"pads {pads} do not fit {x.name}: {x.type}; none may be negative")
        return pads
    if automatic not in ("SAME_UPPER", "SAME_LOWER"):
        node.fail(f"auto_pad {automatic} is not one that ONNX has")
    front: list[int] = []
    behind: list[int] = []
    for extent, span, stride in zip(x.shape[2:], spans, strides, strict=True):
        total = max((-(-extent // stride) - 1) * stride + span - extent, 0)
        less = total // 2
        front.append(less if automatic == "SAME_UPPER" else total - less)
        behind.append(total - front[-1])
    return [*front, *behind]


@dataclass(frozen=True)
class _Pool:
    """Windows over an image: `extra` is what `ceil_mode` pads below and to the right besides."""

    node: OnnxNode
    image: Value
    window: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    extra: tuple[int, int]

    @property
    def all_pads(self) -> tuple[int, int, int, int]:
        """The padding of both kinds."""
        top, left, bottom, right = self.pads
        return top, left, bottom + self.extra[0], right + self.extra[1]

    def restored(self, out: Value) -> Value:
        """Return a result as a sequence again, if the input was one."""
        if len(self.node.value(0).shape) == 4:
            return out
        return self.node.reshape(out, (*out.shape[:2], out.shape[3]))


def _pool(node: OnnxNode) -> _Pool:
    x = node.value(0)
    window, strides = _spatial(node, x, "kernel_shape", 0), _spatial(node, x, "strides", 1)
    dilations = _spatial(node, x, "dilations", 1)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, window, strict=True)]
    pads = _pads(node, x, spans, strides)
    extra = [0] * len(window)
    if node.attribute("ceil_mode", 0):
        for axis, (span, stride) in enumerate(zip(spans, strides, strict=True)):
            extent = x.shape[2 + axis] + pads[axis] + pads[axis + len(window)]
            count = -(-(extent - span) // stride) + 1
            if (count - 1) * stride >= x.shape[2 + axis] + pads[axis]:
                count -= 1  # a window may not start in the padding behind
            extra[axis] = max((count - 1) * stride + span - extent, 0)
    if len(window) == 1:
        window, strides, dilations = [1, *window], [1, *strides], [1, *dilations]
        pads, extra = [0, pads[0], 0, pads[1]], [0, *extra]
    image = _as_image(node, x)
    sizes = _two(window), _two(strides), _two(dilations)
    return _Pool(node, image, *sizes, _four(pads), _two(extra))
