"""ONNX Resize in our operators: along each axis, elements nearby, gathered and weighted.

Which elements and weights those are follows the operator's definition in NumPy, which the onnx
package has as `onnx.reference.ops.op_resize`.
"""

from collections.abc import Callable, Sequence
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import DType, Value
from ..ops.elementwise import Add, Cast, Mul, Unary
from ..ops.logic import Where
from ..ops.shape import Gather, Slice
from .onnx_node import OnnxNode

Floats = NDArray[np.float64]
Weigh = Callable[[float, float], Floats]
"""Weights of the elements nearby, of how far the place is behind the one before it, and scale."""


def resize(node: OnnxNode) -> Value:
    """Another extent along some axes: of the nearest element, or of several, weighted."""
    x = node.value(0)
    rank = len(x.shape)
    axes = node.attribute("axes", None)
    axes = list(range(rank)) if axes is None else [node.axis(int(a), rank) for a in axes]
    scales, sizes = _wanted(node, x, axes)
    mode = node.attribute("mode", "nearest")
    if min(sizes, default=1) < 1:
        node.fail(f"nothing is left of {x.name}: {x.type} as {tuple(sizes)}")
    out = x
    integer = x.dtype is not DType.FLOAT32
    if mode != "nearest" and integer:
        out = node.emit(Cast(DType.FLOAT32), out)
    for axis in range(rank):
        if sizes[axis] != x.shape[axis] or scales[axis] != 1 or _crops(node):
            places, outside = _places(node, x, axis, axes, scales[axis], sizes[axis])
            out = _along(node, out, axis, places, outside, scales[axis], mode)
    if out.dtype is not x.dtype:
        out = node.emit(Cast(x.dtype), node.emit(Unary("round"), out))
    return out


def upsample(node: OnnxNode) -> Value:
    """The nearest element, or linear: Resize as it was before opset 10."""
    x = node.value(0)
    scales = node.attribute("scales", None)
    scales = node.array(1, "scales") if scales is None else np.asarray(scales)
    attributes = {
        "mode": node.attribute("mode", "nearest"),
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    constant = node.constant(scales.astype(np.float32))
    return resize(node.changed(attributes, x, None, constant))


def _crops(node: OnnxNode) -> bool:
    return _transformation(node) == "tf_crop_and_resize"


def _transformation(node: OnnxNode) -> str:
    default = "half_pixel" if node.opset >= 11 else "asymmetric"
    return str(node.attribute("coordinate_transformation_mode", default))


def _wanted(node: OnnxNode, x: Value, axes: Sequence[int]) -> tuple[list[float], list[int]]:
    """Return the scale and the new extent of every axis."""
    at = 1 if node.operator == "Resize" and node.opset < 11 else 2
    given: NDArray[Any] = np.zeros(0)
    if not x.size:
        node.fail(f"{x.name} is {x.type}, which has no elements")
    if node.optional(at) is not None:
        given = node.array(at, "scales")
    scales, sizes = [1.0] * len(x.shape), list(x.shape)
    if given.size:
        if given.size != len(axes):
            node.fail(f"scales {given.tolist()} do not fit {x.name}: {x.type}")
        for axis, scale in zip(axes, given.tolist(), strict=True):
            scales[axis], sizes[axis] = float(scale), floor(x.shape[axis] * scale)
        return scales, sizes
    if node.optional(3) is None:
        node.fail("it has neither scales nor sizes")
    wanted = [int(size) for size in node.array(3, "sizes")]
    if len(wanted) != len(axes):
        node.fail(f"sizes {wanted} do not fit {x.name}: {x.type}")
    ratios = [size / x.shape[axis] for axis, size in zip(axes, wanted, strict=True)]
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if policy in ("not_larger", "not_smaller"):
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        ratios = [ratio] * len(axes)
        wanted = [floor(x.shape[axis] * ratio + 0.5) for axis in axes]
    elif policy != "stretch":
        node.fail(f"keep_aspect_ratio_policy {policy} is not one that ONNX has")
    for axis, ratio, size in zip(axes, ratios, wanted, strict=True):
        scales[axis], sizes[axis] = ratio, size
    return scales, sizes


def _places(
    node: OnnxNode, x: Value, axis: int, axes: Sequence[int], scale: float, size: int
) -> tuple[Floats, NDArray[np.bool_] | None]:
    """Return where each new element lies among the old, and which lie outside and are filled."""
    extent = x.shape[axis]
    wide = scale * extent
    y = np.arange(size, dtype=np.float64)
    match _transformation(node):
        case "align_corners":
            return (np.zeros(size) if wide == 1 else y * (extent - 1) / (wide - 1)), None
        case "asymmetric":
            return y / scale, None
        case "pytorch_half_pixel" if wide == 1:
            return np.zeros(size), None
        case "pytorch_half_pixel" | "half_pixel":
            return (y + 0.5) / scale - 0.5, None
        case "half_pixel_symmetric":
            return extent / 2 * (1 - size / wide) + (y + 0.5) / scale - 0.5, None
        case "tf_half_pixel_for_nn":
            return (y + 0.5) / scale, None
        case "tf_crop_and_resize":
            roi = node.array(1, "roi").astype(np.float64)
            if roi.size != 2 * len(axes):
                node.fail(f"roi {roi.tolist()} does not fit {x.name}: {x.type}")
            place = list(axes).index(axis) if axis in axes else None
            begin, end = (0.0, 1.0) if place is None else (roi[place], roi[len(axes) + place])
            if wide == 1:
                found = np.full(size, (end - begin) * (extent - 1) / 2)
            else:
                found = y * (end - begin) * (extent - 1) / (wide - 1)
            found = found + begin * (extent - 1)
            return found, (found < 0) | (found > extent - 1)
        case other:
            node.fail(f"coordinate_transformation_mode {other} is not one that ONNX has")


def _along(
    node: OnnxNode,
    x: Value,
    axis: int,
    places: Floats,
    outside: NDArray[np.bool_] | None,
    scale: float,
    mode: str,
) -> Value:
    if mode == "nearest":
        found = _nearest(node, places)
        found = np.clip(found, 0, x.shape[axis] - 1).astype(np.int64)
        out = _taken(node, x, axis, found)
    else:
        out = _weighted(node, x, axis, places, scale, mode)
    if outside is None or not outside.any():
        return out
    value = node.scalar(float(node.attribute("extrapolation_value", 0.0)), x)
    shape = [-1 if a == axis else 1 for a in range(len(x.shape))]
    return node.emit(Where(), node.constant(outside.reshape(shape)), value, out)


def _nearest(node: OnnxNode, places: Floats) -> Floats:
    default = "round_prefer_floor" if node.opset >= 11 else "floor"
    match node.attribute("nearest_mode", default):
        case "round_prefer_floor":
            return np.ceil(places - 0.5)
        case "round_prefer_ceil":
            return np.floor(places + 0.5)
        case "floor":
            return np.floor(places)
        case "ceil":
            return np.ceil(places)
        case other:
            node.fail(f"nearest_mode {other} is not one that ONNX has")


def _weighted(
    node: OnnxNode, x: Value, axis: int, places: Floats, scale: float, mode: str
) -> Value:
    weigh = _weigher(node, mode)
    extent = x.shape[axis]
    base = np.floor(places)
    ratios = np.where(places == base, 1.0, places - base)
    weights = np.stack([weigh(float(ratio), scale) for ratio in ratios])  # (out, taps)
    taps = int(weights.shape[1])
    if taps % 2 == 0:
        first = base - taps // 2 + (places != base)
    else:
        first = base - (taps - 1) // 2 + (places - base > 0.5)
    near = first.astype(np.int64)[:, None] + np.arange(taps, dtype=np.int64)
    if node.attribute("exclude_outside", 0):
        weights = np.where((near < 0) | (near >= extent), 0, weights)
        total = weights.sum(axis=1, keepdims=True)
        weights = weights / np.where(total == 0, 1, total)
    near = np.clip(near, 0, extent - 1)
    shape = [-1 if a == axis else 1 for a in range(len(x.shape))]
    out: Value | None = None
    for tap in range(taps):
        if not weights[:, tap].any():
            continue
        factor = node.constant(weights[:, tap].astype(np.float32).reshape(shape))
        part = node.emit(Mul(), _taken(node, x, axis, near[:, tap]), factor)
        out = part if out is None else node.emit(Add(), out, part)
    assert out is not None
    return out


def _taken(node: OnnxNode, x: Value, axis: int, places: NDArray[np.int64]) -> Value:
    """Return the elements of x at places along an axis: a slice where they are even steps."""
    steps = np.diff(places)
    if len(places) > 1 and (steps == steps[0]).all() and steps[0] > 0:
        starts = [int(places[0]) if a == axis else 0 for a in range(len(x.shape))]
        counts = [len(places) if a == axis else e for a, e in enumerate(x.shape)]
        every = [int(steps[0]) if a == axis else 1 for a in range(len(x.shape))]
        return node.emit(Slice(tuple(starts), tuple(counts), tuple(every)), x)
    return node.emit(Gather(axis), x, node.constant(places))


def _weigher(node: OnnxNode, mode: str) -> Weigh:
    smooth = bool(node.attribute("antialias", 0))
    if mode == "linear":
        return _linear_smooth if smooth else lambda ratio, _: np.array([1 - ratio, ratio])
    if mode == "cubic":
        a = float(node.attribute("cubic_coeff_a", -0.75))
        return lambda ratio, scale: _cubic(ratio, min(scale, 1.0) if smooth else 1.0, a)
    node.fail(f"mode {mode} is not supported; nearest, linear and cubic are")


def _linear_smooth(ratio: float, scale: float) -> Floats:
    scale = min(scale, 1.0)
    start = floor(-1 / scale) + 1
    distances = (np.arange(start, 2 - start) - ratio) * scale
    weights = np.clip(1 - np.abs(distances), 0, 1)
    return weights / weights.sum()


def _cubic(ratio: float, scale: float, a: float) -> Floats:
    """Return Keys' weights, over twice the reach of `scale` on each side."""
    start = floor(-2 / scale) + 1
    x = np.abs(scale * (np.arange(start, 2 - start) - ratio))
    inner = (a + 2) * x**3 - (a + 3) * x**2 + 1
    outer = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    weights = np.where(x <= 1, inner, np.where(x < 2, outer, 0))
    return weights / weights.sum()
