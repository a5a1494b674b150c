"""What operators with windows have in common: strides, dilations, padding, images."""

from typing import Any

from ..graph import Value
from .onnx_node import OnnxNode

_KINDS = {
    2: "sequences (N, C, L) and images (N, C, H, W)",
    3: "sequences (N, C, L), images (N, C, H, W) and volumes (N, C, D, H, W)",
}
"""What has so many axes at most, besides batch and channels."""


def as_image(node: OnnxNode, x: Value) -> Value:
    if len(x.shape) not in (3, 4):
        node.fail(f"{x.name} is {x.type}; {_KINDS[2]} are supported")
    return node.reshape(x, (*x.shape[:2], 1, x.shape[2])) if len(x.shape) == 3 else x


def two(numbers: Any) -> tuple[int, int]:
    first, second = numbers
    return int(first), int(second)


def four(numbers: Any) -> tuple[int, int, int, int]:
    top, left, bottom, right = numbers
    return int(top), int(left), int(bottom), int(right)


def spatial(node: OnnxNode, x: Value, name: str, default: int, most: int = 2) -> list[int]:
    """Return a list of one number for each spatial axis of x, of which there are `most` at most."""
    rank = len(x.shape) - 2
    if not 1 <= rank <= most:
        node.fail(f"{x.name} is {x.type}; {_KINDS[most]} are supported")
    numbers = [int(number) for number in node.attribute(name, [default] * rank)]
    if len(numbers) != rank or min(numbers) < 1:
        node.fail(f"{name} {numbers} do not fit {x.name}: {x.type}")
    return numbers


def pads_of(node: OnnxNode, x: Value, spans: list[int], strides: list[int]) -> list[int]:
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
