"""The loops of one stage: how often each runs, and what the tensor's axes are in terms of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .affine import Affine, affine, depends, extremes, limits, simplify
from .expr import Axis, Binary, BinaryOp, Const, Expr
from .schedule import Fuse, Relation, ScheduleError, Split, Stage


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
class Nest:
    """The loops of one stage over the part of its tensor that is made.

    Parameters
    ----------
    loops : tuple of Loop
        Outermost first.
    value : mapping of Axis to Affine
        Each axis of the body, and each that it was cut into, as a sum of the loops' variables. It
        counts from the first element that is made.
    most : mapping of Axis to int
        The most values that each of them has.
    parts : mapping of Axis to Split or Fuse
        What each axis that is no loop now became.
    """

    loops: tuple[Loop, ...]
    value: Mapping[Axis, Affine]
    most: Mapping[Axis, int]
    parts: Mapping[Axis, Relation]

    def range(self, axis: Axis, free: Collection[Axis]) -> tuple[Expr, Expr]:
        """Return the least and greatest value of an axis as the `free` variables run."""
        relation = self.parts.get(axis)
        if not isinstance(relation, Split):
            return extremes(self.value[axis].expr(), free)
        low_outer, high_outer = self.range(relation.outer, free)
        low_inner, high_inner = self.range(relation.inner, free)
        high = relation.begin(high_outer) + high_inner
        return (
            simplify(relation.begin(low_outer) + low_inner),
            simplify(Binary(BinaryOp.MIN, high, Const(self.most[axis] - 1))),
        )


def nest_of(stage: Stage, order: Sequence[Axis], counts: Sequence[Expr]) -> Nest:
    """Return the loops of a stage that makes `counts` elements along each axis of its tensor.

    Raises
    ------
    ScheduleError
        When loops are fused whose length varies.
    """
    bound: dict[Axis, Expr] = dict(zip(stage.tensor.axes, counts, strict=True))
    bound |= {axis: Const(axis.extent) for axis in stage.axes if axis not in bound}
    most = _most(stage, bound)
    variables = {axis: Axis(axis.name, most[axis], axis.kind) for axis in stage.loops}
    value: dict[Axis, Affine] = {axis: Affine(0, ((v, 1),)) for axis, v in variables.items()}
    parts: dict[Axis, Relation] = {}
    below: list[tuple[Affine, Expr]] = []
    for relation in reversed(stage.relations):
        match relation:
            case Split(parent, outer, inner):
                parts[parent] = relation
                value[parent] = affine(relation.begin(value[outer].expr())) + value[inner]
                below.append((value[inner], Const(most[inner])))
            case Fuse(outer, inner, fused):
                parts[outer] = parts[inner] = relation
                below.append((value[fused], Const(most[fused])))
                both = value[fused].expr()
                value[outer] = affine(both // most[inner])
                value[inner] = affine(both % most[inner])
    below.extend((value[axis], extent) for axis, extent in bound.items())
    inside = [variables[axis] for axis in order]
    loops: list[Loop] = []
    for source in order:
        axis = inside.pop(0)
        loops.append(Loop(source, axis, _extent(stage, axis, inside, below)))
    return Nest(tuple(loops), value, most, parts)


def _most(stage: Stage, bound: Mapping[Axis, Expr]) -> dict[Axis, int]:
    """Return the most values that each axis has, before and after every split and fuse."""
    most = {axis: max(1, limits(extent)[1]) for axis, extent in bound.items()}
    exact = {axis: isinstance(extent, Const) for axis, extent in bound.items()}
    for relation in stage.relations:
        match relation:
            case Split(parent, outer, inner, factor, overlap):
                if overlap and not (exact[parent] and most[parent] == parent.extent):
                    raise ScheduleError(
                        f"{parent.name} of {stage.tensor.name} is made in parts; its tiles cannot "
                        f"overlap"
                    )
                most[outer], most[inner] = -(-most[parent] // factor), min(factor, most[parent])
                exact[outer] = exact[parent]
                even = overlap or most[parent] % factor == 0 or most[outer] == 1
                exact[inner] = exact[parent] and even
            case Fuse(outer, inner, fused):
                for axis in (outer, inner):
                    if not exact[axis]:
                        raise ScheduleError(
                            f"cannot fuse {outer.name} and {inner.name} of {stage.tensor.name}: "
                            f"the length of {axis.name} varies; choose tiles that divide evenly"
                        )
                most[fused], exact[fused] = most[outer] * most[inner], True
    return most


def _extent(
    stage: Stage, axis: Axis, inside: Sequence[Axis], below: Sequence[tuple[Affine, Expr]]
) -> Expr:
    """Return how often a loop runs: while every sum is under its bound, loops inside being at 0."""
    extent: Expr = Const(axis.extent)
    for total, bound in below:
        if not any(depends(atom, [axis]) for atom, _ in total.terms):
            continue
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
                    f"around it cuts short; put {outer[0]} inside, or choose even tiles"
                )
    return simplify(extent)
