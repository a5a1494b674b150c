"""One ONNX node as the handlers of operators see it: its inputs, attributes, and how to answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..builder import GraphBuilder
from ..graph import DType, Op, Value
from ..ops.quantize import DequantizeLinear, QuantizeLinear
from ..ops.shape import Reshape
from .onnx_types import TYPES, Narrow, held_in, type_name


class ModelError(ValueError):
    """A model file that cannot be read, or holds what is not supported; always one line."""

    def __init__(self, message: str):
        super().__init__("".join(c if c.isprintable() else "?" for c in message))


@dataclass(frozen=True)
class OnnxNode:
    """A node whose inputs have become values; missing optional inputs are None.

    Attributes are as `onnx.helper.get_attribute_value` gives them, strings decoded. `narrow` is the
    narrow type of the first output, `narrow_inputs` those of the inputs, None for other types.
    """

    where: str
    operator: str
    layer: str
    opset: int
    inputs: tuple[Value | None, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    builder: GraphBuilder
    narrow: Narrow | None = None
    narrow_inputs: tuple[Narrow | None, ...] = ()

    def fail(self, problem: str) -> NoReturn:
        """Raise ModelError: file, node and operator, then the problem."""
        raise ModelError(f"{self.where}: {self.operator} node {self.layer}: {problem}")

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute, or the default when the node has none of that name."""
        return self.attributes.get(name, default)

    def dtype(self, name: str, default: DType) -> DType:
        """Return what holds the element type that an attribute names; ModelError for no type."""
        number = int(self.attribute(name, 0))
        if not number:
            return default
        dtype = held_in(number)
        if dtype is None:
            self.fail(f"its {name} is {type_name(number)}; {TYPES} are supported")
        return dtype

    def optional(self, index: int) -> Value | None:
        """Return an input, or None when it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def value(self, index: int) -> Value:
        """Return an input; ModelError when it is left out."""
        value = self.optional(index)
        if value is None:
            self.fail(f"input {index} is missing")
        return value

    def is_constant(self, value: Value) -> bool:
        """Whether the value is known now."""
        return value in self.builder.constants

    def array(self, index: int, what: str) -> NDArray[Any]:
        """Return an input that has to be known at compile time; ModelError when it is not."""
        value = self.value(index)
        if value not in self.builder.constants:
            self.fail(
                f"its {what} {value.name} is computed while the network runs; it has to be a "
                f"constant (export with fixed shapes, or fold constants first)"
            )
        return self.builder.constants[value]

    def integers(self, index: int, attribute: str, default: Any = None) -> Any:
        """Return a list of integers from an attribute or, in later opsets, from an input."""
        if self.optional(index) is not None:
            return [int(item) for item in self.array(index, attribute).ravel()]
        found = self.attribute(attribute, default)
        return None if found is None else [int(item) for item in found]

    def constant(self, array: NDArray[Any] | np.generic) -> Value:
        """Return a constant value."""
        return self.builder.constant(array, f"{self.layer}.const")

    def scalar(self, number: float, like: Value) -> Value:
        """Return a scalar constant of the element type of `like`."""
        return self.constant(np.asarray(number, like.dtype.numpy))

    def emit(self, op: Op, *inputs: Value, name: str = "") -> Value:
        """Add an operation, or its result when all inputs are known, and return its output.

        Quantization of constants stays in the graph: it says how they were quantized.
        """
        quantization = isinstance(op, (QuantizeLinear, DequantizeLinear))
        if inputs and all(map(self.is_constant, inputs)) and not quantization:
            op.infer([value.type for value in inputs])
            (array,) = op.evaluate(*(self.builder.constants[value] for value in inputs))
            return self.builder.constant(array, name or f"{self.layer}.const")
        return self.builder.add(op, *inputs, layer=self.layer, name=name)

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """Return the value in another shape, itself when that is its shape."""
        return value if value.shape == tuple(shape) else self.emit(Reshape(tuple(shape)), value)

    def axis(self, number: int, rank: int) -> int:
        """Return an axis counted from the front; ModelError when there is no such axis."""
        if not -rank <= number < rank:
            self.fail(f"axis {number} is outside a tensor of rank {rank}")
        return number % rank

    def inside(self, indices: Value, extent: int) -> None:
        """Refuse indices that are known, and outside of an axis; negative ones are from its end."""
        known = self.builder.constants.get(indices)
        if known is not None and known.size and not -extent <= known.min() <= known.max() < extent:
            self.fail(f"index {known.min()} or {known.max()} is outside an axis of {extent}")

    def is_float(self, value: Value) -> bool:
        """Whether the value has fractions."""
        return value.dtype.numpy.kind == "f"

    def with_inputs(self, *inputs: Value | None) -> "OnnxNode":
        """Return the node with other inputs."""
        return replace(self, inputs=inputs)

    def changed(self, attributes: Mapping[str, Any], *inputs: Value | None) -> "OnnxNode":
        """Return the node with other attributes and inputs."""
        return replace(self, attributes=attributes, inputs=inputs)

    def truths(self, *values: Value) -> None:
        """Refuse inputs that are not bool."""
        for value in values:
            if value.dtype is not DType.BOOL:
                self.fail(f"{value.name} is {value.type}; only bool is supported here")

    def fractions(self, *values: Value) -> None:
        """Refuse inputs that are no floats, of whatever size."""
        for value in values:
            if not self.is_float(value):
                self.fail(f"{value.name} is {value.type}; only floats are supported here")

    def floats(self, *values: Value) -> None:
        """Refuse inputs that are not float32."""
        for value in values:
            if value.dtype is not DType.FLOAT32:
                self.fail(f"{value.name} is {value.type}; only float32 is supported here")
