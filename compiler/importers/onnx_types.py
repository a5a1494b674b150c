"""ONNX's element types: ours, and those that NumPy has none of.

The latter, numbers of 2, 4 and 8 bits and bfloat16, are held in a wider type that has all of their
numbers: what arithmetic gives is rounded to them, and quantization saturates at their limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..graph import DType


@dataclass(frozen=True)
class Narrow:
    """An element type by ONNX's name of it.

    Attributes
    ----------
    carrier : DType
        What holds its numbers: int8 or uint8, or float32.
    lowest, highest : float
        The finite numbers that are the least and the greatest.
    fraction : int
        Of floats, bits after the binary point.
    exponent : int
        Of floats, the least exponent: nearer to zero their distance stays the same.
    infinite : bool
        Of floats, whether numbers too great may become infinite; else they are none (NaN).
    """

    name: str
    carrier: DType
    lowest: float
    highest: float
    fraction: int = 0
    exponent: int = 0
    infinite: bool = False

    @property
    def is_float(self) -> bool:
        """Whether its numbers have fractions."""
        return self.carrier is DType.FLOAT32


def _integers(name: str, bits: int) -> Narrow:
    if name.startswith("u"):
        return Narrow(name, DType.UINT8, 0, 2**bits - 1)
    return Narrow(name, DType.INT8, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _floats(
    name: str, highest: float, fraction: int, exponent: int, *, infinite: bool = False
) -> Narrow:
    lowest = 2.0**-127 if name == "float8e8m0" else -highest
    return Narrow(name, DType.FLOAT32, lowest, highest, fraction, exponent, infinite)


NARROW = {
    narrow.name: narrow
    for narrow in (
        _integers("int4", 4),
        _integers("uint4", 4),
        _integers("int2", 2),
        _integers("uint2", 2),
        _floats("bfloat16", float.fromhex("0x1.fep127"), 7, -126, infinite=True),
        _floats("float8e4m3fn", 448, 3, -6),
        _floats("float8e4m3fnuz", 240, 3, -7),
        _floats("float8e5m2", 57344, 2, -14, infinite=True),
        _floats("float8e5m2fnuz", 57344, 2, -15),
        _floats("float8e8m0", 2.0**127, 0, -127),
        _floats("float4e2m1", 6, 1, 0),
    )
}
"""By the name that `onnx.TensorProto.DataType` has, in lower case."""

TYPES = ", ".join([dtype.value for dtype in DType] + list(NARROW))
"""All element types, for messages."""


def type_name(number: int) -> str:
    """Return what NumPy calls an element type, or ONNX where NumPy has none; its number if none."""
    import onnx

    if number not in onnx.TensorProto.DataType.values():
        return str(number)
    name = str(onnx.TensorProto.DataType.Name(number)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def held_in(number: int) -> DType | None:
    """Return the type that holds tensors of an element type; None when there is none."""
    name = type_name(number)
    if name in NARROW:
        return NARROW[name].carrier
    return next((dtype for dtype in DType if dtype.value == name), None)


def narrow_type(number: int) -> Narrow | None:
    """Return the narrow type of a number, None for one of another type."""
    return NARROW.get(type_name(number))


def narrow_result(proto: Any, opset: int, inputs: Mapping[str, Narrow]) -> Narrow | None:
    """Return the narrow type of a node's first output: from an attribute, or from an input's type.

    `inputs` has the narrow types of values by name.
    """
    from onnx import defs

    for attribute in proto.attribute:
        if attribute.name in ("to", "dtype", "output_dtype") and attribute.i:
            return narrow_type(attribute.i)
        if attribute.name == "value" and attribute.HasField("t"):
            return narrow_type(attribute.t.data_type)
    if not any(name in inputs for name in proto.input) or not defs.has(proto.op_type):
        return None
    schema = defs.get_schema(proto.op_type, max_inclusive_version=opset)
    for index, name in enumerate(proto.input):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        if name in inputs and formal.type_str == schema.outputs[0].type_str:
            return inputs[name]
    return None
