"""How a window moves over the spatial axes of a tensor: what convolutions and pools share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..graph import Value
from .onnx_node import OnnxNode

MOST_AXES = 3


@dataclass(frozen=True)
class Windows:
    """Windows over x (N, C, ...), one number for each spatial axis.

    `before` and `after` are the padding; `extra` is what `ceil_mode` pads behind that besides.
    """

    extents: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    extra: tuple[int, ...]

    @property
    def all_after(self) -> tuple[int, ...]:
        """The padding behind, of both kinds."""
        return tuple(a + b for a, b in zip(self.after, self.extra, strict=True))

    @property
    def counts(self) -> tuple[int, ...]:
        """How many windows there are along each axis."""
        spans = spans_of(self.kernel, self.dilations)
        padded = zip(self.extents, self.before, self.all_after, spans, self.strides, strict=True)
        return tuple((e + b + a - span) // stride + 1 for e, b, a, span, stride in padded)


def windows(node: OnnxNode, x: Value, kernel: Sequence[int]) -> Windows:
    """Return the windows of a node over x; ModelError where its attributes do not fit."""
    strides, dilations = spatial(node, x, "strides", 1), spatial(node, x, "dilations", 1)
    if len(kernel) != len(strides):
        node.fail(f"a kernel of {len(kernel)} axes does not fit {x.name}: {x.type}")
    spans = spans_of(kernel, dilations)
    before, after = _pads(node, x, spans, strides)
    extra = [0] * len(spans)
    if node.attribute("ceil_mode", 0) and node.attribute("auto_pad", "NOTSET") == "NOTSET":
        for axis, (span, stride) in enumerate(zip(spans, strides, strict=True)):
            extent = x.shape[2 + axis] + before[axis] + after[axis]
            count = -(-(extent - span) // stride) + 1
            if (count - 1) * stride >= x.shape[2 + axis] + before[axis]:
                count -= 1  # a window may not start in the padding behind
            extra[axis] = max((count - 1) * stride + span - extent, 0)
    parts = (x.shape[2:], kernel, strides, dilations, before, after, extra)
    return Windows(*(tuple(part) for part in parts))


def spans_of(kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Return how far a window reaches along each axis."""
    return [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]


def spatial(node: OnnxNode, x: Value, name: str, default: int) -> list[int]:
    """Return an attribute of one number for each spatial axis of x."""
    rank = len(x.shape) - 2
    if not 1 <= rank <= MOST_AXES:
        node.fail(
            f"{x.name} is {x.type}; sequences (N, C, L), images (N, C, H, W) and volumes "
            f"(N, C, D, H, W) are supported"
        )
    numbers = [int(number) for number in node.attribute(name, [default] * rank)]
    if len(numbers) != rank or min(numbers) < 1:
        node.fail(f"{name} {numbers} do not fit {x.name}: {x.type}")
    return numbers


def same_pads(node: OnnxNode, total: int) -> tuple[int, int]:
    """Return the padding before and after an axis, of `total` in all, as auto_pad divides it."""
    less = max(total, 0) // 2
    more = max(total, 0) - less
    return (less, more) if node.attribute("auto_pad", "NOTSET") == "SAME_UPPER" else (more, less)


def given_pads(node: OnnxNode, x: Value, rank: int) -> tuple[list[int], list[int]]:
    """Return the attribute `pads`: what is in front of each spatial axis, and behind."""
    pads = [int(pad) for pad in node.attribute("pads", [0] * (2 * rank))]
    if len(pads) != 2 * rank or min(pads) < 0:
        node.fail(f"pads {pads} do not fit {x.name}: {x.type}; none may be negative")
    return pads[:rank], pads[rank:]


def _pads(
    node: OnnxNode, x: Value, spans: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    automatic = node.attribute("auto_pad", "NOTSET")
    if automatic == "NOTSET":
        return given_pads(node, x, len(spans))
    if automatic == "VALID":
        return [0] * len(spans), [0] * len(spans)
    if automatic not in ("SAME_UPPER", "SAME_LOWER"):
        node.fail(f"auto_pad {automatic} is not one that ONNX has")
    pairs = [
        same_pads(node, (-(-extent // stride) - 1) * stride + span - extent)
        for extent, span, stride in zip(x.shape[2:], spans, strides, strict=True)
    ]
    return [before for before, _ in pairs], [after for _, after in pairs]


def two(numbers: Any) -> tuple[int, int]:
    """Return two numbers as a tuple."""
    first, second = numbers
    return int(first), int(second)


def four(before: Sequence[int], after: Sequence[int]) -> tuple[int, int, int, int]:
    """Return the pads of an image as top, left, bottom, right."""
    return int(before[0]), int(before[1]), int(after[0]), int(after[1])
