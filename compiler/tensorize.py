"""Finding the instruction that computes each block, by unifying expression trees.

Nothing is recognised by name. A block matches an intrinsic when its target and operands are in the
intrinsic's memories, its value has the intrinsic's form, and the indices inside a tile are the
intrinsic's axes; all other loops move from tile to tile and must do so in whole steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .affine import affine, depends
from .expr import (
    Axis,
    Binary,
    BinaryOp,
    Cast,
    Const,
    Expr,
    Parameter,
    Placeholder,
    Read,
    Reduce,
    Select,
    Tensor,
    Type,
)
from .intrinsics import IMMEDIATE, Intrinsic
from .loops import Block, Buffer, Match, Program, transform
from .schedule import ScheduleError, Scope


def tensorize(program: Program, known: Sequence[Intrinsic], *, required: bool = True) -> Program:
    """Return the program with one of the known instructions found for every block.

    Unless `required`, blocks that none computes stay as they are.

        for y in 4, c in 2, b in 1, j in 16, i in 16: acc[y, b, j] += int32(inp[y, c, b, i]) * ...
        →    GEMM  for y in 4, c in 2: acc[y, b, j] += int32(inp[y, c, b, i]) * ...

    Raises
    ------
    ScheduleError
        For a block that no instruction computes, with what keeps the nearest one from it.
    """

    def found(block: Block) -> list[Block]:
        candidates = [block.wanted.intrinsic] if block.wanted else known
        failures: list[_Mismatch] = []
        for intrinsic in candidates:
            try:
                return [replace(block, match=match(block, intrinsic))]
            except _Mismatch as failure:
                failures.append(failure)
        if not required and not block.wanted:
            return [block]
        nearest = max(failures, key=lambda failure: failure.depth)
        raise ScheduleError(
            f"no instruction computes stage {block.stage}, `{block}`; "
            f"the nearest is {nearest.intrinsic.name}, but {nearest.reason}"
        )

    return replace(program, body=transform(program.body, found))


class _Mismatch(Exception):
    """How far an intrinsic went along with a block, and what differs."""

    def __init__(self, intrinsic: Intrinsic, depth: int, reason: str) -> None:
        self.intrinsic = intrinsic
        self.depth = depth
        self.reason = reason
        super().__init__(reason)


def match(block: Block, intrinsic: Intrinsic) -> Match:
    """Return how the intrinsic computes the block; raise what differs if it does not."""
    return _Unifier(block, intrinsic).match()


@dataclass
class _Unifier:
    block: Block
    intrinsic: Intrinsic
    axes: dict[Axis, Axis] = field(default_factory=dict[Axis, Axis])
    operands: dict[Tensor, Read] = field(default_factory=dict[Tensor, Read])
    immediate: int | None = None
    inside: Expr | None = None
    depth: int = 0

    def fail(self, reason: str) -> _Mismatch:
        return _Mismatch(self.intrinsic, self.depth, reason)

    def match(self) -> Match:
        block, intrinsic = self.block, self.intrinsic
        update, value = _update_form(intrinsic)
        self.scope(block.target.tensor, intrinsic.target)
        if block.update is not update:
            raise self.fail(f"it {_action(update)} and the stage {_action(block.update)}")
        self.depth += 1
        self.unify(value, block.value)
        self.indices(intrinsic.tensor, intrinsic.tensor.axes, block.target)
        if block.guard is not None and update is None:
            raise self.fail(f"it cannot leave out where {block.guard} fails")
        self.whole_tiles()
        operands = tuple(self.operands[tensor] for tensor in intrinsic.operands)
        order = (*intrinsic.tensor.axes, *_reduced(intrinsic))
        tile = tuple(self.axes[axis] for axis in order if axis in self.axes)
        return Match(intrinsic, tile, operands, self.immediate, self.inside)

    def unify(self, pattern: Expr, value: Expr) -> None:
        match pattern, value:
            case Parameter(), Const(number) if pattern == IMMEDIATE:
                self.depth += 1
                if not pattern.low <= number <= pattern.high:
                    raise self.fail(
                        f"the constant {number} does not fit its immediate, {pattern.low} to "
                        f"{pattern.high}; give it as a tensor"
                    )
                self.immediate = number
            case Parameter(kind=Type.BOOL), _ if value.type is Type.BOOL:
                self.inside = value
            case Const(), Const() if pattern == value:
                pass
            case Cast(to, operand), Cast(other, inner) if to is other:
                self.depth += 1
                self.unify(operand, inner)
            case Binary(op, a, b), Binary(other, c, d) if op is other:
                self.depth += 1
                self.operator(op, (a, b), (c, d))
            case Select(condition, a, b), Select(other, c, d):
                self.depth += 1
                for mine, theirs in ((condition, other), (a, c), (b, d)):
                    self.unify(mine, theirs)
            case Read(tensor, indices), Read(found):
                assert isinstance(tensor, Placeholder)
                self.scope(found, self.intrinsic.operands[tensor])
                if found.element is not tensor.element:
                    raise self.fail(
                        f"{found.name} is {found.element.value} and its {tensor.name} "
                        f"{tensor.element.value}"
                    )
                self.indices(tensor, indices, value)
                self.operands[tensor] = value
            case _:
                raise self.fail(f"its `{pattern}` meets `{value}`")
        self.depth += 1

    def operator(self, op: BinaryOp, mine: tuple[Expr, Expr], theirs: tuple[Expr, Expr]) -> None:
        before = (dict(self.axes), dict(self.operands), self.depth)
        try:
            self.unify(mine[0], theirs[0])
            self.unify(mine[1], theirs[1])
        except _Mismatch as failure:
            if not op.is_commutative:
                raise
            self.axes, self.operands, self.depth = before
            try:
                self.unify(mine[0], theirs[1])
                self.unify(mine[1], theirs[0])
            except _Mismatch as other:
                raise max(failure, other, key=lambda one: one.depth) from None

    def scope(self, tensor: Tensor, wanted: Scope) -> None:
        assert isinstance(tensor, Buffer)
        if tensor.scope is not wanted:
            raise self.fail(
                f"{tensor.name} is in {tensor.scope.value} and must be in {wanted.value}; "
                f"set_scope or cache_read puts it there"
            )
        self.depth += 1

    def indices(self, pattern: Tensor, mine: Sequence[Expr], read: Read) -> None:
        """Unify the indices inside a tile: the last of the read's."""
        outside = max(0, len(read.indices) - len(mine))
        if self.intrinsic.anywhere:
            self.scattered(mine, read)
            return
        if read.tensor.shape[outside:] != pattern.shape:
            raise self.fail(
                f"tiles of {read.tensor.name} are {read.tensor.shape[outside:]} and of its "
                f"{pattern.name} {pattern.shape}"
            )
        for axis, index in zip(mine, read.indices[outside:], strict=True):
            assert isinstance(axis, Axis)
            if axis.extent == 1 and index == Const(0):
                continue
            extents = dict(self.block.loops)
            if not isinstance(index, Axis) or index not in extents:
                raise self.fail(f"{read} has {index} inside its tile, where a whole loop must be")
            if extents[index] != Const(axis.extent):
                raise self.fail(
                    f"{index} runs {extents[index]} times inside a tile of {axis.extent}"
                )
            if self.axes.setdefault(axis, index) is not index:
                raise self.fail(f"{read} has {index} where it must have {self.axes[axis]}")
        self.depth += 1

    def scattered(self, mine: Sequence[Expr], read: Read) -> None:
        """Unify indices where the last goes along the tile in steps of one, the others anyhow."""
        extents = dict(self.block.loops)
        wanted = self.block.wanted
        inner = extents if wanted is None else wanted.inner
        *outer, last = read.indices
        for place, axis in enumerate(mine):
            assert isinstance(axis, Axis)
            indices = [last] if place == len(mine) - 1 else outer
            known = self.axes.get(axis)
            moving = [
                loop
                for loop in extents
                if loop in inner
                and loop.extent == axis.extent
                and any(depends(index, [loop]) for index in indices)
            ]
            chosen = known or next(
                (loop for loop in moving if loop not in self.axes.values()), None
            )
            if chosen is None or chosen not in moving:
                raise self.fail(f"{read} does not move along {axis.name}")
            if indices == [last] and affine(last).coefficient(chosen) != 1:
                raise self.fail(f"{read} moves by {last}, not by one along {chosen.name}")
            if extents[chosen] != Const(axis.extent):
                raise self.fail(f"{chosen} runs {extents[chosen]} times, not {axis.extent}")
            self.axes[axis] = chosen
        self.depth += 1

    def whole_tiles(self) -> None:
        """Check that the other loops move from tile to tile, in steps that do not vary."""
        block, tile = self.block, list(self.axes.values())
        if len(set(tile)) != len(tile):
            raise self.fail("one loop would run along two axes of a tile")
        loops = [axis for axis, _ in block.loops]
        moved = [(self.intrinsic.tensor, block.target), *self.operands.items()]
        for pattern, read in moved if not self.intrinsic.anywhere else ():
            for index in read.indices[: len(read.indices) - len(pattern.shape)]:
                parts = affine(index).split(loops)
                if parts is None:
                    raise self.fail(f"{read} moves by {index}, which is no sum of loops")
                if depends(index, tile):
                    raise self.fail(f"{read} moves by {index}, along an axis of the tile")
        conditions = [c for c in (block.guard, self.inside) if c is not None]
        for condition in conditions:
            if depends(condition, tile):
                raise self.fail(f"{condition} depends on an axis of the tile")
        if block.wanted:
            inner = {axis for axis in block.wanted.inner if axis in loops}
            if inner != set(tile):
                raise self.fail(
                    f"it runs {_names(tile)} itself and was said to run {_names(list(inner))}"
                )


def _update_form(intrinsic: Intrinsic) -> tuple[BinaryOp | None, Expr]:
    """Return the operation of an intrinsic with the target's old value, and its other operand."""
    match intrinsic.tensor.body:
        case Reduce(op, body):
            return op, body
        case Binary(op, Read(tensor), b) if tensor is intrinsic.in_place:
            return op, b
        case body:
            return None, body


def _reduced(intrinsic: Intrinsic) -> tuple[Axis, ...]:
    body = intrinsic.tensor.body
    return body.axes if isinstance(body, Reduce) else ()


def _action(update: BinaryOp | None) -> str:
    return "assigns" if update is None else f"updates by {update.value}"


def _names(axes: Sequence[Axis]) -> str:
    return ", ".join(axis.name for axis in axes) or "no loop"
