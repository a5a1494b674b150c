"""Writing an integer graph: groups as chains of integer primitives, the rest in float between."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import floor, inf, isinf

import numpy as np
from numpy.typing import NDArray

from ..builder import GraphBuilder
from ..graph import DType, Graph, GraphError, Node, Value
from ..ops.elementwise import Add, Cast, Maximum, Minimum, Mul, ShiftRight
from ..ops.linear import Conv2d, Dense
from ..ops.pool import SumPool2d
from ..ops.quantize import DequantizeLinear, QuantizeLinear
from ..ops.shape import Concat, Pad
from .quantize_groups import Group
from .quantize_numbers import Reals, Requantization, Step, Steps, Sum, Term

INT8_MIN, INT8_MAX = -128, 127

UINT8_SHIFT = 128
"""uint8 is held as int8: integer and zero point are both this much less."""


@dataclass(frozen=True)
class Quantization:
    """real = (integer - zero_point) * scale, of an int8 tensor."""

    scale: float
    zero_point: int = 0

    def nearest(self, real: float) -> int:
        """Return the integer, within int8, nearest to a real number."""
        if isinf(real):
            return INT8_MIN if real < 0 else INT8_MAX
        return int(np.clip(np.rint(real / self.scale) + self.zero_point, INT8_MIN, INT8_MAX))


@dataclass(frozen=True, eq=False)
class Quantized:
    """An int8 value, what its integers mean, and the range that they stay in."""

    value: Value
    meaning: Quantization
    low: int = INT8_MIN
    high: int = INT8_MAX


@dataclass(frozen=True, eq=False)
class Weights:
    """Integer weights (O, ...) and the scale of each output channel, (O,) or () for all.

    Those outside int8 (uint8 with a zero point) are split in two that are inside.
    """

    array: NDArray[np.int16]
    scale: Reals


@dataclass(frozen=True, eq=False)
class IntegerSum:
    """An int32 value in the new graph: real = (integer - correction) * scale.

    It lies from `low` to `high`. `biased` says that an offset may be added first.
    """

    value: Value
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    scale: Reals
    correction: NDArray[np.int64]
    biased: bool


LEAK_SHIFT = 15
"""Bits after the point of a LeakyRelu's slope, so that it and its rounding are immediates."""


@dataclass(frozen=True)
class Leak:
    """max(x, slope * x) in integers: slope * x is (factor * x + half) >> LEAK_SHIFT.

    `ends` are those that x is clipped to, so that the result is.
    """

    factor: int
    ends: tuple[int, int]

    @staticmethod
    def of(slope: float, low: int, high: int) -> "Leak":
        """Return the numbers of a slope, for results from `low` to `high`."""
        factor, least = round(slope * (1 << LEAK_SHIFT)), floor(min(low, 0) / slope)
        while Leak(factor, (least, high)).least(least) < min(low, 0):
            least += 1
        return Leak(factor, (least, high))

    def least(self, x: int) -> int:
        """Return what becomes of the least x."""
        return max(x, (self.factor * x + (1 << (LEAK_SHIFT - 1))) >> LEAK_SHIFT)


Choose = Callable[
    [Group, IntegerSum, Sequence[Quantized], Quantization, Sum], Requantization | None
]
"""Chooses the steps for a group: what its anchor gives, what it reads (operands, then the addend),
what its result means, what is to be requantized. None when no steps keep within 32 bits."""


class IntegerWriter:
    """The new graph while it grows, and the forms that each value of the old one has in it.

    Parameters
    ----------
    graph : Graph
        What is rewritten.
    meaning_of : function
        The quantization of a float value of `graph`; None when it has none.
    weights_of : function
        The integer weights of a group's anchor, given the meaning of its operand; None when it has
        none.
    choose : Choose
        How sums become int8 again.
    """

    def __init__(
        self,
        graph: Graph,
        meaning_of: Callable[[Value], Quantization | None],
        weights_of: Callable[[Group, Quantization], Weights | None],
        choose: Choose,
    ):
        self.graph = graph
        self.builder = GraphBuilder(graph.name)
        self.meaning_of, self.weights_of = meaning_of, weights_of
        self.choose = choose
        self.integer: dict[Value, Quantized] = {}
        self.float: dict[Value, Value] = {}
        self.builder.reserve(value.name for value in graph.values)
        for value in graph.inputs:
            self.builder.adopt_input(value)
            self.float[value] = value

    # The two forms of a value

    def as_float(self, value: Value) -> Value:
        """Return the value itself in the new graph, dequantized where it is an integer there."""
        if value not in self.float:
            if value in self.graph.constants:
                self.float[value] = self.builder.adopt(value, self.graph.constants[value])
            elif value in self.integer:
                self.float[value] = self._dequantized(value)
            else:
                raise GraphError(f"{value} has not been computed yet")
        return self.float[value]

    def _dequantized(self, value: Value) -> Value:
        quantized = self.integer[value]
        parameters = self._parameters(quantized.meaning)
        producer = self.graph.producer(value)
        layer = producer.layer if producer else value.name
        return self.builder.add(
            DequantizeLinear(),
            quantized.value,
            *parameters,
            layer=layer,
            name=f"{value.name}.float",
        )

    def as_integer(self, value: Value) -> Quantized | None:
        """Return the int8 form of a float value, quantizing it now if need be; None without one."""
        if value not in self.integer:
            meaning = self.meaning_of(value)
            if meaning is None:
                return None
            self.integer[value] = self.quantized(value, meaning)
        return self.integer[value]

    def quantized(self, value: Value, meaning: Quantization) -> Quantized:
        """Return the value quantized by QuantizeLinear."""
        name = f"{value.name}.int8"
        inputs = self.as_float(value), *self._parameters(meaning)
        layer = value.name if value in self.graph.inputs else self._layer(value)
        return Quantized(
            self.builder.add(QuantizeLinear(), *inputs, layer=layer, name=name), meaning
        )

    def _layer(self, value: Value) -> str:
        producer = self.graph.producer(value)
        return producer.layer if producer else value.name

    def _parameters(self, meaning: Quantization) -> tuple[Value, Value]:
        scale = self.builder.constant(np.float32(meaning.scale), "scale")
        return scale, self.builder.constant(np.int8(meaning.zero_point), "zero_point")

    # Nodes that are no group

    def copy(self, node: Node) -> None:
        """Add a node as it is, in float."""
        inputs = [self.as_float(value) for value in node.inputs]
        outputs = self.builder.add_many(node.op, *inputs, layer=node.layer)
        self.float.update(zip(node.outputs, outputs, strict=True))

    def move(self, node: Node) -> bool:
        """Add a node that moves data, on integers; False when its inputs differ in meaning.

        What it moves is real, or the integers that stand for that.
        """
        moves = {v for v in node.inputs if v.dtype is DType.FLOAT32 or v in self.integer}
        data = [self.as_integer(v) for v in node.inputs if v in moves]
        quantized = [item for item in data if item is not None]
        meanings = {item.meaning for item in quantized}
        if len(quantized) < len(data) or len(meanings) != 1:
            return False
        (meaning,) = meanings
        op = node.op
        low, high = min(item.low for item in quantized), max(item.high for item in quantized)
        if isinstance(op, Pad):
            shift = UINT8_SHIFT if node.output.dtype is DType.UINT8 else 0
            is_real = node.output.dtype is DType.FLOAT32
            value = meaning.nearest(op.value) if is_real else int(op.value) - shift
            low, high = min(low, value), max(high, value)
            op = Pad(op.before, op.after, value)
        others = [self.as_float(v) for v in node.inputs if v not in moves]
        inputs = [*(item.value for item in quantized), *others]
        name = f"{node.output.name}.int8"
        if isinstance(op, (Maximum, Minimum)):
            wide = [
                self.builder.add(Cast(DType.INT32), value, layer=node.layer) for value in inputs
            ]
            chosen = self.builder.add(op, *wide, layer=node.layer)
            moved = self.builder.add(Cast(DType.INT8), chosen, layer=node.layer, name=name)
        else:
            moved = self.builder.add(op, *inputs, layer=node.layer, name=name)
        self.integer[node.output] = Quantized(moved, meaning, low, high)
        return True

    # Groups

    def add_group(self, group: Group, meaning: Quantization) -> Quantized | None:
        """Add a group as integer primitives, its result quantized as `meaning` says.

        None when an operand has no integer form, or no numbers keep the sums within 32 bits.
        """
        operands = [self.as_integer(value) for value in group.operands]
        read = [operand for operand in operands if operand is not None]
        total = self._sum(group, read) if len(read) == len(operands) else None
        if total is None:
            return None
        scale = total.scale * group.factor / meaning.scale
        offset = group.offset / meaning.scale + meaning.zero_point - total.correction * scale
        acc = Term(total.low, total.high, np.asarray(scale, np.float64))
        addends: list[Value] = []
        terms: list[Term] = []
        if group.addend is not None:
            operand = self.as_integer(group.addend.value)
            if operand is None:
                return None
            factor = operand.meaning.scale * group.addend.factor / meaning.scale
            offset = offset - operand.meaning.zero_point * factor
            limits = np.asarray(operand.low), np.asarray(operand.high)
            terms.append(Term(*limits, np.asarray(factor)))
            addends.append(operand.value)
            read.append(operand)
        low = meaning.nearest(group.low) if group.low != -inf else INT8_MIN
        high = meaning.nearest(group.high) if group.high != inf else INT8_MAX
        leak = None if group.slope == 1 else Leak.of(group.slope, low, max(high, 0))
        ends = (low, high) if leak is None else leak.ends
        wanted = Sum(acc, tuple(terms), np.asarray(offset, np.float64), *ends)
        numbers = self.choose(group, total, read, meaning, wanted)
        if numbers is None:
            return None
        name = f"{group.last.name}.int8"
        value = self._chain(total.value, addends, numbers.steps, group.layer)
        least, greatest = numbers.least, numbers.greatest
        if leak is not None:
            value = self._leaky(value, leak, group.layer)
            least = leak.least(least)
            if least < low or greatest > high:
                value = self._clipped(value, low, high, group.layer)
                least, greatest = max(least, low), min(greatest, high)
        out = self.builder.add(Cast(DType.INT8), value, layer=group.layer, name=name)
        return Quantized(out, meaning, least, greatest)

    def _leaky(self, value: Value, leak: Leak, layer: str) -> Value:
        """Add max(value, slope * value)."""
        scaled = value
        for op, number in (
            (Mul(), leak.factor),
            (Add(), 1 << (LEAK_SHIFT - 1)),
            (ShiftRight(), LEAK_SHIFT),
        ):
            constant = self.builder.constant(np.int32(number), f"{layer}.const")
            scaled = self.builder.add(op, scaled, constant, layer=layer)
        return self.builder.add(Maximum(), scaled, value, layer=layer)

    def _clipped(self, value: Value, low: int, high: int, layer: str) -> Value:
        for op, number in ((Maximum(), low), (Minimum(), high)):
            constant = self.builder.constant(np.int32(number), f"{layer}.const")
            value = self.builder.add(op, value, constant, layer=layer)
        return value

    def _chain(self, value: Value, addends: Sequence[Value], steps: Steps, layer: str) -> Value:
        builder = self.builder

        def constant(number: NDArray[np.int64] | int) -> Value:
            return builder.constant(np.asarray(number, np.int32), f"{layer}.const")

        for step in steps:
            if isinstance(step, Step):
                value = builder.add(step.op, value, constant(step.operand), layer=layer)
                continue
            wide = builder.add(Cast(DType.INT32), addends[step.index], layer=layer)
            if step.factor != 1:
                wide = builder.add(Mul(), wide, constant(step.factor), layer=layer)
            value = builder.add(Add(), value, wide, layer=layer)
        return value

    def _sum(self, group: Group, operands: Sequence[Quantized]) -> IntegerSum | None:
        """Add the anchor of a group, and return its int32 result; None as for `add_group`."""
        x = operands[0]
        if group.anchor is None:
            value = self.builder.add(Cast(DType.INT32), x.value, layer=group.layer)
            limits = np.asarray(x.low), np.asarray(x.high)
            zero_point = np.asarray(x.meaning.zero_point)
            return IntegerSum(value, *limits, np.asarray(x.meaning.scale), zero_point, biased=False)
        match group.anchor.op:
            case Conv2d() | Dense() as op:
                return self._linear(group, op, group.anchor.inputs[1].name, x)
            case SumPool2d() as op:
                count = op.window[0] * op.window[1]
                op = SumPool2d(op.window, op.strides, op.pads, x.meaning.zero_point)
                value = self.builder.add(op, x.value, layer=group.layer)
                low, high = min(x.low, op.pad_value), max(x.high, op.pad_value)
                limits = np.asarray(count * low), np.asarray(count * high)
                correction = np.asarray(count * x.meaning.zero_point)
                return IntegerSum(
                    value, *limits, np.asarray(x.meaning.scale), correction, biased=True
                )
            case _:
                return self._product(group, *operands)

    def _linear(
        self, group: Group, op: Conv2d | Dense, name: str, x: Quantized
    ) -> IntegerSum | None:
        weights = self.weights_of(group, x.meaning)
        if weights is None:
            return None
        zero_point = x.meaning.zero_point
        low, high = x.low, x.high
        if isinstance(op, Conv2d):
            op = Conv2d(op.strides, op.pads, op.dilations, op.groups, zero_point)
            if any(op.pads):
                low, high = min(low, zero_point), max(high, zero_point)
        flat = weights.array.astype(np.int64).reshape(weights.array.shape[0], -1)
        along = (-1, 1, 1) if isinstance(op, Conv2d) else (-1,)
        positive = np.maximum(flat, 0).sum(axis=1).reshape(along)
        negative = np.minimum(flat, 0).sum(axis=1).reshape(along)
        scale = weights.scale if weights.scale.ndim == 0 else weights.scale.reshape(along)
        return IntegerSum(
            self._multiplied(op, x.value, weights.array, f"{name}.int8", group.layer),
            positive * low + negative * high,
            positive * high + negative * low,
            x.meaning.scale * scale,
            zero_point * (positive + negative),
            biased=True,
        )

    def _multiplied(
        self, op: Conv2d | Dense, x: Value, array: NDArray[np.int16], name: str, layer: str
    ) -> Value:
        """Add the anchor: where weights are outside int8, once with each part of them.

        The parts see as many copies of the input, side by side; those of groups are added.
        """
        parts: list[NDArray[np.int8]] = []
        while array.any() or not parts:
            parts.append(np.clip(array, INT8_MIN, INT8_MAX).astype(np.int8))
            array = array - parts[-1]
        if len(parts) > 1 and isinstance(op, Conv2d) and op.groups > 1:
            sums = [
                self.builder.add(op, x, self.builder.constant(part, name), layer=layer)
                for part in parts
            ]
            return reduce(lambda a, b: self.builder.add(Add(), a, b, layer=layer), sums)
        if len(parts) > 1:
            x = self.builder.add(Concat(1), *([x] * len(parts)), layer=layer)
        constant = self.builder.constant(np.concatenate(parts, axis=1), name)
        return self.builder.add(op, x, constant, layer=layer)

    def _product(self, group: Group, a: Quantized, b: Quantized) -> IntegerSum:
        layer = group.layer
        factors: list[Value] = []
        ends: list[tuple[int, int]] = []
        for operand in (a, b):
            value = self.builder.add(Cast(DType.INT32), operand.value, layer=layer)
            zero_point = operand.meaning.zero_point
            if zero_point:
                shift = self.builder.constant(np.int32(-zero_point), f"{layer}.const")
                value = self.builder.add(Add(), value, shift, layer=layer)
            factors.append(value)
            ends.append((operand.low - zero_point, operand.high - zero_point))
        corners = [left * right for left in ends[0] for right in ends[1]]
        return IntegerSum(
            self.builder.add(Mul(), *factors, layer=layer),
            np.asarray(min(corners)),
            np.asarray(max(corners)),
            np.asarray(a.meaning.scale * b.meaning.scale),
            np.asarray(0),
            biased=False,
        )

    def finish(self) -> Graph:
        """Return the new graph; its outputs keep their types and names."""
        outputs = [self.as_float(value) for value in self.graph.outputs]
        named = dict(zip(outputs, (value.name for value in self.graph.outputs), strict=True))
        return self.builder.build(outputs).rename(named)
