"""Building a graph node by node, with inferred types and unique names."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import DType, Graph, GraphError, Node, Op, Value


class GraphBuilder:
    """Collects inputs, constants and nodes in order, and makes the graph of them.

    Values of another graph may be adopted as they are (`adopt_input`, `adopt`), so
    that a pass copies what it does not change.
    """

    def __init__(self, name: str):
        self.name = name
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self.constants: dict[Value, NDArray[Any]] = {}
        self._names: set[str] = set()
        self._shared: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    def unique(self, name: str) -> str:
        """Return `name`, or `name_1`, `name_2`, ... when it is taken; it is taken afterwards."""
        candidate, count = name, 0
        while candidate in self._names:
            count += 1
            candidate = f"{name}_{count}"
        self._names.add(candidate)
        return candidate

    def input(self, name: str, shape: Sequence[int], dtype: DType) -> Value:
        """Add a graph input."""
        value = Value(self.unique(name), tuple(shape), dtype)
        self.inputs.append(value)
        return value

    def constant(self, array: NDArray[Any] | np.generic, name: str = "const") -> Value:
        """Add a constant; small ones (64 bytes) that are equal share one value."""
        array = np.asarray(array)
        key = (array.dtype.name, array.shape, array.tobytes() if array.nbytes <= 64 else b"")
        if array.nbytes <= 64 and key in self._shared:
            return self._shared[key]
        value = Value(self.unique(name), array.shape, DType.of(array))
        self.constants[value] = array
        if array.nbytes <= 64:
            self._shared[key] = value
        return value

    def add(self, op: Op, *inputs: Value, layer: str, name: str = "") -> Value:
        """Add a node of one output, named `name` or after its layer, and return that output."""
        (output,) = self.add_many(op, *inputs, layer=layer, names=(name,))
        return output

    def add_many(
        self, op: Op, *inputs: Value, layer: str, names: Sequence[str] = ()
    ) -> tuple[Value, ...]:
        """Add a node and return its outputs."""
        default = f"{layer}.{type(op).__name__.lower()}"
        outputs: list[Value] = []
        for index, kind in enumerate(op.infer([value.type for value in inputs])):
            name = names[index] if index < len(names) and names[index] else default
            outputs.append(Value(self.unique(name), kind.shape, kind.dtype))
        self.nodes.append(Node(op, inputs, tuple(outputs), layer))
        return tuple(outputs)

    def adopt_input(self, value: Value) -> None:
        """Add a graph input that is another graph's value."""
        self._names.add(value.name)
        self.inputs.append(value)

    def adopt(self, value: Value, array: NDArray[Any]) -> Value:
        """Add a constant that is another graph's value."""
        if value not in self.constants:
            self._names.add(value.name)
            self.constants[value] = array
        return value

    def reserve(self, names: Iterable[str]) -> None:
        """Take names that will be given later, so that no value added before gets one of them."""
        self._names.update(names)

    def build(self, outputs: Sequence[Value]) -> Graph:
        """Return the graph, verified and without what no output needs."""
        if not outputs:
            raise GraphError(f"graph {self.name} has no outputs")
        graph = Graph(
            self.name, tuple(self.inputs), tuple(outputs), tuple(self.nodes), self.constants
        )
        return graph.prune().verify()
