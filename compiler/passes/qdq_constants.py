"""What the constants of a QDQ graph are: real values, integer weights, meanings of quantizers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import DType, Graph, Node, Value
from ..ops.quantize import DequantizeLinear
from ..ops.shape import Broadcast, Reshape, Transpose
from .quantize_emit import UINT8_SHIFT, Quantization, Weights
from .quantize_groups import Group
from .quantize_numbers import Reals


class Constants:
    """Reads the constants of a graph, also those that are quantized or reshaped."""

    def __init__(self, graph: Graph):
        self._graph = graph
        self._reals: dict[Value, Reals | None] = {}

    def known(self, value: Value) -> Reals | None:
        """Return the real value of a constant, also of one that is quantized or reshaped."""
        if value not in self._reals:
            self._reals[value] = self._resolve(value)
        return self._reals[value]

    def _resolve(self, value: Value) -> Reals | None:
        array = self._graph.constants.get(value)
        if array is not None:
            return array.astype(np.float64) if value.dtype is DType.FLOAT32 else None
        node = self._graph.producer(value)
        if node is not None and isinstance(node.op, DequantizeLinear):
            parts = self.integers(value)
            return None if parts is None else (parts[0] - parts[2]) * parts[1]
        if node is not None and isinstance(node.op, (Broadcast, Reshape, Transpose)):
            inner = self.known(node.inputs[0])
            return None if inner is None else node.op.evaluate(inner)[0]
        return None

    def integers(self, value: Value) -> tuple[NDArray[Any], Reals, NDArray[Any]] | None:
        """Return integers, scales and zero points, all of one shape, of a quantized constant."""
        node = self._graph.producer(value)
        if node is None or not isinstance(node.op, (DequantizeLinear, Reshape, Transpose)):
            return None
        if not isinstance(node.op, DequantizeLinear):
            inner = self.integers(node.inputs[0])
            if inner is None:
                return None
            moved = [node.op.evaluate(part)[0] for part in inner]
            return moved[0], moved[1], moved[2]
        arrays = [self._graph.constants.get(item) for item in node.inputs]
        integers, scale, zero_point = arrays
        if integers is None or scale is None or zero_point is None:
            return None
        along = [1] * integers.ndim
        if scale.ndim:
            along[node.op.axis] = -1
        scale = np.broadcast_to(scale.astype(np.float64).reshape(along), integers.shape)
        zero_point = np.broadcast_to(zero_point.astype(np.int64).reshape(along), integers.shape)
        return integers.astype(np.int64), scale, zero_point

    def meaning(self, node: Node) -> Quantization | None:
        """Return what the integers of a QuantizeLinear or DequantizeLinear mean, as int8."""
        scale = self._graph.constants.get(node.inputs[1])
        zero_point = self._graph.constants.get(node.inputs[2])
        if scale is None or zero_point is None or scale.ndim:
            return None
        if zero_point.dtype == np.int8:
            return Quantization(scale.item(), zero_point.item())
        if zero_point.dtype == np.uint8:
            return Quantization(scale.item(), zero_point.item() - UINT8_SHIFT)
        return None

    def weights_of(self, group: Group, operand: Quantization) -> Weights | None:
        assert group.anchor is not None
        parts = self.integers(group.anchor.inputs[1])
        if parts is None:
            return None
        integers, scale, zero_point = parts
        flat = scale.reshape(scale.shape[0], -1)
        if (flat != flat[:, :1]).any():
            return None
        channels = flat[:, 0]
        if (channels == channels[0]).all():
            channels = np.asarray(channels[0])
        centred = integers - zero_point
        if np.abs(centred).max(initial=0) > np.iinfo(np.uint8).max:
            return None  # integers of 16 bits
        return Weights(centred.astype(np.int16), channels)
