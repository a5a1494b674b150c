"""The typed, immutable graph that every pass reads and returns."""

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from ..runtime.host import registry


class GraphError(ValueError):
    """A graph, or an operator's inputs, that cannot be."""


class DType(enum.Enum):
    """An element type; its value is NumPy's name of it."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    BOOL = "bool"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy type."""
        return np.dtype(self.value)

    @staticmethod
    def of(array: NDArray[Any]) -> "DType":
        """Return the element type of `array`; GraphError when it is not one of ours."""
        try:
            return DType(array.dtype.name)
        except ValueError:
            raise GraphError(
                f"element type {array.dtype.name} is not supported; "
                f"{', '.join(dtype.value for dtype in DType)} are"
            ) from None


@dataclass(frozen=True)
class TensorType:
    """Shape and element type. Every extent is known."""

    shape: tuple[int, ...]
    dtype: DType

    def __str__(self) -> str:
        return f"{self.dtype.value}({', '.join(map(str, self.shape))})"


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that flows through the graph. Identity is the object's, names are for people."""

    name: str
    shape: tuple[int, ...]
    dtype: DType

    @property
    def type(self) -> TensorType:
        """Shape and element type together."""
        return TensorType(self.shape, self.dtype)

    @property
    def size(self) -> int:
        """How many elements it has."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


@dataclass(frozen=True)
class Op(ABC):
    """What a node computes: a class per operator, its attributes as fields.

    `kernel` names the function of `runtime.host.registry` that computes it in NumPy.
    """

    kernel: ClassVar[str]

    @abstractmethod
    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        """Return the types of the outputs; GraphError when the inputs do not go together."""

    def attributes(self) -> dict[str, Any]:
        """Return the attributes as JSON can hold them: what the kernel takes besides arrays."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    def evaluate(self, *arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return the outputs for the given inputs, in NumPy."""
        return registry.run(self.kernel, self.attributes(), arrays)

    def __str__(self) -> str:
        inner = ", ".join(f"{name}={value}" for name, value in self.attributes().items())
        return f"{type(self).__name__}({inner})"


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


@dataclass(frozen=True, eq=False)
class Node:
    """One operation. `layer` names the layer of the source model that it came from."""

    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    layer: str = ""

    @property
    def output(self) -> Value:
        """The only output of an operator that has one."""
        (output,) = self.outputs
        return output

    def __str__(self) -> str:
        inputs = ", ".join(value.name for value in self.inputs)
        return f"{', '.join(map(str, self.outputs))} = {self.op}({inputs})  # {self.layer}"


def _no_constants() -> dict[Value, NDArray[Any]]:
    return {}


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order between inputs and outputs, and the arrays of constants."""

    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[Value, NDArray[Any]] = field(default_factory=_no_constants)

    @cached_property
    def _producers(self) -> dict[Value, Node]:
        return {value: node for node in self.nodes for value in node.outputs}

    @cached_property
    def _consumers(self) -> dict[Value, list[Node]]:
        users: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                users.setdefault(value, []).append(node)
        return users

    def producer(self, value: Value) -> Node | None:
        """Return the node that computes `value`; None for inputs and constants."""
        return self._producers.get(value)

    def consumers(self, value: Value) -> tuple[Node, ...]:
        """Return the nodes that read `value`, each once, in order."""
        return tuple(self._consumers.get(value, ()))

    def only_consumer(self, value: Value) -> Node | None:
        """Return the one node that reads `value`; None with several, or for a graph output."""
        users = self._consumers.get(value, ())
        return users[0] if len(users) == 1 and value not in self.outputs else None

    @property
    def values(self) -> tuple[Value, ...]:
        """Every value: inputs, constants, then what the nodes compute, in order."""
        computed = (value for node in self.nodes for value in node.outputs)
        return (*self.inputs, *self.constants, *computed)

    def verify(self) -> "Graph":
        """Return this graph, or raise GraphError naming the first node or value that is wrong.

        Checked: nodes are in topological order, every value is defined once, names are unique, the
        types of outputs are what the operators infer, and constants have the type of their value.
        """
        known: set[Value] = set()
        names: set[str] = set()

        def define(value: Value, where: str) -> None:
            if value in known or value.name in names:
                raise GraphError(f"{where} defines {value.name} a second time")
            known.add(value)
            names.add(value.name)

        for value in self.inputs:
            define(value, "the graph's inputs")
        for value, array in self.constants.items():
            define(value, "the graph's constants")
            actual = TensorType(array.shape, DType.of(array))
            if actual != value.type:
                raise GraphError(f"constant {value} holds an array of {actual}")
        for node in self.nodes:
            for value in node.inputs:
                if value not in known:
                    raise GraphError(f"{node} reads {value.name} before anything defines it")
            inferred = node.op.infer([value.type for value in node.inputs])
            if inferred != tuple(value.type for value in node.outputs):
                raise GraphError(f"{node} computes {', '.join(map(str, inferred))}")
            for value in node.outputs:
                define(value, str(node))
        for value in self.outputs:
            if value not in known:
                raise GraphError(f"graph output {value} is defined by nothing")
        return self

    def prune(self) -> "Graph":
        """Drop the nodes and constants that no output depends on. Inputs stay."""
        wanted = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.outputs):
                kept.append(node)
                wanted.update(node.inputs)
        constants = {value: array for value, array in self.constants.items() if value in wanted}
        return replace(self, nodes=tuple(reversed(kept)), constants=constants)

    def rename(self, names: Mapping[Value, str]) -> "Graph":
        """Return the graph with new values, of other names, in the place of some."""
        new = {value: replace(value, name=name) for value, name in names.items()}

        def renamed(values: Iterable[Value]) -> tuple[Value, ...]:
            return tuple(new.get(value, value) for value in values)

        nodes = [
            replace(node, inputs=renamed(node.inputs), outputs=renamed(node.outputs))
            for node in self.nodes
        ]
        constants = {new.get(value, value): array for value, array in self.constants.items()}
        return Graph(
            self.name, renamed(self.inputs), renamed(self.outputs), tuple(nodes), constants
        ).verify()

    def __str__(self) -> str:
        lines = [f"graph {self.name}({', '.join(map(str, self.inputs))})"]
        lines += [f"  const {value}" for value in self.constants]
        lines += [f"  {node}" for node in self.nodes]
        lines += [f"  return {', '.join(value.name for value in self.outputs)}"]
        return "\n".join(lines)
