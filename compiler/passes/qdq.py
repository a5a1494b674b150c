"""A graph quantized by ONNX Runtime (QDQ) to an integer graph with the same quantization points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import DType, Graph, Node, Value
from ..ops.elementwise import Add, Cast
from ..ops.linear import Conv2d, Dense
from ..ops.pool import QLinearAveragePool, SumPool2d
from ..ops.quantize import DequantizeLinear, QuantizeLinear
from ..ops.shape import Concat, Reshape, Transpose
from .qdq_exact import Agreement, in_integers, is_average, requantization
from .qdq_kernels import Tensor
from .quantize_choose import requantize
from .quantize_emit import IntegerSum, IntegerWriter, Quantization, Quantized, Weights
from .quantize_groups import MOVEMENT, Group, begin, grow, is_selection
from .quantize_numbers import Reals, Requantization, Sum

TARGET = 2.0**-12
"""Units of the last place: what of the error of requantization is not worth another pass, where
ONNX Runtime has no integer kernel to be equal to."""
UINT8_SHIFT = 128
"""uint8 is held as int8: integer and zero point are both this much less."""


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
    reader = _Reader(graph)
    for node in graph.nodes:
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
        self.writer = IntegerWriter(graph, lambda value: None, self._weights_of, self._choose)
        self.agreements: list[Agreement] = []
        self.shift = UINT8_SHIFT if _runs_as_uint8(graph) else 0
        self.reals: dict[Value, Reals | None] = {}
        self.waiting: dict[Node, Group] = {}
        self.grouped: set[Node] = set()

    def visit(self, node: Node) -> None:
        writer = self.writer
        if node in self.grouped:
            return
        if isinstance(node.op, QuantizeLinear) and self._meaning(node) is not None:
            self._quantize(node)
        elif isinstance(node.op, DequantizeLinear):
            self._dequantize(node)
        elif self._group(node):
            return
        elif not self._moves(node) or not writer.move(node):
            writer.copy(node)

    def _known(self, value: Value) -> Reals | None:
        """Return the real value of a constant, also of one that is quantized or reshaped."""
        if value not in self.reals:
            self.reals[value] = self._resolve(value)
        return self.reals[value]

    def _resolve(self, value: Value) -> Reals | None:
        array = self.graph.constants.get(value)
        if array is not None:
            return array.astype(np.float64) if value.dtype is DType.FLOAT32 else None
        node = self.graph.producer(value)
        if node is not None and isinstance(node.op, DequantizeLinear):
            parts = self._constant(value)
            return None if parts is None else (parts[0] - parts[2]) * parts[1]
        if node is not None and isinstance(node.op, (Reshape, Transpose)):
            inner = self._known(node.inputs[0])
            return None if inner is None else node.op.evaluate(inner)[0]
        return None

    def _constant(self, value: Value) -> tuple[NDArray[Any], Reals, NDArray[Any]] | None:
        """Return integers, scales and zero points, all of one shape, of a quantized constant."""
        node = self.graph.producer(value)
        if node is None or not isinstance(node.op, (DequantizeLinear, Reshape, Transpose)):
            return None
        if not isinstance(node.op, DequantizeLinear):
            inner = self._constant(node.inputs[0])
            if inner is None:
                return None
            moved = [node.op.evaluate(part)[0] for part in inner]
            return moved[0], moved[1], moved[2]
        arrays = [self.graph.constants.get(item) for item in node.inputs]
        integers, scale, zero_point = arrays
        if integers is None or scale is None or zero_point is None:
            return None
        along = [1] * integers.ndim
        if scale.ndim:
            along[node.op.axis] = -1
        scale = np.broadcast_to(scale.astype(np.float64).reshape(along), integers.shape)
        zero_point = np.broadcast_to(zero_point.astype(np.int64).reshape(along), integers.shape)
        return integers.astype(np.int64), scale, zero_point

    def _meaning(self, node: Node) -> Quantization | None:
        """Return what the integers of a QuantizeLinear or DequantizeLinear mean, as int8."""
        scale = self.graph.constants.get(node.inputs[1])
        zero_point = self.graph.constants.get(node.inputs[2])
        if scale is None or zero_point is None or scale.ndim:
            return None
        if zero_point.dtype == np.int8:
            return Quantization(scale.item(), zero_point.item())
        if zero_point.dtype == np.uint8:
            return Quantization(scale.item(), zero_point.item() - UINT8_SHIFT)
        return None

    def _weights_of(self, group: Group, operand: Quantization) -> Weights | None:
        assert group.anchor is not None
        parts = self._constant(group.anchor.inputs[1])
        if parts is None:
            return None
        integers, scale, zero_point = parts
        flat = scale.reshape(scale.shape[0], -1)
        if (flat != flat[:, :1]).any():
            return None
        channels = flat[:, 0]
        if (channels == channels[0]).all():
            channels = np.asarray(channels[0])
        return Weights((integers - zero_point).astype(np.int16), channels)

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
        if not isinstance(node.op, MOVEMENT) and not is_selection(node, self._known):
            return False
        data = [value for value in node.inputs if value.dtype is DType.FLOAT32]
        return bool(data) and all(value in self.writer.integer for value in data)

    def _group(self, node: Node) -> bool:
        """Start a group, to be written when its QuantizeLinear comes; False when there is none."""
        group = begin(node, self._known)
        if group is None:
            return False
        if isinstance(node.op, (Conv2d, Dense)) and self._constant(node.inputs[1]) is None:
            return False
        if any(value not in self.writer.integer for value in group.operands):
            return False
        group = grow(group, self.graph, self._known, self.grouped, residual=True)
        end = self.graph.only_consumer(group.last)
        if end is None or not isinstance(end.op, QuantizeLinear) or self._meaning(end) is None:
            return False
        self.waiting[end] = group
        self.grouped.update(group.nodes)
        return True

    def _quantize(self, node: Node) -> None:
        writer = self.writer
        meaning = self._meaning(node)
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
            quantized = self._concatenated(source, meaning)
        if quantized is None:
            quantized = writer.quantized(source, meaning)
        writer.integer[node.output] = quantized
        readers = self.graph.consumers(node.output)
        plain = all(isinstance(reader.op, DequantizeLinear) for reader in readers)
        if not plain or node.output in self.graph.outputs:
            writer.float[node.output] = self._stored(node, quantized.value)

    def _averaged(self, group: Group, meaning: Quantization) -> Quantized | None:
        """Return an average that has to be computed as ONNX Runtime does, on the CPU; else None."""
        if not is_average(group):
            return None
        assert group.anchor is not None
        held = self.writer.integer[group.operands[0]]
        x, y = self._tensor(held.meaning), self._tensor(meaning)
        if in_integers(group, x, y, held.low, held.high):
            return None
        op = group.anchor.op
        assert isinstance(op, SumPool2d)
        scales = x.scale, x.zero_point, y.scale, y.zero_point
        mean = QLinearAveragePool(op.window, op.strides, *scales, self.shift)
        name = f"{group.last.name}.int8"
        value = self.writer.builder.add(mean, held.value, layer=group.layer, name=name)
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
        meaning = self._meaning(node)
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
