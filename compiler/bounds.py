"""Bound inference: which part of each tensor is needed where it is made, and how often loops run.

Consumers come first. What they read, as their inner loops run through all of their values while the
outer ones stand still, is the part of the producer that has to be there; a producer's loops then
run over that part only. All bounds are indices of the loops around, so a last, ragged tile comes
out shorter by itself.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import gcd

from .affine import Affine, affine, bind, extremes, limits, simplify
from .expr import Axis, AxisKind, Binary, BinaryOp, Const, Expr, Read, Tensor
from .loops import Buffer
from .nests import Nest, nest_of
from .schedule import LoopKind, Schedule, ScheduleError, Scope, Stage
from .walk import reads


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
    nest : Nest
        Its own loops, over the buffer.
    """

    stage: Stage
    around: tuple[Axis, ...]
    buffer: Buffer
    lasts: tuple[Expr, ...]
    nest: Nest

    def value(self, axis: Axis) -> Expr:
        """Return what an axis of the body is, counted from the tensor's first element."""
        return self._from_tensor(axis, self.nest.value[axis]).expr()

    def range(self, axis: Axis, free: Collection[Axis]) -> tuple[Expr, Expr]:
        """Return the least and greatest value of an axis of the body as the `free` loops run."""
        low, high = self.nest.range(axis, free)
        if axis.kind is AxisKind.REDUCE:
            return low, high
        first = extremes(self._from_tensor(axis, affine(low)).expr(), free)[0]
        last = extremes(self._from_tensor(axis, affine(high)).expr(), free)[1]
        most = extremes(self.lasts[self.stage.tensor.axes.index(axis)], free)[1]
        return first, simplify(Binary(BinaryOp.MIN, last, most))

    def _from_tensor(self, axis: Axis, local: Affine) -> Affine:
        """Return an index counted from the buffer's first element as one of the tensor."""
        if axis.kind is AxisKind.REDUCE:
            return local
        place = self.stage.tensor.axes.index(axis)
        return affine(self.buffer.origin[place]) + local.scaled(self.buffer.step[place])


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
            buffer, lasts = _needed(stage, around, readers, placed)
        nest = nest_of(stage, _sunk(schedule, stage), buffer.counts)
        placed[stage.tensor] = Placed(stage, around, buffer, lasts, nest)
    return placed


def _sunk(schedule: Schedule, stage: Stage) -> tuple[Axis, ...]:
    """Return a stage's loops with those over a tile innermost, where nothing else is said of them.

    So a reorder need not name them, and what is computed at a loop is not computed inside a tile.
    """
    if not schedule.tiled:
        return stage.loops
    fixed = {other.attach for other in schedule.stages}
    tile = [
        axis
        for axis in stage.tensor.axes[-2:]
        if axis in stage.loops
        and (stage.tensor, axis) not in fixed
        and stage.kind(axis) is LoopKind.SERIAL
    ]
    return (*(axis for axis in stage.loops if axis not in tile), *tile)


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
    for number, loop in enumerate(user.nest.loops):
        if loop.source is axis:
            return user.around + tuple(loop.axis for loop in user.nest.loops[: number + 1])
    raise ScheduleError(
        f"{stage.tensor.name} is computed at {axis.name} of {consumer.name}, "
        f"which is no loop there now"
    )


def _needed(
    stage: Stage,
    around: tuple[Axis, ...],
    readers: Sequence[Placed],
    placed: Mapping[Tensor, Placed],
) -> tuple[Buffer, tuple[Expr, ...]]:
    """Return the buffer for what readers read inside the loops `around`, and its last indices."""
    tensor = stage.tensor
    found: list[list[tuple[Expr, Expr, int]]] = [[] for _ in tensor.shape]
    for reader in readers:
        inside = reader.around + tuple(loop.axis for loop in reader.nest.loops)
        if inside[: len(around)] != around:
            assert stage.attach is not None
            raise ScheduleError(
                f"{tensor.name} is computed at {stage.attach[1].name} of {stage.attach[0].name}, "
                f"but {reader.stage.tensor.name} reads it outside that loop; compute "
                f"{reader.stage.tensor.name} inside it too, or {tensor.name} further out"
            )
        shared = _together(reader, placed) if stage.scope is Scope.SHARED else ()
        free = [axis for axis in _variables(reader) if axis not in around or axis in shared]
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
    buffer = Buffer(tensor, stage.scope, tuple(origin), tuple(steps), tuple(counts), stage.copies)
    return buffer, tuple(lasts)


def _together(reader: Placed, placed: Mapping[Tensor, Placed]) -> set[Axis]:
    """Return the loops around a reader that threads of a block run: all of them need its data."""
    found: set[Axis] = set()
    here: Placed | None = reader
    while here is not None:
        kinds = ((loop.axis, here.stage.kind(loop.source)) for loop in here.nest.loops)
        found.update(axis for axis, kind in kinds if kind.is_together)
        here = placed[here.stage.attach[0]] if here.stage.attach else None
    return found


def _variables(reader: Placed) -> list[Axis]:
    return [*reader.around, *(loop.axis for loop in reader.nest.loops)]


def _reach(index: Expr, reader: Placed, free: Sequence[Axis]) -> tuple[Expr, Expr, int]:
    """Return the least and greatest value of a reader's index, and the step between values."""
    low: Expr = Const(0)
    high: Expr = Const(0)
    step = 0
    parts = affine(index)
    for atom, coefficient in parts.terms:
        if isinstance(atom, Axis):
            least, most = reader.range(atom, free)
            steps = zip(reader.stage.tensor.axes, reader.buffer.step, strict=True)
            stride = dict(steps).get(atom, 1)
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


def needs(reader: Placed, read: Read) -> tuple[Expr, ...]:
    """Return where a reader finds, in the tensor, the element that it reads."""
    values = {axis: reader.value(axis) for axis in reader.stage.axes}
    return tuple(affine(bind(index, values)).expr() for index in read.indices)
