"""ONNX convolutions in our operators, which are those of images."""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from ..graph import Value
from ..ops.elementwise import Add
from ..ops.linear import Conv2d
from ..ops.quantize import DequantizeLinear
from ..ops.shape import Broadcast, Gather, Pad, Reshape, Slice, Transpose
from .onnx_node import OnnxNode
from .onnx_windows import Windows, four, given_pads, spans_of, spatial, two, windows


def conv(node: OnnxNode) -> Value:
    """Conv of images, of sequences as images of height 1, of volumes as images of more channels."""
    x, w = node.value(0), node.value(1)
    node.floats(x, w)
    return convolved(node, x, w, windows(node, x, _kernel(node, w)), node.optional(2))


def convolved(
    node: OnnxNode, x: Value, w: Value, over: Windows, bias: Value | None = None
) -> Value:
    """Return the convolution of x (N, C, ...) by w (O, C / groups, ...); also of int8.

    `bias` (O) is added, if there is one.
    """
    groups = int(node.attribute("group", 1))
    if len(over.kernel) == 3:
        return _volume(node, x, w, over, groups, bias)
    flat = len(over.kernel) == 1
    around = (over.strides, over.dilations, over.before, over.after)
    strides, dilations, before, after = around
    if flat:
        x, w = (node.reshape(v, (*v.shape[:2], 1, v.shape[2])) for v in (x, w))
        strides, dilations = (1, *strides), (1, *dilations)
        before, after = (0, *before), (0, *after)
    op = Conv2d(two(strides), four(before, after), two(dilations), groups)
    out = _biased(node, node.emit(op, x, w), bias)
    return node.reshape(out, (*out.shape[:2], out.shape[3])) if flat else out


def _biased(node: OnnxNode, image: Value, bias: Value | None) -> Value:
    if bias is None:
        return image
    return node.emit(Add(), image, node.reshape(bias, (image.shape[1], 1, 1)))


def _kernel(node: OnnxNode, w: Value) -> tuple[int, ...]:
    kernel = w.shape[2:]
    given = tuple(node.attribute("kernel_shape", kernel))
    if given != kernel:
        node.fail(f"kernel_shape {given} is not that of its weights {w.type}")
    return kernel


def _volume(
    node: OnnxNode, x: Value, w: Value, over: Windows, groups: int, bias: Value | None
) -> Value:
    """Planes that a window touches become channels: (N, C, D, H, W) is (N * OD, C * KD, H, W)."""
    n, c, _, rows, cols = x.shape
    o, inner, depth, kh, kw = w.shape
    pads = (over.before[0], over.after[0])
    if any(pads):
        x = node.emit(Pad((0, 0, pads[0], 0, 0), (0, 0, pads[1], 0, 0)), x)
    planes = over.counts[0]
    touched = np.arange(planes)[:, None] * over.strides[0]
    touched = touched + np.arange(depth)[None, :] * over.dilations[0]
    x = node.emit(Gather(2), x, node.constant(touched))  # (N, C, OD, KD, H, W)
    x = node.emit(Transpose((0, 2, 1, 3, 4, 5)), x)
    x = node.emit(Reshape((n * planes, c * depth, rows, cols)), x)
    w = node.emit(Reshape((o, inner * depth, kh, kw)), w)
    strides, dilations = two(over.strides[1:]), two(over.dilations[1:])
    op = Conv2d(strides, four(over.before[1:], over.after[1:]), dilations, groups)
    out = _biased(node, node.emit(op, x, w), bias)
    out = node.emit(Reshape((n, planes, o, *out.shape[2:])), out)
    return node.emit(Transpose((0, 2, 1, 3, 4)), out)


def conv_transpose(node: OnnxNode) -> Value:
    """ConvTranspose of images and sequences: a convolution for each place that a stride leaves.

    Of stride s, what lies at s * i + r is a convolution of x by every s-th weight from r on: all
    of them are one convolution of s times the channels on each axis, which then change places.
    Weights that lie further apart than one have zeros between them.
    """
    x, w = node.value(0), node.value(1)
    node.floats(x, w)
    kernel = _kernel(node, w)
    strides, dilations = spatial(node, x, "strides", 1), spatial(node, x, "dilations", 1)
    rank, groups = len(kernel), int(node.attribute("group", 1))
    fits = groups > 0 and w.shape[0] % groups == 0 and x.shape[1] == w.shape[0]
    if rank != len(strides) or not fits:
        node.fail(f"weights {w.type} in {groups} groups do not fit {x.name}: {x.type}")
    spans = spans_of(kernel, dilations)
    before, sizes = _transposed_extents(node, x, spans, strides)
    each = [-(-span // stride) for span, stride in zip(spans, strides, strict=True)]

    def phases(weights: Value, fill: float) -> Value:
        """Return (C, O / groups, ...) as (groups * O / groups * strides, C / groups, J, ...)."""
        c, outer = weights.shape[:2]
        weights = _spread(node, weights, dilations, fill)
        wide = [j * s for j, s in zip(each, strides, strict=True)]
        short = [w - span for w, span in zip(wide, spans, strict=True)]
        if any(short):
            weights = node.emit(Pad((0,) * (2 + rank), (0, 0, *short), fill), weights)
        pairs = [extent for j, s in zip(each, strides, strict=True) for extent in (j, s)]
        weights = node.emit(Reshape((groups, c // groups, outer, *pairs)), weights)
        last, steps = ([first + 2 * axis for axis in range(rank)] for first in (3, 4))
        weights = node.emit(Transpose((0, 2, *steps, 1, *last)), weights)
        shape = (groups * outer * prod(strides), c // groups, *each)
        weights = node.emit(Reshape(shape), weights)
        starts, turned = [j - 1 for j in each], (-1,) * rank
        return node.emit(Slice((0, 0, *starts), shape, (1, 1, *turned)), weights)

    weights = _changed_weights(node, w, phases, groups, prod(strides))
    firsts = [min(b // s, j - 1) for b, s, j in zip(before, strides, each, strict=True)]
    ends = [b + size for b, size in zip(before, sizes, strict=True)]
    counts = [-(-end // s) for end, s in zip(ends, strides, strict=True)]
    pads = [max(count - extent, 0) for count, extent in zip(counts, x.shape[2:], strict=True)]
    fronts = [j - 1 - first for j, first in zip(each, firsts, strict=True)]
    ones = (1,) * rank
    over = Windows(x.shape[2:], tuple(each), ones, ones, tuple(fronts), tuple(pads), (0,) * rank)
    bias = _repeated(node, node.optional(2), prod(strides))
    out = _interleaved(node, convolved(node, x, weights, over, bias), strides)
    starts = [b - f * s for b, f, s in zip(before, firsts, strides, strict=True)]
    taken = (*out.shape[:2], *sizes)
    if taken == out.shape:
        return out
    return node.emit(Slice((0, 0, *starts), taken, (1,) * (2 + rank)), out)


def _repeated(node: OnnxNode, bias: Value | None, times: int) -> Value | None:
    """Return each number of a bias several times after each other."""
    if bias is None or times == 1:
        return bias
    wide = node.emit(Broadcast((bias.size, times)), node.reshape(bias, (bias.size, 1)))
    return node.reshape(wide, (bias.size * times,))


def _transposed_extents(
    node: OnnxNode, x: Value, spans: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return where the result begins in all that the weights reach, and its extents."""
    rank = len(spans)
    extra = [int(pad) for pad in node.attribute("output_padding", [0] * rank)]
    if len(extra) != rank or min(extra) < 0:
        node.fail(f"output_padding {extra} does not fit {x.name}: {x.type}")
    reached = [
        (extent - 1) * stride + span + more
        for extent, stride, span, more in zip(x.shape[2:], strides, spans, extra, strict=True)
    ]
    automatic = node.attribute("auto_pad", "NOTSET")
    wanted = node.attribute("output_shape", None)
    if wanted is None and automatic in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [extent * stride for extent, stride in zip(x.shape[2:], strides, strict=True)]
    if wanted is not None:
        sizes = [int(size) for size in wanted][-rank:]
        totals = [full - size for full, size in zip(reached, sizes, strict=True)]
        upper = automatic == "SAME_UPPER"
        before = [max(t, 0) // 2 if upper else max(t, 0) - max(t, 0) // 2 for t in totals]
    else:
        before, after = [0] * rank, [0] * rank
        if automatic != "VALID":
            before, after = given_pads(node, x, rank)
        sizes = [f - b - a for f, b, a in zip(reached, before, after, strict=True)]
    if min(sizes) < 1:
        node.fail(f"its result would have the extents {sizes}")
    return before, sizes


def _changed_weights(
    node: OnnxNode, w: Value, change: Callable[[Value, float], Value], groups: int, repeats: int
) -> Value:
    """Return weights (C, O / groups, ...) changed; quantized ones stay quantized.

    Their scales, if there are several, are one for each channel of the result: those of a group
    are repeated for every group, and each `repeats` times.
    """
    maker = next((one for one in node.builder.nodes if w in one.outputs), None)
    if maker is None or not isinstance(maker.op, DequantizeLinear):
        return change(w, 0)
    integers, *parameters = maker.inputs
    scale, zero = (node.builder.constants[value] for value in parameters)
    if scale.ndim and (maker.op.axis != 1 or zero.any()):
        node.fail(
            f"its weights {w.name} are quantized along axis {maker.op.axis}, with zero points "
            f"{zero.ravel()[:4]}; axis 1 and 0 are supported"
        )
    changed = change(integers, 0 if scale.ndim else float(zero))
    if scale.ndim:
        scale, zero = (np.repeat(np.tile(part, groups), repeats) for part in (scale, zero))
    return node.emit(DequantizeLinear(0), changed, node.constant(scale), node.constant(zero))


def _spread(node: OnnxNode, weights: Value, dilations: Sequence[int], fill: float) -> Value:
    """Return weights with `fill` between them, where they lie further apart than one."""
    if set(dilations) <= {1}:
        return weights
    c, outer, *kernel = weights.shape
    rank = len(kernel)
    apart = [part for extent in kernel for part in (extent, 1)]
    after = [part for step in dilations for part in (0, step - 1)]
    weights = node.emit(Reshape((c, outer, *apart)), weights)
    weights = node.emit(Pad((0,) * (2 + 2 * rank), (0, 0, *after), fill), weights)
    wide = [extent * step for extent, step in zip(kernel, dilations, strict=True)]
    weights = node.emit(Reshape((c, outer, *wide)), weights)
    spans = spans_of(kernel, dilations)
    ones = (1,) * (2 + rank)
    return node.emit(Slice((0,) * (2 + rank), (c, outer, *spans), ones), weights)


def _interleaved(node: OnnxNode, x: Value, strides: Sequence[int]) -> Value:
    """Return channels as places between each other: (N, C * s, L) becomes (N, C, L * s)."""
    if prod(strides) == 1:
        return x
    n, channels, *extents = x.shape
    rank, outer = len(extents), channels // prod(strides)
    x = node.emit(Reshape((n, outer, *strides, *extents)), x)
    order = [axis for place in range(rank) for axis in (2 + rank + place, 2 + place)]
    x = node.emit(Transpose((0, 1, *order)), x)
    wide = [extent * stride for extent, stride in zip(extents, strides, strict=True)]
    return node.emit(Reshape((n, outer, *wide)), x)
