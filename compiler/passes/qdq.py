"""A graph quantized by ONNX Runtime (QDQ) to an integer graph with the same quantization points."""

from collections.abc import Sequence

import numpy as np

from ..graph import DType, Graph, Node, Value
from ..ops.elementwise import Add, Cast
from ..ops.linear import Conv2d, Dense
from ..ops.quantize import DequantizeLinear, QuantizeLinear
from ..ops.reduce import Softmax
from ..ops.shape import Concat
from .qdq_constants import Constants
from .qdq_exact import Agreement, requantization
from .qdq_hoist import hoist
from .qdq_kernels import Tensor
from .qdq_qlinear import average, softmax
from .quantize_choose import requantize
from .quantize_emit import UINT8_SHIFT, IntegerSum, IntegerWriter, Quantization, Quantized
from .quantize_groups import MOVEMENT, Group, begin, grow, is_selection
from .quantize_numbers import Requantization, Sum

TARGET = 2.0**-12
"""Units of the last place: what of the error of requantization is not worth another pass, where
ONNX Runtime has no integer kernel to be equal to."""


def is_quantized(graph: Graph) -> bool:
    """Whether a graph says itself how its tensors are quantized."""
    return any(isinstance(node.op, DequantizeLinear) for node in graph.nodes)


def from_qdq(graph: Graph) -> tuple[Graph, tuple[Agreement, ...]]:
    """Return the graph with DequantizeLinear, operators, QuantizeLinear as integer layers.

    And how far their results are ONNX Runtime's.

        DequantizeLinear, Conv, Relu,    →    Conv2d of int8, Add, ShiftRight, Mul, ShiftRight,
        QuantizeLinear                        Maximum, Minimum, Cast

    What does not become one runs in float between its own DequantizeLinear and QuantizeLinear.
    uint8 tensors become int8. Inputs and outputs keep their names and types.
    """
    reader = _Reader(hoist(graph))
    for node in reader.graph.nodes:
        reader.visit(node)
    return reader.writer.finish(), tuple(reader.agreements)


def _runs_as_uint8(graph: Graph) -> bool:
    """Whether ONNX Runtime's kernels see uint8, as far as they are integer kernels.

    On x86 it makes uint8 of int8 activations, unless one is read more than once; its int8 kernels
    are then used with the session's entry `session.qdqisint8allowed` only.
    """
    made = [node.output for node in graph.nodes if isinstance(node.op, QuantizeLinear)]
    return all(value.dtype is not DType.INT8 or _readers(graph, value) < 2 for value in made)


def _readers(graph: Graph, value: Value) -> int:
    """Return how many nodes read a value, those counted that do so through a DequantizeLinear."""
    readers = graph.consumers(value)
    return sum(
        len(graph.consumers(node.output)) if isinstance(node.op, DequantizeLinear) else 1
        for node in readers
    )


class _Reader:
    """Walks the nodes; those of a group wait until the QuantizeLinear that ends it."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.constants = Constants(graph)
        weights_of = self.constants.weights_of
        self.writer = IntegerWriter(graph, lambda value: None, weights_of, self._choose)
        self.agreements: list[Agreement] = []
        self.shift = UINT8_SHIFT if _runs_as_uint8(graph) else 0
        self.waiting: dict[Node, Group] = {}
        self.grouped: set[Node] = set()

    def visit(self, node: Node) -> None:
        writer = self.writer
        if node in self.grouped:
            return
        if isinstance(node.op, QuantizeLinear) and self.constants.meaning(node) is not None:
            self._quantize(node)
        elif isinstance(node.op, DequantizeLinear):
            self._dequantize(node)
        elif self._group(node) or self._is_softmax(node):
            return
        elif self._moves(node) and writer.move(node):
            self._store(node, writer.integer[node.output])
        else:
            writer.copy(node)

    def _tensor(self, meaning: Quantization) -> Tensor:
        return Tensor(meaning.scale, meaning.zero_point, self.shift)

    def _choose(
        self,
        group: Group,
        sums: IntegerSum,
        read: Sequence[Quantized],
        meaning: Quantization,
        total: Sum,
    ) -> Requantization | None:
        x = [self._tensor(item.meaning) for item in read]
        found = requantization(group, sums, x, self._tensor(meaning), total)
        if found is not None:
            self.agreements.append(found[1])
            return found[0]
        near = requantize(total, target=TARGET, exact=True, biased=sums.biased)
        if near is not None:
            self.agreements.append(Agreement(group.layer, 0, None))
        return near

    def _moves(self, node: Node) -> bool:
        if not isinstance(node.op, MOVEMENT) and not is_selection(node, self.constants.known):
            return False
        kinds = (DType.FLOAT32, DType.INT8, DType.UINT8)
        data = [value for value in node.inputs if value.dtype in kinds]
        return bool(data) and all(value in self.writer.integer for value in data)

    def _store(self, node: Node, quantized: Quantized) -> None:
        """Keep integers as the graph's own type as well, if not only DequantizeLinear read them."""
        readers = self.graph.consumers(node.output)
        plain = all(isinstance(reader.op, DequantizeLinear) for reader in readers)
        real = node.output.dtype is DType.FLOAT32
        if not real and (not plain or node.output in self.graph.outputs):
            self.writer.float[node.output] = self._stored(node, quantized.value)

    def _group(self, node: Node) -> bool:
        """Start a group, to be written when its QuantizeLinear comes; False when there is none."""
        group = begin(node, self.constants.known)
        if group is None:
            return False
        if isinstance(node.op, (Conv2d, Dense)) and self.constants.integers(node.inputs[1]) is None:
            return False
        if any(value not in self.writer.integer for value in group.operands):
            return False
        group = grow(group, self.graph, self.constants.known, self.grouped, residual=True)
        end = self._end(group.last)
        if end is None:
            return False
        self.waiting[end] = group
        self.grouped.update(group.nodes)
        return True

    def _end(self, value: Value) -> Node | None:
        """Return the QuantizeLinear which is all that reads a value; None without."""
        node = self.graph.only_consumer(value)
        if node is None or not isinstance(node.op, QuantizeLinear):
            return None
        return None if self.constants.meaning(node) is None else node

    def _quantize(self, node: Node) -> None:
        writer = self.writer
        meaning = self.constants.meaning(node)
        assert meaning is not None
        source = node.inputs[0]
        group = self.waiting.pop(node, None)
        quantized: Quantized | None = None
        if group is not None:
            quantized = self._averaged(group, meaning) or writer.add_group(group, meaning)
            if quantized is None:
                for part in group.nodes:
                    writer.copy(part)
        elif source in writer.integer:
            quantized = self._requantized(node.layer, source, meaning)
        else:
            quantized = self._concatenated(source, meaning) or self._softmax(source, meaning)
        if quantized is None:
            quantized = writer.quantized(source, meaning)
        writer.integer[node.output] = quantized
        self._store(node, quantized)

    def _averaged(self, group: Group, meaning: Quantization) -> Quantized | None:
        """Return an average that has to be computed as ONNX Runtime does, on the CPU; else None."""
        held = self.writer.integer[group.operands[0]]
        x, y = self._tensor(held.meaning), self._tensor(meaning)
        op = average(group, x, y, held.low, held.high)
        if op is None:
            return None
        name = f"{group.last.name}.int8"
        value = self.writer.builder.add(op, held.value, layer=group.layer, name=name)
        return Quantized(value, meaning)

    def _is_softmax(self, node: Node) -> bool:
        """Whether a node is the Softmax of integers which become integers again."""
        if not isinstance(node.op, Softmax) or node.op.log or self._end(node.output) is None:
            return False
        return node.inputs[0] in self.writer.integer

    def _softmax(self, source: Value, meaning: Quantization) -> Quantized | None:
        """Return a Softmax as ONNX Runtime computes it, on the CPU; None of other values."""
        node = self.graph.producer(source)
        if node is None or not self._is_softmax(node):
            return None
        held = self.writer.integer[node.inputs[0]]
        op = softmax(node, self._tensor(held.meaning), self._tensor(meaning))
        name = f"{source.name}.int8"
        value = self.writer.builder.add(op, held.value, layer=node.layer, name=name)
        return Quantized(value, meaning)

    def _requantized(self, layer: str, source: Value, meaning: Quantization) -> Quantized | None:
        """Return an integer value with another meaning, itself when it has that one."""
        quantized = self.writer.integer[source]
        if quantized.meaning == meaning:
            return quantized
        one, zero = np.ones(()), np.zeros(())
        return self.writer.add_group(Group(layer, None, (source,), source, (), one, zero), meaning)

    def _concatenated(self, source: Value, meaning: Quantization) -> Quantized | None:
        """Return a Concat of integers of several meanings, each brought to that of the result."""
        node = self.graph.producer(source)
        if node is None or not isinstance(node.op, Concat):
            return None
        if any(value not in self.writer.integer for value in node.inputs):
            return None
        parts = [self._requantized(node.layer, value, meaning) for value in node.inputs]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return None
        values = [part.value for part in found]
        value = self.writer.builder.add(node.op, *values, layer=node.layer)
        low, high = min(part.low for part in found), max(part.high for part in found)
        return Quantized(value, meaning, low, high)

    def _stored(self, node: Node, value: Value) -> Value:
        """Return int8 as the type that the QuantizeLinear gave."""
        if node.output.dtype is DType.INT8:
            return value
        return self._shifted(value, UINT8_SHIFT, DType.UINT8, node.layer)

    def _shifted(self, value: Value, amount: int, dtype: DType, layer: str) -> Value:
        builder = self.writer.builder
        wide = builder.add(Cast(DType.INT32), value, layer=layer)
        shift = builder.constant(np.int32(amount), f"{layer}.const")
        return builder.add(Cast(dtype), builder.add(Add(), wide, shift, layer=layer), layer=layer)

    def _dequantize(self, node: Node) -> None:
        writer = self.writer
        source = node.inputs[0]
        arrays = [self.graph.constants.get(value) for value in node.inputs]
        known = [array for array in arrays if array is not None]
        if len(known) == len(arrays):
            (result,) = node.op.evaluate(*known)
            writer.float[node.output] = writer.builder.constant(result, f"{node.output.name}.float")
            return
        meaning = self.constants.meaning(node)
        if meaning is None:
            writer.copy(node)
            return
        if source not in writer.integer:
            value = writer.as_float(source)
            if value.dtype is DType.UINT8:
                value = self._shifted(value, -UINT8_SHIFT, DType.INT8, node.layer)
            writer.integer[source] = Quantized(value, meaning)
        held = writer.integer[source]
        writer.integer[node.output] = Quantized(held.value, meaning, held.low, held.high)
