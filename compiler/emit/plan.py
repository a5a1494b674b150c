"""What is known of each instruction before the loops around it run: how its tiles move.

Indices become functions of the loops' values, once; what is left for every instruction is to call
them and to multiply by the buffers' strides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..affine import Affine, affine
from ..expr import Axis, Binary, BinaryOp, Const, Expr, Read, Type
from ..loops import Block, Buffer, Match
from ..schedule import ScheduleError

Env: TypeAlias = dict[Axis, int]
Number: TypeAlias = Callable[[Env], int]


@dataclass(frozen=True, eq=False)
class Access:
    """How a block's loops move through a buffer, in tiles.

    Parameters
    ----------
    buffer : Buffer
    bases : tuple of Number
        The index along each axis outside the tile, as all loops are at 0.
    steps : tuple of tuple of int
        For each loop, what it adds to each of those indices.
    """

    buffer: Buffer
    bases: tuple[Number, ...]
    steps: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Limit:
    """Where `base` plus each loop's value times its step is at least 0."""

    base: Number
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """One block, its indices compiled.

    Parameters
    ----------
    block : Block
    match : Match
    axes : tuple of Axis
        The loops outside the tile.
    extents : tuple of Number
        The iterations of each.
    target : Access
    operands : tuple of Access
        In the order of the intrinsic's.
    limits : tuple of Limit
        Where a DMA reads rather than pads, or where a guarded block works.
    """

    block: Block
    match: Match
    axes: tuple[Axis, ...]
    extents: tuple[Number, ...]
    target: Access
    operands: tuple[Access, ...]
    limits: tuple[Limit, ...]


def plan(block: Block) -> Plan:
    """Return the block with its indices compiled.

    Raises
    ------
    ScheduleError
        When a condition is not a bound on a sum of loops.
    """
    match = block.match
    assert match is not None
    loops = [(axis, extent) for axis, extent in block.loops if axis not in match.tile]
    axes = [axis for axis, _ in loops]
    condition = block.guard if block.guard is not None else match.inside
    return Plan(
        block,
        match,
        tuple(axes),
        tuple(number(extent) for _, extent in loops),
        _access(block.target, axes),
        tuple(_access(operand, axes) for operand in match.operands),
        tuple(_limit(block, part, axes) for part in _parts(condition)),
    )


def number(expr: Expr) -> Number:
    """Return a function from the loops' values to the value of an index or condition."""
    match expr:
        case Const(value):
            return lambda env: value
        case Axis():
            return lambda env: env[expr]
        case Binary(BinaryOp.MIN, a, b):
            first, second = number(a), number(b)
            return lambda env: min(first(env), second(env))
        case Binary(BinaryOp.MAX, a, b):
            first, second = number(a), number(b)
            return lambda env: max(first(env), second(env))
        case Binary(BinaryOp.DIV, a, Const(divisor)):
            first = number(a)
            return lambda env: first(env) // divisor
        case Binary(BinaryOp.MOD, a, Const(divisor)):
            first = number(a)
            return lambda env: first(env) % divisor
        case Binary(op, a, b) if op.is_condition:
            return _condition(op, number(a), number(b))
        case _:
            return _sum(affine(expr))


def _condition(op: BinaryOp, a: Number, b: Number) -> Number:
    match op:
        case BinaryOp.LT:
            return lambda env: a(env) < b(env)
        case BinaryOp.LE:
            return lambda env: a(env) <= b(env)
        case BinaryOp.EQ:
            return lambda env: a(env) == b(env)
        case _:
            return lambda env: a(env) and b(env)


def _sum(total: Affine) -> Number:
    constant = total.constant
    axes = tuple((atom, c) for atom, c in total.terms if isinstance(atom, Axis))
    others = tuple((number(atom), c) for atom, c in total.terms if not isinstance(atom, Axis))
    if not axes and not others:
        return lambda env: constant
    if len(axes) == 1 and not others:
        axis, coefficient = axes[0]
        return lambda env: constant + env[axis] * coefficient

    def value(env: Env) -> int:
        result = constant
        for axis, coefficient in axes:
            result += env[axis] * coefficient
        for function, coefficient in others:
            result += function(env) * coefficient
        return result

    return value


def _access(read: Read, axes: Sequence[Axis]) -> Access:
    buffer = read.tensor
    assert isinstance(buffer, Buffer)
    bases: list[Number] = []
    columns: list[Mapping[Axis, int]] = []
    for index in read.indices[:-2]:
        parts = affine(index).split(axes)
        assert parts is not None, "tensorize has checked it"
        base, steps = parts
        bases.append(_sum(base))
        columns.append(steps)
    steps = tuple(tuple(column.get(axis, 0) for column in columns) for axis in axes)
    return Access(buffer, tuple(bases), steps)


def _parts(condition: Expr | None) -> list[Expr]:
    match condition:
        case None | Const(1, Type.BOOL):
            return []
        case Binary(BinaryOp.AND, a, b):
            return _parts(a) + _parts(b)
        case Binary(BinaryOp.EQ, a, b):
            return [a <= b, b <= a]
        case _:
            return [condition]


def _limit(block: Block, condition: Expr, axes: Sequence[Axis]) -> Limit:
    if condition == Const(0, Type.BOOL):
        return Limit(lambda env: -1, (0,) * len(axes))
    if isinstance(condition, Binary) and condition.op in (BinaryOp.LT, BinaryOp.LE):
        room = affine(condition.b) - affine(condition.a)
        if condition.op is BinaryOp.LT:
            room += Affine(-1)
        parts = room.split(axes)
        if parts is not None:
            return Limit(_sum(parts[0]), tuple(parts[1].get(axis, 0) for axis in axes))
    raise ScheduleError(
        f"the condition {condition} of stage {block.stage} is no bound on a sum of its loops; "
        f"comparisons of such sums, joined by all_of, would do"
    )
