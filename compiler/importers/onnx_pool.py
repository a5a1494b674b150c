"""ONNX pools in our operators: windows of images, of sequences and of volumes."""

from collections.abc import Sequence
from math import prod

import numpy as np

from ..graph import Value
from ..ops.elementwise import Add, Mul, Pow, Unary
from ..ops.linear import Conv2d
from ..ops.pool import MaxPool2d, SumPool2d
from ..ops.reduce import ArgMax, Reduce
from ..ops.shape import Gather, Pad, Reshape
from .onnx_node import OnnxNode
from .onnx_windows import Windows, four, spatial, windows


def max_pool(node: OnnxNode) -> Value | list[Value]:
    """Maximum over windows and, if asked for, where each is in its plane."""
    x = node.value(0)
    over = windows(node, x, spatial(node, x, "kernel_shape", 0))
    if len(node.outputs) > 1 and node.outputs[1]:
        return _max_and_place(node, x, over)
    return _pooled(node, x, over, "max")


def average_pool(node: OnnxNode) -> Value:
    """Mean over windows: their sums, times one over the cells that count in each."""
    x = node.value(0)
    node.floats(x)
    over = windows(node, x, spatial(node, x, "kernel_shape", 0))
    total = _pooled(node, x, over, "sum")
    return node.emit(Mul(), total, node.constant(_shares(node, over)))


def lp_pool(node: OnnxNode) -> Value:
    """The p-th root of the sum over windows of absolute values to the power of p."""
    x = node.value(0)
    node.floats(x)
    over, p = windows(node, x, spatial(node, x, "kernel_shape", 0)), _exponent(node)
    return _root(node, _pooled(node, _powered(node, x, p), over, "sum"), p)


def global_average_pool(node: OnnxNode) -> Value:
    """Mean over each channel's plane."""
    x = node.value(0)
    node.floats(x)
    return mean_of_planes(node, x)


def global_max_pool(node: OnnxNode) -> Value:
    """Maximum over each channel's plane."""
    x = node.value(0)
    return _pooled(node, x, _whole(node, x), "max")


def global_lp_pool(node: OnnxNode) -> Value:
    """The p-th root of the sum over each channel's plane of absolute values to the power of p."""
    x = node.value(0)
    node.floats(x)
    p = _exponent(node)
    return _root(node, _pooled(node, _powered(node, x, p), _whole(node, x), "sum"), p)


def _exponent(node: OnnxNode) -> float:
    p = float(node.attribute("p", 2))
    if p <= 0:
        node.fail(f"p {p:g} has to be positive")
    return p


def mean_of_planes(node: OnnxNode, x: Value) -> Value:
    """Return the mean of x (N, C, ...) over all but its first two axes, kept."""
    node.floats(x)
    total = _pooled(node, x, _whole(node, x), "sum")
    return node.emit(Mul(), total, node.scalar(1 / prod(x.shape[2:]), x))


def _whole(node: OnnxNode, x: Value) -> Windows:
    rank = len(spatial(node, x, "strides", 1))
    if not x.size:
        node.fail(f"{x.name} is {x.type}, which has no elements")
    ones, none = (1,) * rank, (0,) * rank
    return Windows(x.shape[2:], x.shape[2:], ones, ones, none, none, none)


def _powered(node: OnnxNode, x: Value, p: float) -> Value:
    if p == 2:
        return node.emit(Mul(), x, x)
    x = node.emit(Unary("abs"), x)
    return x if p == 1 else node.emit(Pow(), x, node.scalar(p, x))


def _root(node: OnnxNode, x: Value, p: float) -> Value:
    if p == 2:
        return node.emit(Unary("sqrt"), x)
    return x if p == 1 else node.emit(Pow(), x, node.scalar(1 / p, x))


def _pooled(node: OnnxNode, x: Value, over: Windows, function: str) -> Value:
    """Return the maximum or sum of each window: of a volume first over its planes, then depth."""
    n, c, *extents = x.shape
    if len(extents) == 1:
        image = node.reshape(x, (n, c, 1, *extents))
        out = _image(node, image, over, (-1, 0), function)
        return node.reshape(out, (n, c, out.shape[3]))
    if len(extents) == 2:
        return _image(node, x, over, (0, 1), function)
    depth, rows, cols = extents
    flat = node.reshape(x, (n, c * depth, rows, cols))
    flat = _image(node, flat, over, (1, 2), function)
    rows, cols = flat.shape[2:]
    deep = node.reshape(flat, (n, c, depth, rows * cols))
    deep = _image(node, deep, over, (0, -1), function)
    return node.reshape(deep, (n, c, deep.shape[2], rows, cols))


def _image(node: OnnxNode, x: Value, over: Windows, axes: Sequence[int], function: str) -> Value:
    """Pool x (N, C, H, W); `axes` says which of the windows' are H and W, -1 that none is."""

    def of(numbers: Sequence[int], without: int) -> tuple[int, int]:
        first, second = (numbers[axis] if axis >= 0 else without for axis in axes)
        return first, second

    kernel, strides, dilations = of(over.kernel, 1), of(over.strides, 1), of(over.dilations, 1)
    pads = four(of(over.before, 0), of(over.all_after, 0))
    if function == "max":
        return node.emit(MaxPool2d(kernel, strides, pads, dilations), x)
    if dilations == (1, 1):
        return node.emit(SumPool2d(kernel, strides, pads), x)
    ones = node.constant(np.ones((x.shape[1], 1, *kernel), np.float32))
    return node.emit(Conv2d(strides, pads, dilations, x.shape[1]), x, ones)


def _shares(node: OnnxNode, over: Windows) -> np.ndarray:
    """Return one over the cells that count in each window, float32: one number if all are equal."""
    counted = np.ones((), np.float32)
    for axis, extent in enumerate(over.extents):
        before, after, extra = over.before[axis], over.after[axis], over.extra[axis]
        inside = float(bool(node.attribute("count_include_pad", 0)))
        row = np.pad(np.ones(extent), (before, after), constant_values=inside)
        row = np.pad(row, (0, extra))
        windows_ = np.arange(over.counts[axis])[:, None] * over.strides[axis]
        cells = windows_ + np.arange(over.kernel[axis])[None, :] * over.dilations[axis]
        counted = np.multiply.outer(counted, row[cells].sum(axis=1))
    uniform = (counted == counted.flat[0]).all()
    return np.asarray(1 / counted.flat[0] if uniform else 1 / counted, np.float32)


def _max_and_place(node: OnnxNode, x: Value, over: Windows) -> list[Value]:
    """Return the maxima, and the index of each in all of x, flat; of equal ones the first."""
    n, c, *extents = x.shape
    planes, rank = n * c, len(extents)
    lowest = -np.inf if node.is_float(x) else np.iinfo(x.dtype.numpy).min
    padded = node.emit(Pad((0, 0, *over.before), (0, 0, *over.all_after), lowest), x)
    grids: list[np.ndarray] = []
    for axis in range(rank):
        first = np.arange(over.counts[axis]) * over.strides[axis]
        cells = first[:, None] + np.arange(over.kernel[axis])[None, :] * over.dilations[axis]
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = cells.shape
        grids.append(cells.reshape(shape))
    full = (*over.counts, *over.kernel)
    wide = padded.shape[2:]
    where = np.ravel_multi_index(tuple(np.broadcast_arrays(*grids)), wide)
    inner = [np.clip(g - b, 0, e - 1) for g, b, e in zip(grids, over.before, extents, strict=True)]
    order = "F" if node.attribute("storage_order", 0) else "C"
    own = np.ravel_multi_index(tuple(np.broadcast_arrays(*inner)), tuple(extents), order=order)
    windows_, cells_ = prod(over.counts), prod(over.kernel)
    assert where.shape == full
    flat = node.emit(Reshape((planes, prod(wide))), padded)
    found = node.emit(Gather(1), flat, node.constant(where.reshape(windows_, cells_)))
    top = node.emit(Reduce("max", (2,), False), found)
    place = node.emit(ArgMax(2, False), found)
    rows = node.constant(np.arange(windows_, dtype=np.int64)[None] * cells_)
    table = node.constant(own.reshape(-1).astype(np.int64))
    inside = node.emit(Gather(0), table, node.emit(Add(), place, rows))
    offset = node.constant(np.arange(planes, dtype=np.int64)[:, None] * prod(extents))
    shape = (n, c, *over.counts)
    index = node.emit(Add(), inside, offset)
    return [node.reshape(top, shape), node.reshape(index, shape)]
