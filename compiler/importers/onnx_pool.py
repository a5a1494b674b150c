"""ONNX operators over windows of sequences, images and volumes, in our operators."""

from dataclasses import dataclass
from math import prod

import numpy as np

from ..graph import Value
from ..ops.elementwise import Add, Mul, Pow, Unary
from ..ops.pool import MaxPool2d, SumPool2d
from ..ops.reduce import ArgMax, Reduce
from ..ops.shape import Gather, Pad, Unfold
from .onnx_node import OnnxNode
from .onnx_windows import as_image, pads_of, spatial, two


@dataclass(frozen=True)
class _Windows:
    """Windows over one to three axes; `extra` is what `ceil_mode` pads behind besides."""

    size: list[int]
    strides: list[int]
    dilations: list[int]
    front: list[int]
    behind: list[int]
    extra: list[int]

    def part(self, axes: slice) -> "_Windows":
        """Return those over some of the axes."""
        return _Windows(*(numbers[axes] for numbers in self._lists))

    def joined(self, other: "_Windows") -> "_Windows":
        """Return those over the axes of both."""
        return _Windows(*(a + b for a, b in zip(self._lists, other._lists, strict=True)))

    @property
    def _lists(self) -> tuple[list[int], ...]:
        return self.size, self.strides, self.dilations, self.front, self.behind, self.extra


_SINGLE = _Windows([1], [1], [1], [0], [0], [0])
"""A window of one element, over an axis that is not pooled."""


def max_pool(node: OnnxNode) -> list[Value]:
    """Maximum over windows, and where in the tensor it is."""
    x, windows = node.value(0), _windows(node)
    found = [_pooled(node, x, windows, largest=True)]
    return [*found, _places(node, x, windows)] if len(node.outputs) > 1 else found


def _places(node: OnnxNode, x: Value, windows: _Windows) -> Value:
    """Return the index, in all of x (N, C, H, W), of the first maximum of each window."""
    if len(x.shape) != 4 or x.dtype.numpy.kind != "f":
        node.fail(f"its second output, the indices, of {x.type}; images of floats are supported")
    n, c, *extents = x.shape
    pads = _pads(windows)
    size, strides, dilations = map(two, (windows.size, windows.strides, windows.dilations))
    padded = node.emit(Pad((0, 0, *pads[:2]), (0, 0, *pads[2:]), -np.inf), x)
    parts = node.emit(Unfold(size, strides, dilations), padded)
    _, _, rows, cols = parts.shape
    parts = node.reshape(parts, (n, c, prod(size), rows, cols))
    chosen = node.emit(ArgMax(2, False), parts)
    row, col = (
        np.arange(k)[:, None] * dilation + np.arange(count) * stride - pad
        for k, dilation, count, stride, pad in zip(
            size, dilations, (rows, cols), strides, pads[:2], strict=True
        )
    )
    if node.attribute("storage_order", 0):
        within = row[:, None, :, None] + col[None, :, None, :] * extents[0]
    else:
        within = row[:, None, :, None] * extents[1] + col[None, :, None, :]
    within = within.reshape(prod(size), rows * cols)  # linear in both: offsets and origins
    offsets = node.constant((within[:, 0] - within[0, 0]).astype(np.int64))
    origins = within[0].reshape(rows, cols) + np.arange(n * c).reshape(n, c, 1, 1) * prod(extents)
    return node.emit(
        Add(), node.emit(Gather(0), offsets, chosen), node.constant(origins.astype(np.int64))
    )


def average_pool(node: OnnxNode) -> Value:
    """Mean over windows: their sums, times one over the cells that count in each."""
    x, windows = node.value(0), _windows(node)
    node.floats(x)
    cells = np.ones((1, 1, *x.shape[2:]), np.float32)
    counted = windows
    if node.attribute("count_include_pad", 0):
        around = [(0, 0), (0, 0), *zip(windows.front, windows.behind, strict=True)]
        cells = np.pad(cells, around, constant_values=1)
        none = [0] * len(windows.size)
        counted = _Windows(
            windows.size, windows.strides, windows.dilations, none, none, windows.extra
        )
    counts = node.builder.constants[_pooled(node, node.constant(cells), counted)][0, 0]
    uniform = (counts == counts.flat[0]).all()
    factor = np.asarray(1 / counts.flat[0] if uniform else 1 / counts, np.float32)
    return node.emit(Mul(), _pooled(node, x, windows), node.constant(factor))


def lp_pool(node: OnnxNode) -> Value:
    """The p-th root of the sum of p-th powers of magnitudes in windows."""
    x = node.value(0)
    node.floats(x)
    p = node.attribute("p", 2)
    powers = node.emit(Pow(), node.emit(Unary("abs"), x), node.scalar(p, x))
    return node.emit(Pow(), _pooled(node, powers, _windows(node)), node.scalar(1 / p, x))


def global_lp_pool(node: OnnxNode) -> Value:
    """The p-th root of the sum of p-th powers of all magnitudes of a channel."""
    x = node.value(0)
    node.floats(x)
    p = node.attribute("p", 2)
    powers = node.emit(Pow(), node.emit(Unary("abs"), x), node.scalar(p, x))
    sums = node.emit(Reduce("sum", tuple(range(2, len(x.shape))), True), powers)
    return node.emit(Pow(), sums, node.scalar(1 / p, x))


def global_average_pool(node: OnnxNode) -> Value:
    """Mean over each channel's plane."""
    x = node.value(0)
    if len(x.shape) in (3, 4):
        return mean_of_planes(node, x)
    return node.emit(Reduce("mean", tuple(range(2, len(x.shape))), True), x)


def global_max_pool(node: OnnxNode) -> Value:
    """Maximum over each channel's plane."""
    x = node.value(0)
    planes = node.reshape(x, (*x.shape[:2], *_plane(x)))
    out = node.emit(MaxPool2d(_plane(x)), planes)
    return node.reshape(out, (*x.shape[:2], *([1] * (len(x.shape) - 2))))


def mean_of_planes(node: OnnxNode, x: Value) -> Value:
    """Return the mean of x (N, C, H, W) or (N, C, L) over all but its first two axes, kept."""
    node.floats(x)
    image = as_image(node, x) if len(x.shape) == 3 else x
    total = node.emit(SumPool2d(two(image.shape[2:])), image)
    out = node.emit(Mul(), total, node.scalar(1 / (image.shape[2] * image.shape[3]), x))
    return node.reshape(out, (*x.shape[:2], *([1] * (len(x.shape) - 2))))


def _plane(x: Value) -> tuple[int, int]:
    """Return the extents of a channel as those of a plane."""
    *rest, last = (1, *x.shape[2:])
    return prod(rest), last


def _windows(node: OnnxNode) -> _Windows:
    x = node.value(0)
    size, strides = (
        spatial(node, x, name, default, 3)
        for name, default in (("kernel_shape", 0), ("strides", 1))
    )
    dilations = spatial(node, x, "dilations", 1, 3)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, size, strict=True)]
    pads = pads_of(node, x, spans, strides)
    front, behind = pads[: len(size)], pads[len(size) :]
    extra = [0] * len(size)
    if node.attribute("ceil_mode", 0):
        for axis, (span, stride) in enumerate(zip(spans, strides, strict=True)):
            extent = x.shape[2 + axis] + front[axis] + behind[axis]
            count = -(-(extent - span) // stride) + 1
            if (count - 1) * stride >= x.shape[2 + axis] + front[axis]:
                count -= 1  # a window may not start in the padding behind
            extra[axis] = max((count - 1) * stride + span - extent, 0)
    return _Windows(size, strides, dilations, front, behind, extra)


def _pooled(node: OnnxNode, x: Value, windows: _Windows, *, largest: bool = False) -> Value:
    """Return the sum, or the greatest, of each window of x (N, C, ...)."""
    n, c, *extents = x.shape
    if len(extents) == 3:  # planes first, then along what is left
        planes = node.reshape(x, (n, c * extents[0], *extents[1:]))
        planes = _plane_pooled(node, planes, windows.part(slice(1, 3)), largest)
        rows, cols = planes.shape[2:]
        columns = node.reshape(planes, (n, c, extents[0], rows * cols))
        along = windows.part(slice(0, 1)).joined(_SINGLE)
        out = _plane_pooled(node, columns, along, largest)
        return node.reshape(out, (n, c, out.shape[2], rows, cols))
    if len(extents) == 1:
        line = node.reshape(x, (n, c, 1, *extents))
        out = _plane_pooled(node, line, _SINGLE.joined(windows), largest)
        return node.reshape(out, (n, c, out.shape[3]))
    return _plane_pooled(node, x, windows, largest)


def _plane_pooled(node: OnnxNode, x: Value, windows: _Windows, largest: bool) -> Value:
    pads = _pads(windows)
    size, strides, dilations = map(two, (windows.size, windows.strides, windows.dilations))
    if largest:
        return node.emit(MaxPool2d(size, strides, pads, dilations), x)
    if dilations == (1, 1):
        return node.emit(SumPool2d(size, strides, pads), x)
    if any(pads):
        x = node.emit(Pad((0, 0, *pads[:2]), (0, 0, *pads[2:])), x)
    channels = x.shape[1]
    out = node.emit(Unfold(size, strides, dilations), x)
    n, _, rows, cols = out.shape
    out = node.reshape(out, (n, channels, prod(size), rows, cols))
    return node.emit(Reduce("sum", (2,), False), out)


def _pads(windows: _Windows) -> tuple[int, int, int, int]:
    """Return the padding of an image, that of `ceil_mode` included."""
    (top, left), (bottom, right) = windows.front, windows.behind
    return top, left, bottom + windows.extra[0], right + windows.extra[1]
