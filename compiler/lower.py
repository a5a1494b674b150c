"""From a schedule to a loop program: stages put where they are attached, reductions begun."""

from collections.abc import Mapping, Sequence

from .affine import affine, bind, depends, limits
from .bounds import Placed, needs, place, whole
from .expr import (
    Axis,
    AxisKind,
    Binary,
    BinaryOp,
    Const,
    Expr,
    Read,
    Real,
    Reduce,
    Select,
    Tensor,
    all_of,
    constant,
)
from .loops import Allocate, Block, Buffer, For, Program, Statement, Wanted, When
from .nests import Loop
from .schedule import LoopKind, Schedule, Scope, Stage, placeholders
from .walk import rewrite

_ORDER = {
    Scope.WGT: 0,
    Scope.INP: 1,
    Scope.SHARED: 1,
    Scope.ACC: 2,
    Scope.REGISTERS: 2,
    Scope.FRAGMENT: 2,
    Scope.DRAM: 3,
}


def lower(schedule: Schedule) -> Program:
    """Return the loops that compute a schedule's outputs.

        conv at out.y_o, pad at conv.c_o    →    for y_o
                                                   conv = ACC ...
                                                   for c_o
                                                     pad = INP ...
                                                     for ...: pad[...] = select(...)
                                                     when c_o == 0
                                                       for ...: conv[...] = 0
                                                     for ...: conv[...] += pad[...] * wgt[...]
                                                   for ...: out[...] = conv[...]

    The first value of a reduction is assigned directly before its first update, and not earlier,
    so that the two stay one piece of work for one unit. Where tensors are not tiled it is assigned
    before the first loop that is reduced over, by loops of its own: such a loop then holds nothing
    but updates of registers.

    Raises
    ------
    ScheduleError
        See `bounds.place`.
    """
    placed = place(schedule)
    given = {tensor: whole(tensor) for tensor in placeholders(schedule)}
    homes: dict[Tensor, Buffer] = {tensor: p.buffer for tensor, p in placed.items()} | given
    in_dram = [p.buffer for p in placed.values() if p.buffer.scope is Scope.DRAM]
    body: list[Statement] = []
    for stage in _by_memory(schedule, None, placed):
        body.extend(_stage(schedule, stage, placed, homes))
    return Program((*given.values(), *reversed(in_dram)), tuple(body))


def _by_memory(
    schedule: Schedule, at: tuple[Tensor, Axis] | None, placed: Mapping[Tensor, Placed]
) -> list[Stage]:
    """Return the stages made at one place, producers first; loads of weights before inputs."""
    left = [stage for stage in schedule.stages if stage.attach == at]
    done: list[Stage] = []
    while left:
        waiting = {stage.tensor for stage in left}
        ready = [stage for stage in left if not _sources(schedule, stage, placed) & waiting]
        chosen = min(ready, key=lambda stage: _ORDER[stage.scope])
        done.append(chosen)
        left.remove(chosen)
    return done


def _sources(schedule: Schedule, stage: Stage, placed: Mapping[Tensor, Placed]) -> set[Tensor]:
    """Return what a stage, or a stage made inside it, reads."""
    found = set(stage.sources) - {stage.tensor}
    for other in schedule.stages:
        if other.attach is not None and other.attach[0] is stage.tensor:
            found |= _sources(schedule, other, placed) - {stage.tensor}
    return found


def _stage(
    schedule: Schedule,
    stage: Stage,
    placed: Mapping[Tensor, Placed],
    homes: Mapping[Tensor, Buffer],
) -> list[Statement]:
    me = placed[stage.tensor]
    loops = me.nest.loops
    attached = {
        loop.source: _by_memory(schedule, (stage.tensor, loop.source), placed) for loop in loops
    }
    cut = _cut(stage, loops, attached)
    begin, updates = _assignments(me, loops[:cut], loops[cut:], homes)
    first = _first_reduced(loops[:cut])
    body: list[Statement] = updates
    if schedule.tiled or first == cut:
        body, begin = _when_first(loops[:cut], begin) + updates, []
    for number in reversed(range(first, cut)):
        loop = loops[number]
        if begin and loop.axis.kind is AxisKind.SPATIAL and loop.extent != Const(1):
            looped = For(loop.axis, loop.extent, stage.kind(loop.source), tuple(begin))
            begin = [looped]
    for number in reversed(range(cut)):
        loop = loops[number]
        inner = [
            statement
            for producer in attached[loop.source]
            for statement in _stage(schedule, producer, placed, homes)
        ]
        body = [*inner, *body]
        if loop.extent != Const(1):
            looped = For(loop.axis, loop.extent, stage.kind(loop.source), tuple(body))
            body = [looped]
        if number == first:
            body = [*begin, *body]
    return body if me.buffer.scope is Scope.DRAM else [Allocate(me.buffer), *body]


def _cut(stage: Stage, loops: Sequence[Loop], attached: Mapping[Axis, list[Stage]]) -> int:
    """Return how many loops must stay loops; the rest are one rectangle."""
    cut = 0
    for number, loop in enumerate(loops, 1):
        if attached[loop.source] or stage.kind(loop.source) is not LoopKind.SERIAL:
            cut = number
    for number in range(len(loops), cut, -1):
        if any(depends(other.extent, [loops[number - 1].axis]) for other in loops[number:]):
            return number
    return cut


def _assignments(
    me: Placed, outer: Sequence[Loop], inner: Sequence[Loop], homes: Mapping[Tensor, Buffer]
) -> tuple[list[Statement], list[Statement]]:
    """Return what begins a reduction, and what is done in every iteration."""
    stage = me.stage
    wanted = None
    if stage.intrinsic is not None:
        axis, intrinsic = stage.intrinsic
        within = stage.loops[stage.loops.index(axis) :]
        own = tuple(loop.axis for loop in (*outer, *inner) if loop.source in within)
        wanted = Wanted(own, intrinsic)
    target = Read(me.buffer, tuple(_index(me, number) for number in range(len(me.buffer.shape))))
    rectangle = tuple((loop.axis, loop.extent) for loop in inner if loop.extent != Const(1))
    name = stage.tensor.name
    if not isinstance(stage.body, Reduce):
        value = _value(me, stage.body, homes)
        return [], [Block(name, rectangle, target, None, value, wanted=wanted)]
    reduction = stage.body
    value = _value(me, reduction.body, homes)
    guard = None
    if isinstance(value, Select) and _is_neutral(value.b, reduction):
        value, guard = value.a, value.condition
    first = constant(reduction.initial, reduction.type)
    kept = tuple(pair for pair in rectangle if pair[0].kind is AxisKind.SPATIAL)
    begin = Block(name, kept, target, None, first)
    return [begin], [Block(name, rectangle, target, reduction.op, value, guard, wanted=wanted)]


def _first_reduced(loops: Sequence[Loop]) -> int:
    """Return which of the loops is the first that is reduced over; their number if none is."""
    kinds = [loop.axis.kind for loop in loops]
    return kinds.index(AxisKind.REDUCE) if AxisKind.REDUCE in kinds else len(kinds)


def _when_first(outer: Sequence[Loop], begin: list[Statement]) -> list[Statement]:
    """Return what begins a reduction, in the first iteration of the loops that are reduced over."""
    begins = [
        Binary(BinaryOp.EQ, loop.axis, Const(0))
        for loop in outer
        if loop.axis.kind is AxisKind.REDUCE and limits(loop.axis)[1] > 0
    ]
    return [When(all_of(*begins), tuple(begin))] if begin and begins else begin


def _is_neutral(value: Expr, reduction: Reduce) -> bool:
    """Return whether folding `value` in changes nothing, as the first value is there already."""
    if not isinstance(value, Const | Real):
        return False
    match reduction.op:
        case BinaryOp.MAX:
            return value.value <= reduction.initial
        case BinaryOp.MIN:
            return value.value >= reduction.initial
        case BinaryOp.MUL:
            return value.value == 1
        case _:
            return value.value == 0


def _index(me: Placed, number: int) -> Expr:
    return affine(me.nest.value[me.stage.tensor.axes[number]].expr()).expr()


def _value(me: Placed, body: Expr, homes: Mapping[Tensor, Buffer]) -> Expr:
    """Return the body over the loops' axes, reading from buffers."""

    def change(part: Expr) -> Expr | None:
        if not isinstance(part, Read):
            return None
        home = homes[part.tensor]
        indices: list[Expr] = []
        for index, origin, step in zip(needs(me, part), home.origin, home.step, strict=True):
            offset = affine(index) - affine(origin)
            inside = offset.divided(step)
            assert inside is not None, f"{part} against {origin} in steps of {step}"
            indices.append(inside.expr())
        return Read(home, tuple(indices))

    values = {axis: me.value(axis) for axis in me.stage.axes}
    # Reads first, with the body's own axes in them; then the axes elsewhere (in conditions).
    return bind(rewrite(body, change), values)
