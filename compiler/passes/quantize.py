"""A float graph and samples of its inputs to an integer graph (QUANTIZATION.md)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import DType, Graph, GraphError, Node, Value
from ..ops.elementwise import Maximum, Minimum
from .quantize_calibrate import Calibration, Histogram, observe
from .quantize_choose import requantize
from .quantize_emit import IntegerSum, IntegerWriter, Quantization, Quantized, Weights
from .quantize_groups import MOVEMENT, Group, begin, grow, is_selection, macs
from .quantize_numbers import Requantization, Sum

WEIGHT_MAX = 127
GOOD_ENOUGH = 1 / 8
"""Units of the last place: for less predicted error no pass over the outputs is added."""
LEAST_CHANNEL = 2.0**-10
"""No channel's weights get a scale smaller than this part of the largest channel's."""
GREATEST_BIAS = 1 << 24
"""Biases stay below this many accumulator units, at the cost of the weights' scale."""


def random_samples(graph: Graph, count: int, seed: int) -> list[dict[str, NDArray[Any]]]:
    """Return samples of the inputs: float32 standard normal, integers from 0 to 127."""
    rng = np.random.default_rng(seed)

    def draw(value: Value) -> NDArray[Any]:
        if value.dtype is DType.FLOAT32:
            return rng.standard_normal(value.shape, np.float32)
        return rng.integers(0, 2 if value.dtype is DType.BOOL else 128, value.shape).astype(
            value.dtype.numpy
        )

    return [{value.name: draw(value) for value in graph.inputs} for _ in range(count)]


def quantize(
    graph: Graph,
    samples: Sequence[Mapping[str, NDArray[Any]]],
    *,
    calibration: Calibration = Calibration.MAX,
) -> Graph:
    """Return the graph with its layers in integers, quantized for the given samples.

        Conv, Add, Relu of float32    →    QuantizeLinear at the input, Conv2d of int8, Add,
                                           Mul, ShiftRight, Maximum, Minimum, Cast,
                                           DequantizeLinear at the output

    Inputs and outputs keep their names and types. Operators without an integer form run in float,
    between DequantizeLinear and QuantizeLinear.

    Raises
    ------
    GraphError
        Without samples, for samples that are not inputs of the graph, and for constants that hold
        a NaN, or weights an infinity.
    """
    if not samples:
        raise GraphError(f"{graph.name} cannot be quantized without samples of its inputs")
    _check_constants(graph)
    plan = _plan(graph)
    histograms = observe(graph, samples, plan.measured)
    scales = plan.scales(histograms, calibration)

    def meaning_of(value: Value) -> Quantization | None:
        scale = scales.get(value)
        return None if scale is None else Quantization(scale)

    def weights_of(group: Group, operand: Quantization) -> Weights | None:
        assert group.anchor is not None
        array = graph.constants.get(group.anchor.inputs[1])
        return None if array is None else quantized_weights(array, group, operand.scale)

    writer = IntegerWriter(graph, meaning_of, weights_of, _choose)
    groups = {group.nodes[-1]: group for group in plan.groups}
    inner = {node for group in plan.groups for node in group.nodes[:-1]}
    for node in graph.nodes:
        group = groups.get(node)
        if group is not None:
            meaning = meaning_of(group.last)
            quantized = None if meaning is None else writer.add_group(group, meaning)
            if quantized is not None:
                writer.integer[group.last] = quantized
            else:
                for part in group.nodes:
                    writer.copy(part)
        elif node in inner:
            continue
        elif node not in plan.movements or not writer.move(node):
            writer.copy(node)
    return writer.finish()


def _choose(
    group: Group, sums: IntegerSum, read: Sequence[Quantized], meaning: Quantization, total: Sum
) -> Requantization | None:
    return requantize(total, target=GOOD_ENOUGH, exact=False, biased=sums.biased)


def quantized_weights(array: NDArray[Any], group: Group, operand_scale: float) -> Weights:
    """Return float weights (O, ...) as int8, symmetric, with a scale for each output channel."""
    flat = np.abs(array.astype(np.float64)).reshape(array.shape[0], -1)
    scale = flat.max(axis=1, initial=0.0) / WEIGHT_MAX
    scale = np.maximum(scale, scale.max() * LEAST_CHANNEL)
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.abs(group.offset / group.factor).ravel()
    bias = np.broadcast_to(np.nan_to_num(bias, posinf=0.0), scale.shape)
    scale = np.maximum(scale, bias / (operand_scale * GREATEST_BIAS))
    scale = np.where(scale > 0, scale, 1.0)
    along = (-1,) + (1,) * (array.ndim - 1)
    steps = np.rint(array.astype(np.float64) / scale.reshape(along))
    return Weights(np.clip(steps, -WEIGHT_MAX, WEIGHT_MAX).astype(np.int16), scale)


@dataclass(frozen=True)
class _Plan:
    """What becomes integers, and which values share one scale."""

    groups: tuple[Group, ...]
    movements: frozenset[Node]
    measured: tuple[Value, ...]
    shared: "_Classes"

    def scales(
        self, histograms: Mapping[Value, Histogram], calibration: Calibration
    ) -> dict[Value, float]:
        """Return the scale of every value that has, or may get, an integer form."""
        merged: dict[Value, Histogram] = {}
        for value in self.measured:
            merged.setdefault(self.shared.find(value), Histogram()).merge(histograms[value])
        found = {value: histogram.scale(calibration) for value, histogram in merged.items()}
        members = {*self.shared.parents, *self.measured}
        return {
            value: found[self.shared.find(value)]
            for value in members
            if self.shared.find(value) in found
        }


class _Classes:
    """Values that have to share one scale, as sets that are joined."""

    def __init__(self) -> None:
        self.parents: dict[Value, Value] = {}

    def find(self, value: Value) -> Value:
        """Return the one value that stands for the set of `value`."""
        while value in self.parents:
            value = self.parents[value]
        return value

    def join(self, values: Iterable[Value]) -> None:
        """Put values into one set."""
        first, *rest = (self.find(value) for value in values)
        for value in rest:
            if self.find(value) is not first:
                self.parents[self.find(value)] = first


def _check_constants(graph: Graph) -> None:
    for node in graph.nodes:
        for value in node.inputs:
            array = graph.constants.get(value)
            if array is None or array.dtype.kind != "f" or np.isfinite(array).all():
                continue
            if np.isnan(array).any() or macs(node):
                what = "a NaN" if np.isnan(array).any() else "an infinity"
                raise GraphError(
                    f"{graph.name}, layer {node.layer}: {value.name} holds {what}, for which there "
                    f"is no integer; is the model what it was when it was trained?"
                )


def _plan(graph: Graph) -> _Plan:
    known = {
        value: array.astype(np.float64)
        for value, array in graph.constants.items()
        if value.dtype is DType.FLOAT32
        and (np.isfinite(array).all() or all(_is_bound(n) for n in graph.consumers(value)))
    }.get
    taken: set[Node] = set()
    groups: list[Group] = []

    def accept(group: Group, residual: bool) -> Group:
        group = grow(group, graph, known, taken, residual=residual, leaky=True)
        groups.append(group)
        taken.update(group.nodes)
        return group

    # The largest layer takes the residual addition, into which two may lead.
    for node in sorted(graph.nodes, key=macs, reverse=True):
        group = begin(node, known) if node not in taken and macs(node) else None
        if group is not None and node.inputs[1] in graph.constants:
            accept(group, residual=True)

    integers = {value for value in graph.inputs if value.dtype is DType.FLOAT32}
    integers.update(group.last for group in groups)
    movements: set[Node] = set()
    shared = _Classes()
    for node in graph.nodes:
        data = [value for value in node.inputs if value.dtype is DType.FLOAT32]
        if node in taken or macs(node):
            continue
        if isinstance(node.op, MOVEMENT) or is_selection(node, known):
            if data and integers.issuperset(data):
                movements.add(node)
                shared.join([*data, node.output])
                integers.add(node.output)
            continue
        group = begin(node, known)
        if group is not None and integers.issuperset(_read(group)):
            integers.add(accept(group, residual=False).last)
    moved = {node.output for node in movements}
    measured = {value for group in groups for value in (group.last, *_read(group))}
    for node in movements:
        measured.update(value for value in node.inputs if value.dtype is DType.FLOAT32)
    order = [value for value in graph.values if value in measured and value not in moved]
    return _Plan(tuple(groups), frozenset(movements), tuple(order), shared)


def _is_bound(node: Node) -> bool:
    return isinstance(node.op, Maximum | Minimum)


def _read(group: Group) -> tuple[Value, ...]:
    return group.operands if group.addend is None else (*group.operands, group.addend.value)
