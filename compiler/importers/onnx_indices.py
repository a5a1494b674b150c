"""ONNX operators that pick, put, repeat or reorder elements, in our operators.

Where indices are known, each element of the result is one of the inputs': one Gather of all of
them, flat, says which.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import DType, Op, Value
from ..ops.elementwise import Add, Cast, Maximum, Minimum, Mul
from ..ops.logic import Equal, Less, Where
from ..ops.shape import Broadcast, Concat, Gather, Reshape, Transpose
from .onnx_node import OnnxNode

Indices = NDArray[np.int64]


def depth_to_space(node: OnnxNode) -> Value:
    """Channels become places between each other in the plane."""
    x, size = _image_and_block(node)
    n, c, rows, cols = x.shape
    if c % (size * size):
        node.fail(f"{c} channels are no multiple of its blocksize {size} squared")
    outer = c // (size * size)
    match node.attribute("mode", "DCR"):
        case "DCR":
            split, perm = (n, size, size, outer, rows, cols), (0, 3, 4, 1, 5, 2)
        case "CRD":
            split, perm = (n, outer, size, size, rows, cols), (0, 1, 4, 2, 5, 3)
        case other:
            node.fail(f"mode {other} is not supported; DCR and CRD are")
    x = node.emit(Transpose(perm), node.emit(Reshape(split), x))
    return node.emit(Reshape((n, outer, rows * size, cols * size)), x)


def space_to_depth(node: OnnxNode) -> Value:
    """Places of a block in the plane become channels."""
    x, size = _image_and_block(node)
    n, c, rows, cols = x.shape
    if rows % size or cols % size:
        node.fail(f"{x.name}: {x.type} is not made of blocks of {size}")
    split = (n, c, rows // size, size, cols // size, size)
    perm = (0, 3, 5, 1, 2, 4)
    if node.attribute("mode", "DCR") == "CRD":
        perm = (0, 1, 3, 5, 2, 4)
    x = node.emit(Transpose(perm), node.emit(Reshape(split), x))
    return node.emit(Reshape((n, c * size * size, rows // size, cols // size)), x)


def _image_and_block(node: OnnxNode) -> tuple[Value, int]:
    x, size = node.value(0), int(node.attribute("blocksize", 0))
    if len(x.shape) != 4 or size < 1:
        node.fail(f"blocksize {size} of {x.name}: {x.type}; images (N, C, H, W) are supported")
    return x, size


def tile(node: OnnxNode) -> Value:
    """Repeated along every axis."""
    x = node.value(0)
    repeats = node.integers(1, "repeats")
    if len(repeats) != len(x.shape) or min(repeats, default=1) < 1:
        node.fail(f"repeats {repeats} do not fit {x.name}: {x.type}")
    if set(repeats) <= {1}:
        return x
    apart = [part for extent in x.shape for part in (1, extent)]
    wide = [part for pair in zip(repeats, x.shape, strict=True) for part in pair]
    out = node.emit(Broadcast(tuple(wide)), node.emit(Reshape(tuple(apart)), x))
    shape = (r * e for r, e in zip(repeats, x.shape, strict=True))
    return node.emit(Reshape(tuple(shape)), out)


def trilu(node: OnnxNode) -> Value:
    """The triangle of each matrix above a diagonal, or below it; zero elsewhere."""
    x = node.value(0)
    if len(x.shape) < 2:
        node.fail(f"{x.name} is {x.type}; matrices have two axes or more")
    number = 0 if node.optional(1) is None else int(node.array(1, "diagonal").reshape(()))
    whole = np.ones(x.shape[-2:], np.bool_)
    kept = np.triu(whole, number) if node.attribute("upper", 1) else np.tril(whole, number)
    return node.emit(Where(), node.constant(kept), x, node.scalar(0, x))


def one_hot(node: OnnxNode) -> Value:
    """A new axis that holds the second value at the index, the first elsewhere."""
    indices, values = node.value(0), node.value(2)
    depth = int(node.array(1, "depth").reshape(()))
    rank = len(indices.shape) + 1
    axis = node.axis(int(node.attribute("axis", -1)), rank)
    indices = _whole(node, indices)
    numbers = np.arange(depth, dtype=np.int64)
    numbers = numbers.reshape([-1 if a == axis else 1 for a in range(rank)])
    shape = (*indices.shape[:axis], 1, *indices.shape[axis:])
    places = _from_front(node, node.reshape(indices, shape), depth)
    off, on = (
        node.reshape(node.emit(Gather(0), values, node.constant(np.asarray([i]))), ())
        for i in range(2)
    )
    found = node.emit(Equal(), places, node.constant(numbers))
    return node.emit(Where(), found, on, off)


def _whole(node: OnnxNode, indices: Value) -> Value:
    return indices if indices.dtype is DType.INT64 else node.emit(Cast(DType.INT64), indices)


def _from_front(node: OnnxNode, indices: Value, extent: int) -> Value:
    """Return int64 indices with those from the end counted from the front."""
    behind = node.emit(Less(), indices, node.scalar(0, indices))
    front = node.emit(Add(), indices, node.scalar(extent, indices))
    return node.emit(Where(), behind, front, indices)


def gather_elements(node: OnnxNode) -> Value:
    """For each index the element at it along an axis, at the index's own place on the others."""
    x, indices = node.value(0), _whole(node, node.value(1))
    axis = node.axis(int(node.attribute("axis", 0)), len(x.shape))
    fits = len(indices.shape) == len(x.shape) and all(
        own <= extent or place == axis
        for place, (own, extent) in enumerate(zip(indices.shape, x.shape, strict=True))
    )
    if not fits:
        node.fail(f"indices {indices.type} do not fit {x.name}: {x.type}")
    node.inside(indices, x.shape[axis])
    steps = _steps(x.shape)
    others = np.zeros(indices.shape, np.int64)
    for place, grid in enumerate(np.indices(indices.shape)):
        others += grid * steps[place] if place != axis else 0
    places = _from_front(node, indices, x.shape[axis])
    total = node.emit(Add(), _times(node, places, steps[axis]), node.constant(others))
    return node.emit(Gather(0), node.reshape(x, (x.size,)), total)


def _times(node: OnnxNode, value: Value, number: int) -> Value:
    return value if number == 1 else node.emit(Mul(), value, node.scalar(number, value))


def _steps(shape: tuple[int, ...]) -> list[int]:
    return [prod(shape[axis + 1 :]) for axis in range(len(shape))]


def gather_nd(node: OnnxNode) -> Value:
    """For each tuple of indices, known now, the element or the part that it leads to."""
    x, indices = node.value(0), node.array(1, "indices").astype(np.int64)
    batch = int(node.attribute("batch_dims", 0))
    depth = indices.shape[-1]
    if not 0 <= batch < indices.ndim or batch + depth > len(x.shape) or not x.size:
        node.fail(f"indices {indices.shape} and batch_dims {batch} do not fit {x.name}: {x.type}")
    if indices.shape[:batch] != x.shape[:batch]:
        node.fail(f"indices {indices.shape} do not have the batch of {x.name}: {x.type}")
    lead = np.indices(indices.shape[:batch]).reshape(batch, *indices.shape[:batch])
    extra = [1] * (indices.ndim - 1 - batch)
    firsts = [grid.reshape(*grid.shape, *extra) for grid in lead]
    picked = [indices[..., place] for place in range(depth)]
    flat = _flat_index(node, x.shape, [*firsts, *picked])
    inner = x.shape[batch + depth :]
    rows = node.reshape(x, (x.size // prod(inner), *inner))
    return node.emit(Gather(0), rows, node.constant(flat))


def _flat_index(node: OnnxNode, shape: tuple[int, ...], picked: list[Any]) -> Indices:
    """Return the index among the first axes, flat, of indices that may count from the end."""
    flat = np.zeros((), np.int64)
    for extent, index in zip(shape, picked, strict=False):
        node.inside(node.constant(np.asarray(index, np.int64)), extent)
        front = np.asarray(np.where(index < 0, index + extent, index), np.int64)
        flat = np.add(flat * extent, front)
    return np.asarray(flat, np.int64)


def scatter_elements(node: OnnxNode) -> Value:
    """x with updates at indices, known now, along an axis."""
    x, indices, updates = node.value(0), node.array(1, "indices").astype(np.int64), node.value(2)
    axis = node.axis(int(node.attribute("axis", 0)), len(x.shape))
    if indices.ndim != len(x.shape) or updates.shape != indices.shape or not x.size:
        node.fail(f"indices {indices.shape}, updates {updates.type} do not fit {x.name}: {x.type}")
    grids: list[Any] = list(np.indices(indices.shape))
    grids[axis] = indices
    return _scattered(node, x, _flat_index(node, x.shape, grids), updates, x.size)


def scatter_nd(node: OnnxNode) -> Value:
    """x with updates where tuples of indices, known now, lead to."""
    x, indices, updates = node.value(0), node.array(1, "indices").astype(np.int64), node.value(2)
    depth = indices.shape[-1]
    if depth > len(x.shape) or updates.shape != indices.shape[:-1] + x.shape[depth:] or not x.size:
        node.fail(f"indices {indices.shape}, updates {updates.type} do not fit {x.name}: {x.type}")
    picked = [indices[..., place] for place in range(depth)]
    rows = prod(x.shape[: len(picked)])
    return _scattered(node, x, _flat_index(node, x.shape, picked), updates, rows)


_REDUCTIONS: dict[str, tuple[Op, float]] = {
    "add": (Add(), 0),
    "mul": (Mul(), 1),
    "max": (Maximum(), -np.inf),
    "min": (Minimum(), np.inf),
}
"""What combines an element with an update, and the number that changes nothing."""


def _scattered(node: OnnxNode, x: Value, places: Indices, updates: Value, rows: int) -> Value:
    """Return x, as `rows` rows, with those at places taken from the updates, or combined."""
    row, places = x.size // rows, places.ravel()
    data = node.reshape(x, (rows, row))
    updates = node.reshape(updates, (places.size, row))
    name = node.attribute("reduction", "none")
    if name == "none":
        source = np.arange(rows, dtype=np.int64)
        source[places] = rows + np.arange(places.size, dtype=np.int64)
        both = node.emit(Concat(0), data, updates)
        return node.reshape(node.emit(Gather(0), both, node.constant(source)), x.shape)
    if name not in _REDUCTIONS:
        node.fail(f"reduction {name} is not supported; none, {', '.join(_REDUCTIONS)} are")
    op, neutral = _REDUCTIONS[name]
    if not node.is_float(x) and not np.isfinite(neutral):
        limits = np.iinfo(x.dtype.numpy)
        neutral = limits.min if neutral < 0 else limits.max
    nothing = node.constant(np.full((1, row), neutral, x.dtype.numpy))
    updates = node.emit(Concat(0), nothing, updates)
    left = np.arange(places.size)
    while left.size:  # what several updates change takes one of them at a time
        _, first = np.unique(places[left], return_index=True)
        source = np.zeros(rows, np.int64)
        source[places[left[first]]] = 1 + left[first]
        data = node.emit(op, data, node.emit(Gather(0), updates, node.constant(source)))
        left = np.delete(left, first)
    return node.reshape(data, x.shape)


def reverse_sequence(node: OnnxNode) -> Value:
    """The first elements of each row, as many as are known now, in reverse."""
    x, lengths = node.value(0), node.array(1, "lengths")
    batch, time = int(node.attribute("batch_axis", 1)), int(node.attribute("time_axis", 0))
    if len(x.shape) < 2 or {batch, time} != {0, 1}:
        node.fail(f"axes {batch} and {time} of {x.name}: {x.type} are not its first two")
    grids = np.indices(x.shape[:2])
    length = lengths.reshape((-1, 1) if batch == 0 else (1, -1))
    grids[time] = np.where(grids[time] < length, length - 1 - grids[time], grids[time])
    flat = _flat_index(node, x.shape, list(grids))
    rows = node.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))
    return node.emit(Gather(0), rows, node.constant(flat))


def compress(node: OnnxNode) -> Value:
    """What a condition, known now, keeps of an axis, or of all elements."""
    x, kept = node.value(0), node.array(1, "condition")
    axis = node.attribute("axis", None)
    if axis is None:
        x, axis = node.reshape(x, (x.size,)), 0
    axis = node.axis(int(axis), len(x.shape))
    places = np.flatnonzero(kept).astype(np.int64)
    if not places.size:
        node.fail(f"nothing is left of {x.name}: {x.type}")
    node.inside(node.constant(places), x.shape[axis])
    return node.emit(Gather(axis), x, node.constant(places))
