"""ONNX operators that resample images, in our operators."""

from collections.abc import Callable, Sequence
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from ..graph import DType, Value
from ..ops.elementwise import Where
from ..ops.linear import MatMul
from ..ops.shape import Gather, Reshape, Transpose
from .onnx_node import OnnxNode

Reals = NDArray[np.float64]

CROP = "tf_crop_and_resize"
_NEAREST: dict[str, Callable[[Reals], Reals]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
"""Which of two neighbours a point takes."""


def resize(node: OnnxNode) -> Value:
    """Nearest as gathered indices, linear and cubic as a product by a matrix, along each axis."""
    x = node.value(0)
    rank = len(x.shape)
    axes = [node.axis(int(axis), rank) for axis in node.attribute("axes", range(rank))]
    scales, sizes = _wanted(node, x, axes)
    cropped = node.attribute("coordinate_transformation_mode", "half_pixel") == CROP
    regions = _regions(node, axes) if cropped else [(0.0, 1.0)] * len(axes)
    mode = node.attribute("mode", "nearest")
    outside: list[tuple[int, NDArray[np.bool_]]] = []
    for axis, scale, size, region in zip(axes, scales, sizes, regions, strict=True):
        extent = x.shape[axis]
        if size == extent and scale == 1 and region == (0, 1):
            continue
        at = _cropped(extent, size, region) if cropped else _places(node, extent, size, scale)
        outside.append((axis, (at < 0) | (at > extent - 1)))
        if mode == "nearest":
            x = _nearest(node, x, axis, at)
        elif mode in ("linear", "cubic"):
            narrower = min(scale, 1.0) if node.attribute("antialias", 0) else 1.0
            x = _weighted(node, x, axis, _matrix(node, mode, at, extent, narrower))
        else:
            node.fail(f"mode {mode} is not one that ONNX has")
    return _extrapolated(node, x, outside) if cropped else x


def _regions(node: OnnxNode, axes: Sequence[int]) -> list[tuple[float, float]]:
    """Return where a crop begins and ends along each axis, as parts of it."""
    roi = node.array(1, "region of interest").astype(np.float64).ravel().tolist()
    if len(roi) != 2 * len(axes):
        node.fail(f"its region of interest {roi} does not fit {len(axes)} axes")
    return list(zip(roi[: len(axes)], roi[len(axes) :], strict=True))


def _cropped(extent: int, size: int, region: tuple[float, float]) -> Reals:
    begin, end = region
    if size == 1:
        return np.array([0.5 * (begin + end) * (extent - 1)])
    steps = np.arange(size) * (end - begin) / (size - 1)
    return (begin + steps) * (extent - 1)


def _extrapolated(
    node: OnnxNode, x: Value, outside: Sequence[tuple[int, NDArray[np.bool_]]]
) -> Value:
    """Return x with a number for what lies outside the image along some axis."""
    if not any(mask.any() for _, mask in outside):
        return x
    whole = np.zeros(x.shape, bool)
    for axis, mask in outside:
        whole |= mask.reshape([-1 if a == axis else 1 for a in range(len(x.shape))])
    number = node.scalar(float(node.attribute("extrapolation_value", 0.0)), x)
    return node.emit(Where(), node.constant(whole), number, x)


def upsample(node: OnnxNode) -> Value:
    """Resize as it was before opset 10: each pixel begins where it did, times the scale."""
    x = node.value(0)
    scales = node.array(1, "scales").astype(np.float64).ravel().tolist()
    if node.attribute("mode", "nearest") != "nearest":
        node.fail("mode linear is not supported; Resize has it")
    for axis, (extent, scale) in enumerate(zip(x.shape, scales, strict=True)):
        if scale != 1:
            at = np.arange(floor(extent * scale)) / scale
            x = _gathered(node, x, axis, np.floor(at))
    return x


def _wanted(node: OnnxNode, x: Value, axes: Sequence[int]) -> tuple[list[float], list[int]]:
    """Return the scale and the size along each axis."""
    extents = [x.shape[axis] for axis in axes]
    given = node.optional(3)
    if given is not None:
        sizes = [int(size) for size in node.array(3, "sizes").ravel()]
        if len(sizes) != len(axes) or min(sizes) < 1:
            node.fail(f"sizes {sizes} do not fit {x.name}: {x.type}")
        scales = [size / extent for size, extent in zip(sizes, extents, strict=True)]
        policy = node.attribute("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            scale = (min if policy == "not_larger" else max)(scales)
            scales = [scale] * len(axes)
            sizes = [floor(scale * extent + 0.5) for extent in extents]
        return scales, sizes
    scales = [float(scale) for scale in node.array(2, "scales").ravel()]
    if len(scales) != len(axes) or min(scales) <= 0:
        node.fail(f"scales {scales} do not fit {x.name}: {x.type}")
    return scales, [floor(scale * extent) for scale, extent in zip(scales, extents, strict=True)]


def _places(node: OnnxNode, extent: int, size: int, scale: float) -> Reals:
    """Return where, in the input, the points of an axis of the output are."""
    at = np.arange(size, dtype=np.float64)
    mode = node.attribute("coordinate_transformation_mode", "half_pixel")
    match mode:
        case "half_pixel":
            return (at + 0.5) / scale - 0.5
        case "half_pixel_symmetric":
            wanted = extent * scale
            offset = extent / 2 * (1 - size / wanted)
            return offset + (at + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (at + 0.5) / scale - 0.5 if size > 1 else np.zeros(1)
        case "align_corners":
            wanted = extent * scale  # with its fraction
            return at * (extent - 1) / (wanted - 1) if wanted > 1 else np.zeros(size)
        case "asymmetric":
            return at / scale
        case _:
            node.fail(f"coordinate_transformation_mode {mode} is not one that ONNX has")


def _nearest(node: OnnxNode, x: Value, axis: int, at: Reals) -> Value:
    mode = node.attribute("nearest_mode", "round_prefer_floor")
    if mode not in _NEAREST:
        node.fail(f"nearest_mode {mode} is not one that ONNX has")
    return _gathered(node, x, axis, _NEAREST[mode](at))


def _gathered(node: OnnxNode, x: Value, axis: int, at: Reals) -> Value:
    numbers = np.clip(at, 0, x.shape[axis] - 1).astype(np.int64)
    return node.emit(Gather(axis), x, node.constant(numbers))


def _matrix(
    node: OnnxNode, mode: str, at: Reals, extent: int, narrower: float
) -> NDArray[np.float32]:
    """Return (output, input) what each point of the output takes of those of the input.

    Against aliasing, as many more points are taken as the output has fewer, `narrower` times.
    """
    base = np.floor(at)
    fraction = at - base
    a = float(node.attribute("cubic_coeff_a", -0.75))
    half = 1 if mode == "linear" else 2
    reach = ceil(half / narrower)
    matrix = np.zeros((len(at), extent))
    rows = np.arange(len(at))
    for offset in range(1 - reach, reach + 1):
        distance = np.abs(fraction - offset) * narrower
        weight = np.maximum(1 - distance, 0) if mode == "linear" else _cubic(distance, a)
        place = base + offset
        if node.attribute("exclude_outside", 0):
            weight = np.where((place < 0) | (place >= extent), 0, weight)
        np.add.at(matrix, (rows, np.clip(place, 0, extent - 1).astype(int)), weight)
    if node.attribute("exclude_outside", 0) or narrower < 1:
        matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix.astype(np.float32)


def _cubic(x: Reals, a: float) -> Reals:
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _weighted(node: OnnxNode, x: Value, axis: int, matrix: NDArray[np.float32]) -> Value:
    """Return x with an axis multiplied by a matrix (output, input)."""
    if x.dtype is not DType.FLOAT32:
        node.fail(f"{x.name} is {x.type}; only float32 is supported here")
    rank = len(x.shape)
    perm = [*range(axis), *range(axis + 1, rank), axis]
    last = node.emit(Transpose(tuple(perm)), x) if axis < rank - 1 else x
    lead = last.shape[:-1]
    flat = node.emit(Reshape((int(np.prod(lead)), x.shape[axis])), last)
    out = node.emit(MatMul(), flat, node.constant(np.ascontiguousarray(matrix.T)))
    out = node.emit(Reshape((*lead, len(matrix))), out)
    back = [*range(axis), rank - 1, *range(axis, rank - 1)]
    return node.emit(Transpose(tuple(back)), out) if axis < rank - 1 else out


def depth_to_space(node: OnnxNode) -> Value:
    """Channels moved into squares of pixels."""
    x = node.value(0)
    n, c, h, w = x.shape
    size = int(node.attribute("blocksize", 0))
    if size < 1 or c % (size * size):
        node.fail(f"blocksize {size} does not fit the {c} channels of {x.name}")
    if node.attribute("mode", "DCR") == "DCR":
        cut, perm = (n, size, size, c // size**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        cut, perm = (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3)
    moved = node.emit(Transpose(perm), node.emit(Reshape(cut), x))
    return node.emit(Reshape((n, c // size**2, h * size, w * size)), moved)


def space_to_depth(node: OnnxNode) -> Value:
    """Squares of pixels moved into channels."""
    x = node.value(0)
    n, c, h, w = x.shape
    size = int(node.attribute("blocksize", 0))
    if size < 1 or h % size or w % size:
        node.fail(f"blocksize {size} does not divide {x.name}: {x.type}")
    cut = node.emit(Reshape((n, c, h // size, size, w // size, size)), x)
    order = (0, 3, 5, 1, 2, 4) if node.attribute("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    moved = node.emit(Transpose(order), cut)
    return node.emit(Reshape((n, c * size * size, h // size, w // size)), moved)
