"""ONNX operators that move data, reduce it, or compute shapes, in our operators."""

from collections.abc import Sequence
from math import prod

import numpy as np

from ..graph import Value
from ..ops.elementwise import Mul
from ..ops.shape import Broadcast, Concat, Gather, Pad, Reshape, Slice, Transpose
from .onnx_node import OnnxNode
from .onnx_types import TYPES, held_in, type_name


def identity(node: OnnxNode) -> Value:
    """The input itself."""
    return node.value(0)


def dropout(node: OnnxNode) -> list[Value]:
    """The input itself, as outside of training nothing is dropped, and a mask of what is kept.

    With a seed the elements dropped in training mode are known too: as the onnx package has it,
    those of NumPy's generator.
    """
    x = node.value(0)
    if node.optional(2) is not None and node.array(2, "training mode").any():
        ratio = 0.5 if node.optional(1) is None else float(node.array(1, "ratio").reshape(()))
        if ratio and "seed" not in node.attributes:
            node.fail("it is in training mode, without a seed; export the model for inference")
        if ratio:
            generator = np.random.RandomState(int(node.attributes["seed"]))
            kept = generator.uniform(0, 1, x.shape) >= ratio
            factors = (kept / (1 - ratio)).astype(x.dtype.numpy)
            return [node.emit(Mul(), x, node.constant(factors)), node.constant(kept)]
    kind = np.dtype(np.bool_) if node.opset >= 10 else x.dtype.numpy
    return [x, node.constant(np.ones(x.shape, kind))]


def reshape(node: OnnxNode) -> Value:
    """Another shape, where -1 stands for what is left and 0 for the extent that was there."""
    x = node.value(0)
    shape = node.integers(1, "shape")
    if not node.attribute("allowzero", 0):
        if any(extent == 0 and axis >= len(x.shape) for axis, extent in enumerate(shape)):
            node.fail(f"shape {shape} copies an extent that {x.name}: {x.type} does not have")
        shape = [x.shape[axis] if extent == 0 else extent for axis, extent in enumerate(shape)]
    if shape.count(-1) > 1 or min(shape, default=0) < -1:
        node.fail(f"shape {shape} leaves more than one extent open, or has a negative one")
    if -1 in shape:
        known = -prod(shape)
        if known == 0 or x.size % known:
            node.fail(f"shape {shape} does not divide the {x.size} elements of {x.name}")
        shape[shape.index(-1)] = x.size // known
    return node.emit(Reshape(tuple(shape)), x)


def flatten(node: OnnxNode) -> Value:
    """A matrix: the axes before `axis`, and the others."""
    x = node.value(0)
    axis = int(node.attribute("axis", 1))
    if not -len(x.shape) <= axis <= len(x.shape):
        node.fail(f"axis {axis} is outside {x.name}: {x.type}")
    axis = axis + len(x.shape) if axis < 0 else axis
    return node.emit(Reshape((prod(x.shape[:axis]), prod(x.shape[axis:]))), x)


def squeeze(node: OnnxNode) -> Value:
    """Without axes of extent 1."""
    x = node.value(0)
    axes = node.integers(1, "axes")
    if axes is None:
        axes = [axis for axis, extent in enumerate(x.shape) if extent == 1]
    axes = [node.axis(axis, len(x.shape)) for axis in axes]
    if any(x.shape[axis] != 1 for axis in axes):
        node.fail(f"axes {axes} of {x.name}: {x.type} are not all 1")
    return node.emit(Reshape(tuple(e for a, e in enumerate(x.shape) if a not in axes)), x)


def unsqueeze(node: OnnxNode) -> Value:
    """With new axes of extent 1."""
    x = node.value(0)
    axes = node.integers(1, "axes", [])
    rank = len(x.shape) + len(axes)
    axes = [node.axis(axis, rank) for axis in axes]
    if len(set(axes)) < len(axes):
        node.fail(f"axes {axes} name one twice")
    rest = iter(x.shape)
    return node.emit(Reshape(tuple(1 if a in axes else next(rest) for a in range(rank))), x)


def transpose(node: OnnxNode) -> Value:
    """Axes in another order; reversed unless it says which."""
    x = node.value(0)
    perm = node.attribute("perm", None)
    perm = range(len(x.shape))[::-1] if perm is None else perm
    return node.emit(Transpose(tuple(int(axis) for axis in perm)), x)


def concat(node: OnnxNode) -> Value:
    """Tensors joined."""
    values = [node.value(index) for index in range(len(node.inputs))]
    axis = node.axis(int(node.attribute("axis", 1)), len(values[0].shape))
    return values[0] if len(values) == 1 else node.emit(Concat(axis), *values)


def pad(node: OnnxNode) -> Value:
    """Constant padding as Pad; reflected and repeated edges as gathered indices."""
    x = node.value(0)
    pads = node.integers(1, "pads", [])
    axes = list(range(len(x.shape)))
    if node.optional(3) is not None:
        axes = [node.axis(int(axis), len(x.shape)) for axis in node.array(3, "axes")]
    if len(pads) != 2 * len(axes):
        node.fail(f"pads {pads} do not fit {x.name}: {x.type}")
    before, after = [0] * len(x.shape), [0] * len(x.shape)
    for index, axis in enumerate(axes):
        before[axis], after[axis] = pads[index], pads[index + len(axes)]
    mode = node.attribute("mode", "constant")
    if mode == "constant":
        value = float(node.attribute("value", 0.0))
        if node.opset >= 11 and node.optional(2) is not None:
            value = float(node.array(2, "padding value").reshape(()))
        keep = [-min(pad, 0) for pad in before], [-min(pad, 0) for pad in after]
        if any(map(any, keep)):
            counts = [e - b - a for e, b, a in zip(x.shape, *keep, strict=True)]
            x = _take(node, x, keep[0], counts, [1] * len(counts))
        before, after = [max(pad, 0) for pad in before], [max(pad, 0) for pad in after]
        if not any(before) and not any(after):
            return x
        return node.emit(Pad(tuple(before), tuple(after), value), x)
    if mode not in ("reflect", "edge", "wrap") or min(*before, *after) < 0:
        node.fail(f"mode {mode} with pads {pads} is not supported")
    for axis, extent in enumerate(x.shape):
        if before[axis] or after[axis]:
            numbers = np.arange(extent, dtype=np.int64)
            numbers = np.pad(numbers, (before[axis], after[axis]), mode=mode)
            x = node.emit(Gather(axis), x, node.constant(numbers))
    return x


def slice_(node: OnnxNode) -> Value:
    """Every n-th element of a range, on some axes."""
    x = node.value(0)
    begins, ends = node.integers(1, "starts"), node.integers(2, "ends")
    axes = node.integers(3, "axes", list(range(len(begins))))
    strides = node.integers(4, "steps", [1] * len(begins))
    starts, counts, steps = [0] * len(x.shape), list(x.shape), [1] * len(x.shape)
    for begin, end, axis, step in zip(begins, ends, axes, strides, strict=True):
        axis = node.axis(axis, len(x.shape))
        taken = range(x.shape[axis])[slice(begin, end, step)]
        starts[axis], counts[axis], steps[axis] = taken.start, len(taken), step
    return _take(node, x, starts, counts, steps)


def _take(
    node: OnnxNode, x: Value, starts: Sequence[int], counts: Sequence[int], steps: Sequence[int]
) -> Value:
    if 0 in counts:
        return node.constant(np.zeros(tuple(counts), x.dtype.numpy))
    op = Slice(tuple(starts), tuple(counts), tuple(steps))
    return x if op.counts == x.shape and set(steps) == {1} else node.emit(op, x)


def split(node: OnnxNode) -> list[Value]:
    """Consecutive parts along an axis: several outputs."""
    x = node.value(0)
    axis = node.axis(int(node.attribute("axis", 0)), len(x.shape))
    sizes = node.integers(1, "split")
    if sizes is None:
        each = -(-x.shape[axis] // len(node.outputs))
        sizes = [min(each, x.shape[axis] - start) for start in range(0, x.shape[axis], each)]
    if sum(sizes) != x.shape[axis] or len(sizes) != len(node.outputs):
        node.fail(f"parts {sizes} do not make up axis {axis} of {x.name}: {x.type}")
    parts: list[Value] = []
    for index, size in enumerate(sizes):
        starts, counts = [0] * len(x.shape), list(x.shape)
        starts[axis], counts[axis] = sum(sizes[:index]), size
        parts.append(_take(node, x, starts, counts, [1] * len(counts)))
    return parts


def gather(node: OnnxNode) -> Value:
    """Elements at indices along an axis."""
    x = node.value(0)
    axis = node.axis(int(node.attribute("axis", 0)), len(x.shape))
    node.inside(node.value(1), x.shape[axis])
    return node.emit(Gather(axis), x, node.value(1))


def expand(node: OnnxNode) -> Value:
    """Repeated along axes of extent 1."""
    x = node.value(0)
    shape = np.broadcast_shapes(x.shape, tuple(int(e) for e in node.array(1, "shape")))
    return x if shape == x.shape else node.emit(Broadcast(shape), x)


def shape(node: OnnxNode) -> Value:
    """The shape of the input, or a part of it, which is known."""
    extents = node.value(0).shape
    extents = extents[node.attribute("start", 0) : node.attribute("end", None)]
    return node.constant(np.asarray(extents, np.int64))


def size(node: OnnxNode) -> Value:
    """How many elements the input has, which is known."""
    return node.constant(np.asarray(node.value(0).size, np.int64))


def eye_like(node: OnnxNode) -> Value:
    """Ones on a diagonal of a matrix of the input's shape, which is known."""
    x = node.value(0)
    if len(x.shape) != 2:
        node.fail(f"{x.name} is {x.type}; matrices are supported")
    dtype = node.dtype("dtype", x.dtype)
    return node.constant(np.eye(*x.shape, k=int(node.attribute("k", 0)), dtype=dtype.numpy))


def constant(node: OnnxNode) -> Value:
    """A constant written as an attribute."""
    from onnx import numpy_helper

    for name in ("value_float", "value_floats"):
        if name in node.attributes:
            return node.constant(np.asarray(node.attributes[name], np.float32))
    for name in ("value_int", "value_ints"):
        if name in node.attributes:
            return node.constant(np.asarray(node.attributes[name], np.int64))
    if "value" not in node.attributes:
        node.fail(f"it holds {', '.join(node.attributes)}; tensors, floats and ints are supported")
    value = node.attributes["value"]
    dtype = held_in(value.data_type)
    if dtype is None:
        node.fail(f"it is of type {type_name(value.data_type)}; {TYPES} are supported")
    return node.constant(numpy_helper.to_array(value).astype(dtype.numpy, copy=False))
