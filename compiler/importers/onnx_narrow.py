"""Arithmetic of ONNX's narrow element types, in what holds them (see `onnx_types`)."""

import numpy as np

from ..graph import DType, Value
from ..ops.elementwise import Add, Cast, Div, Maximum, Minimum, Mul, ShiftRight, Sub, Unary
from ..ops.logic import Equal, LessOrEqual, Where
from .onnx_node import OnnxNode
from .onnx_types import Narrow

MOVES = frozenset(
    ["Compress", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Dropout", "Expand",
     "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Max", "MaxPool", "Min", "Pad",
     "QuantizeLinear", "Relu", "Reshape", "ReverseSequence", "ScatterElements", "ScatterND",
     "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze",
     "Where"]
)  # fmt: skip
"""Operators that give numbers of the narrow type without being rounded to it."""


def narrowed(node: OnnxNode, x: Value, narrow: Narrow) -> Value:
    """Return a result of arithmetic as numbers of a narrow type, which its carrier holds."""
    if not narrow.is_float:
        return _low_bits(node, x, narrow)
    saturates = narrow.name != "bfloat16" and bool(node.attribute("saturate", 1))
    return _saturated(node, rounded(node, x, narrow), narrow, saturates)


def _low_bits(node: OnnxNode, x: Value, narrow: Narrow) -> Value:
    """Keep the bits that the type has."""
    wide = node.emit(Cast(DType.INT32), x)
    bits = int(narrow.highest - narrow.lowest + 1).bit_length() - 1
    if narrow.lowest:
        moved = node.emit(Mul(), wide, node.scalar(1 << (32 - bits), wide))
        wide = node.emit(ShiftRight(), moved, node.scalar(32 - bits, wide))
    else:
        above = node.emit(ShiftRight(), wide, node.scalar(bits, wide))
        wide = node.emit(Sub(), wide, node.emit(Mul(), above, node.scalar(1 << bits, wide)))
    return node.emit(Cast(narrow.carrier), wide)


def rounded(node: OnnxNode, x: Value, narrow: Narrow) -> Value:
    """Return float32 numbers to the nearest that have a type's fraction, half to even.

    Each is divided by the power of two that leaves it in [1, 2), which is exact: halves are taken
    off its exponent, 64 first. Those under the least exponent stay under 1.
    """
    one = node.scalar(1, x)
    large = node.emit(LessOrEqual(), one, node.emit(Unary("abs"), x))

    def power(exponent: int) -> Value:
        return node.constant(np.float32(2.0**exponent))

    scale = node.emit(Where(), large, one, power(narrow.exponent))
    part = node.emit(Mul(), x, node.emit(Where(), large, one, power(-narrow.exponent)))
    for step in (64, 32, 16, 8, 4, 2, 1):
        great = node.emit(LessOrEqual(), power(step), node.emit(Unary("abs"), part))
        part = node.emit(Mul(), part, node.emit(Where(), great, power(-step), one))
        scale = node.emit(Mul(), scale, node.emit(Where(), great, power(step), one))
    ways = {"up": "ceil", "down": "floor", "nearest": "round"}
    way = ways["nearest"]
    if narrow.name == "float8e8m0":
        way = ways[str(node.attribute("round_mode", "up"))]
    whole = node.emit(Unary(way), node.emit(Mul(), part, power(narrow.fraction)))
    return node.emit(Mul(), node.emit(Mul(), whole, power(-narrow.fraction)), scale)


def _saturated(node: OnnxNode, x: Value, narrow: Narrow, saturates: bool) -> Value:
    """Bring what is too great within the type's limits, or make it what the type has for that."""
    low, high = node.scalar(narrow.lowest, x), node.scalar(narrow.highest, x)
    if narrow.name == "float4e2m1":  # all its 16 numbers are finite
        x = node.emit(Where(), node.emit(Equal(), x, x), x, node.scalar(0, x))
    if saturates or narrow.name == "float4e2m1":
        return node.emit(Minimum(), node.emit(Maximum(), x, low), high)
    inside = node.emit(LessOrEqual(), node.emit(Unary("abs"), x), high)
    beyond = node.emit(Mul(), x, node.scalar(np.inf, x))
    if not narrow.infinite:
        beyond = node.emit(Sub(), beyond, beyond)
    return node.emit(Where(), inside, x, beyond)


def quantized(node: OnnxNode, x: Value, scale: Value, zero: Value | None, narrow: Narrow) -> Value:
    """Return QuantizeLinear to a narrow type; scale and zero point broadcast to x."""
    y = node.emit(Div(), x, scale)
    if narrow.is_float:
        return _saturated(node, rounded(node, y, narrow), narrow, True)
    y = node.emit(Unary("round"), y)
    if zero is not None:
        y = node.emit(Add(), y, node.emit(Cast(DType.FLOAT32), zero))
    return node.emit(Cast(narrow.carrier), _saturated(node, y, narrow, True))
