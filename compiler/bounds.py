"""Bound inference: which part of each tensor is needed where it is made, and how often loops run.

Consumers come first. What they read, as their inner loops run through all of their values while the
outer ones stand still, is the part of the producer that has to be there; a producer's loops then
run over that part only. All bounds are indices of the loops around, so a last, ragged tile comes
out shorter by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd

from .affine import Affine, affine, bind, depends, extremes, limits, simplify
from .expr import Axis, AxisKind, Binary, BinaryOp, Const, Expr, Read, Tensor, reads
from .loops import Buffer
from .schedule import Fuse, Schedule, ScheduleError, Scope, Split, Stage


@dataclass(frozen=True)
class Loop:
    """One loop as it will run.

    Parameters
    ----------
    source : Axis
        The schedule's loop.
    axis : Axis
        The variable, whose extent is the most iterations there can be.
    extent : Expr
        Its iterations, of the loops around it.
    """

    source: Axis
    axis: Axis
    extent: Expr


@dataclass(frozen=True)
class Placed:
    """One stage with its buffer and its loops.

    Parameters
    ----------
    stage : Stage
    around : tuple of Axis
        The loops that surround the place where it is made, outermost first.
    buffer : Buffer
    lasts : tuple of Expr
        The tensor's greatest index that the buffer holds, along each axis.
    loops : tuple of Loop
        Its own loops, outermost first.
    local : mapping of Axis to Expr
        For each axis of the body, counted from the buffer's first element, what it is.
    """

    stage: Stage
    around: tuple[Axis, ...]
    buffer: Buffer
    lasts: tuple[Expr, ...]
    loops: tuple[Loop, ...]
    local: Mapping[Axis, Expr]

    def value(self, axis: Axis) -> Expr:
        """Return what an axis of the body is, counted from the tensor's first element."""
        local = self.local[axis]
        if axis.kind is AxisKind.REDUCE:
            return local
        place = self.stage.tensor.axes.index(axis)
        scaled = affine(local).scaled(self.buffer.step[place])
        return (affine(self.buffer.origin[place]) + scaled).expr()

    def last(self, axis: Axis) -> Expr:
        """Return the greatest value of an axis of the body."""
        if axis.kind is AxisKind.REDUCE:
            return Const(axis.extent - 1)
        return self.lasts[self.stage.tensor.axes.index(axis)]


def place(schedule: Schedule) -> dict[Tensor, Placed]:
    """Return every stage with its buffer and loops.

    Raises
    ------
    ScheduleError
        When a stage is computed at a loop that does not surround all of its readers, or loops
        whose length varies are fused.
    """
    placed: dict[Tensor, Placed] = {}
    for stage in reversed(schedule.stages):
        around = _around(stage, placed)
        readers = [placed[reader.tensor] for reader in schedule.readers(stage.tensor)]
        if stage.scope is Scope.DRAM:
            if around:
                raise ScheduleError(
                    f"{stage.tensor.name} is kept in DRAM and computed at a loop; only a tensor "
                    f"on chip can be made in parts"
                )
            buffer = whole(stage.tensor)
            lasts: tuple[Expr, ...] = tuple(Const(extent - 1) for extent in stage.tensor.shape)
        else:
            buffer, lasts = _needed(stage, around, readers)
        loops, local = _loops(stage, buffer)
        placed[stage.tensor] = Placed(stage, around, buffer, lasts, loops, local)
    return placed


def whole(tensor: Tensor) -> Buffer:
    """Return the buffer that holds all of a tensor in DRAM."""
    rank = len(tensor.shape)
    counts = tuple(Const(extent) for extent in tensor.shape)
    return Buffer(tensor, Scope.DRAM, (Const(0),) * rank, (1,) * rank, counts)


def _around(stage: Stage, placed: Mapping[Tensor, Placed]) -> tuple[Axis, ...]:
    if stage.attach is None:
        return ()
    consumer, axis = stage.attach
    if consumer not in placed:
        raise ScheduleError(
            f"{stage.tensor.name} is computed at {axis.name} of {consumer.name}, which does not "
            f"use it"
        )
    user = placed[consumer]
    for number, loop in enumerate(user.loops):
        if loop.source is axis:
            return user.around + tuple(loop.axis for loop in user.loops[: number + 1])
    raise ScheduleError(f"{stage.tensor.name} is computed at {axis.name} of {consumer.name}, "
                        f"which is no loop there now")


def _needed(
    stage: Stage, around: tuple[Axis, ...], readers: Sequence[Placed]
) -> tuple[Buffer, tuple[Expr, ...]]:
    """Return the buffer for what readers read inside the loops `around`, and its last indices."""
    tensor = stage.tensor
    found: list[list[tuple[Expr, Expr, int]]] = [[] for _ in tensor.shape]
    for reader in readers:
        inside = reader.around + tuple(loop.axis for loop in reader.loops)
        if inside[: len(around)] != around:
            assert stage.attach is not None
            raise ScheduleError(
                f"{tensor.name} is computed at {stage.attach[1].name} of {stage.attach[0].name}, "
                f"but {reader.stage.tensor.name} reads it outside that loop; compute "
                f"{reader.stage.tensor.name} inside it too, or {tensor.name} further out"
            )
        free = [axis for axis in _variables(reader) if axis not in around]
        for read in reads(reader.stage.body):
            if read.tensor is tensor:
                for bounds, index in zip(found, read.indices, strict=True):
                    bounds.append(_reach(index, reader, free))
    origin: list[Expr] = []
    steps: list[int] = []
    counts: list[Expr] = []
    lasts: list[Expr] = []
    rows = len(tensor.shape) - 3  # columns, at rows, lie side by side in DRAM: loaded densely
    for number, bounds in enumerate(found):
        low, high, step = _joined(bounds)
        step = 1 if number >= rows else step
        low, high, step = _clipped(low, high, step, tensor.shape[number])
        origin.append(low)
        lasts.append(high)
        steps.append(step)
        counts.append(simplify((high - low) // step + 1))
    buffer = Buffer(
        tensor, stage.scope, tuple(origin), tuple(steps), tuple(counts), stage.copies
    )
    return buffer, tuple(lasts)


def _variables(reader: Placed) -> list[Axis]:
    return [*reader.around, *(loop.axis for loop in reader.loops)]


def _reach(index: Expr, reader: Placed, free: Sequence[Axis]) -> tuple[Expr, Expr, int]:
    """Return the least and greatest value of a reader's index, and the step between values."""
    low: Expr = Const(0)
    high: Expr = Const(0)
    step = 0
    parts = affine(index)
    for atom, coefficient in parts.terms:
        if isinstance(atom, Axis):
            least, most = _range(atom, reader, free)
            stride = dict(zip(reader.stage.tensor.axes, reader.buffer.step, strict=True)).get(atom, 1)
        else:
            values = {axis: reader.value(axis) for axis in reader.stage.axes}
            least, most = extremes(bind(atom, values), free)
            stride = 1
        if least != most:
            step = gcd(step, coefficient * stride)
        if coefficient < 0:
            least, most = most, least
        low, high = low + least * coefficient, high + most * coefficient
    return simplify(low + parts.constant), simplify(high + parts.constant), step


def _range(axis: Axis, reader: Placed, free: Sequence[Axis]) -> tuple[Expr, Expr]:
    least, most = extremes(reader.value(axis), free)
    last = extremes(reader.last(axis), free)[1]
    return least, simplify(Binary(BinaryOp.MIN, most, last))


def _joined(bounds: Sequence[tuple[Expr, Expr, int]]) -> tuple[Expr, Expr, int]:
    distinct = list(dict.fromkeys(bounds))
    low, high, step = distinct[0]
    for other_low, other_high, _ in distinct[1:]:
        low = simplify(Binary(BinaryOp.MIN, low, other_low))
        high = simplify(Binary(BinaryOp.MAX, high, other_high))
        step = 1
    return low, high, max(step, 1)


def _clipped(low: Expr, high: Expr, step: int, extent: int) -> tuple[Expr, Expr, int]:
    if limits(low)[0] < 0:
        low, step = simplify(Binary(BinaryOp.MAX, low, Const(0))), 1
    if limits(high)[1] >= extent:
        high = simplify(Binary(BinaryOp.MIN, high, Const(extent - 1)))
    return low, high, step


def _loops(stage: Stage, buffer: Buffer) -> tuple[tuple[Loop, ...], dict[Axis, Expr]]:
    """Return a stage's loops over its buffer, and each axis of the body as a sum of them."""
    bound: dict[Axis, Expr] = dict(zip(stage.tensor.axes, buffer.counts, strict=True))
    bound |= {axis: Const(axis.extent) for axis in stage.axes if axis not in bound}
    most = {axis: max(1, limits(extent)[1]) for axis, extent in bound.items()}
    exact = {axis: isinstance(extent, Const) for axis, extent in bound.items()}
    for relation in stage.relations:
        match relation:
            case Split(parent, outer, inner, factor):
                most[outer], most[inner] = -(-most[parent] // factor), min(factor, most[parent])
                exact[outer] = exact[parent]
                exact[inner] = exact[parent] and (most[parent] % factor == 0 or most[outer] == 1)
            case Fuse(outer, inner, fused):
                for axis in (outer, inner):
                    if not exact[axis]:
                        raise ScheduleError(
                            f"cannot fuse {outer.name} and {inner.name} of {stage.tensor.name}: "
                            f"the length of {axis.name} varies; choose tiles that divide evenly"
                        )
                most[fused], exact[fused] = most[outer] * most[inner], True
    variables = {axis: Axis(axis.name, most[axis], axis.kind) for axis in stage.loops}
    value: dict[Axis, Affine] = {axis: Affine(0, ((v, 1),)) for axis, v in variables.items()}
    below: list[tuple[Affine, Expr]] = []
    for relation in reversed(stage.relations):
        match relation:
            case Split(parent, outer, inner, factor):
                value[parent] = value[outer].scaled(factor) + value[inner]
                below.append((value[inner], Const(most[inner])))
            case Fuse(outer, inner, fused):
                whole_ = value[fused].expr()
                value[outer] = affine(whole_ // Const(most[inner]))
                value[inner] = affine(whole_ % Const(most[inner]))
    below.extend((value[axis], extent) for axis, extent in bound.items())
    order = [variables[axis] for axis in stage.loops]
    loops = tuple(
        Loop(source, axis, _extent(stage, axis, order[number + 1 :], below))
        for number, (source, axis) in enumerate(zip(stage.loops, order, strict=True))
    )
    return loops, {axis: value[axis].expr() for axis in stage.axes}


def _extent(
    stage: Stage, axis: Axis, inside: Sequence[Axis], below: Sequence[tuple[Affine, Expr]]
) -> Expr:
    """Return how often a loop runs: while every sum is under its bound, loops inside being at 0."""
    extent: Expr = Const(axis.extent)
    for total, bound in below:
        least = extremes(total.expr(), inside)[0]
        parts = affine(least)
        coefficient = total.coefficient(axis)
        if coefficient:
            others = parts - affine(axis).scaled(coefficient)
            room = (bound - others.expr() + (coefficient - 1)) // coefficient
            extent = Binary(BinaryOp.MIN, extent, room)
        elif depends(least, [axis]) and limits(total.expr() - bound)[1] >= 0:
            outer = [
                atom for atom, _ in parts.terms if not depends(atom, [axis]) and limits(atom)[1] > 0
            ]
            if outer:
                raise ScheduleError(
                    f"{axis.name} of {stage.tensor.name} is fused from loops that {outer[0]} "
                    f"around it cuts short; put {outer[0]} inside, or choose tiles that divide evenly"
                )
    return simplify(extent)


def needs(reader: Placed, read: Read) -> tuple[Expr, ...]:
    """Return where a reader finds, in the tensor, the element that it reads."""
    values = {axis: reader.value(axis) for axis in reader.stage.axes}
    return tuple(affine(bind(index, values)).expr() for index in read.indices)
