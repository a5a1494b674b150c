"""The loop program that a schedule becomes: loops, buffers and assignments, and its text.

    for y_o in 4
      pad = INP int8(1, 2, 6, 30, 1, 16) at [n, 0, y_o*4, 0, 0, 0]
      LOAD INP  for c in 2, y in 6, x in 30: pad[0, c, y, x, b, i] = select(...)

A `Block` is one assignment over a rectangle of loops, in no particular order; what stands around it
are loops whose order counts. `Block.match` says which instruction computes it, once
`tensorize` has found one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from .affine import bind, limits
from .expr import Axis, Binary, BinaryOp, Const, Expr, Read, Tensor
from .intrinsics import Intrinsic
from .schedule import LoopKind, Scope


class Buffer(Tensor):
    """Where a tensor, or the part of it that is needed, is kept.

    Parameters
    ----------
    tensor : Tensor
        What it holds.
    scope : Scope
    origin : tuple of Expr
        The tensor's index of the buffer's element 0, along each axis.
    step : tuple of int
        By how much the tensor's index goes up from one element to the next.
    counts : tuple of Expr
        How many elements there are along each axis, of the surrounding loops' axes. Tiles lie
        one after the other, so that a part cut short takes less room.
    shape : tuple of int
        The most that `counts` can be.
    copies : int
        Places that take turns, each time the buffer is allocated.
    thread : int or None
        The virtual thread that it belongs to, of those that run side by side.
    """

    def __init__(
        self,
        tensor: Tensor,
        scope: Scope,
        origin: tuple[Expr, ...],
        step: tuple[int, ...],
        counts: tuple[Expr, ...],
        copies: int = 1,
        name: str | None = None,
        thread: int | None = None,
    ) -> None:
        shape = [max(1, limits(count)[1]) for count in counts]
        super().__init__(name or tensor.name, shape, tensor.element)
        self.tensor = tensor
        self.scope = scope
        self.origin = origin
        self.step = step
        self.counts = counts
        self.copies = copies
        self.thread = thread

    @property
    def tiles(self) -> int:
        """The most tiles that one copy holds."""
        tiles = 1
        for extent in self.shape[:-2]:
            tiles *= extent
        return tiles

    def renamed(
        self,
        name: str,
        values: dict[Axis, Expr],
        *,
        copies: int | None = None,
        thread: int | None = None,
    ) -> "Buffer":
        """Return another buffer like this one, with loop axes replaced."""
        return Buffer(
            self.tensor,
            self.scope,
            tuple(bind(index, values) for index in self.origin),
            self.step,
            tuple(bind(count, values) for count in self.counts),
            self.copies if copies is None else copies,
            name,
            self.thread if thread is None else thread,
        )


@dataclass(frozen=True)
class Match:
    """Which instruction a block is.

    Parameters
    ----------
    intrinsic : Intrinsic
    tile : tuple of Axis
        The block's loops that the instruction runs itself, in the order of the intrinsic's axes.
    operands : tuple of Read
        What of the block stands for each of the intrinsic's tensors.
    immediate : int or None
        The number that stands for the intrinsic's immediate.
    inside : Expr or None
        The condition under which a DMA reads; elsewhere it pads with zeros.
    """

    intrinsic: Intrinsic
    tile: tuple[Axis, ...]
    operands: tuple[Read, ...]
    immediate: int | None = None
    inside: Expr | None = None


@dataclass(frozen=True)
class Wanted:
    """What a schedule says that a block is: this intrinsic, from these loops inwards."""

    inner: tuple[Axis, ...]
    intrinsic: Intrinsic


@dataclass(frozen=True, eq=False)
class Block:
    """`target = value`, or `target = target op value`, for all values of the loops.

    Parameters
    ----------
    stage : str
        Whose it is, for people.
    loops : tuple of (Axis, Expr)
        Each axis and its iterations; none depends on another of these axes.
    target : Read
        The element that is assigned.
    update : BinaryOp or None
        The operation with what the target held.
    value : Expr
    guard : Expr or None
        Only where it holds.
    match : Match or None
        The instruction, once found.
    wanted : Wanted or None
        The instruction that it must be.
    """

    stage: str
    loops: tuple[tuple[Axis, Expr], ...]
    target: Read
    update: BinaryOp | None
    value: Expr
    guard: Expr | None = None
    match: Match | None = None
    wanted: Wanted | None = None

    def __str__(self) -> str:
        return _assignment(self)


@dataclass(frozen=True, eq=False)
class Allocate:
    """From here to the end of the surrounding body there is a new buffer, of undefined contents."""

    buffer: Buffer


@dataclass(frozen=True, eq=False)
class For:
    """The body, for each value of `axis` from 0 to `extent` - 1, in order."""

    axis: Axis
    extent: Expr
    kind: LoopKind
    body: "Body"


@dataclass(frozen=True, eq=False)
class When:
    """The body, if the condition holds."""

    condition: Expr
    body: "Body"


Statement: TypeAlias = Block | Allocate | For | When
Body: TypeAlias = tuple[Statement, ...]


@dataclass(frozen=True)
class Program:
    """A loop program. `tensors` are those in DRAM: given, made, and between."""

    tensors: tuple[Buffer, ...]
    body: Body = field(repr=False)

    def __str__(self) -> str:
        lines = [f"{_declared(buffer)}" for buffer in self.tensors]
        return "\n".join(lines + list(_lines(self.body, ""))) + "\n"


def blocks(body: Body) -> Iterator[Block]:
    """Yield every block, in program order."""
    for statement in body:
        match statement:
            case Block():
                yield statement
            case For() | When():
                yield from blocks(statement.body)
            case Allocate():
                pass


def buffers(body: Body) -> Iterator[Buffer]:
    """Yield every buffer that is allocated, in program order."""
    for statement in body:
        match statement:
            case Allocate(buffer):
                yield buffer
            case For() | When():
                yield from buffers(statement.body)
            case Block():
                pass


def transform(body: Body, change: Callable[[Block], Sequence[Statement]]) -> Body:
    """Return the body with each block replaced by what `change` makes of it."""
    result: list[Statement] = []
    for statement in body:
        match statement:
            case Block():
                result.extend(change(statement))
            case For() | When():
                result.append(replace(statement, body=transform(statement.body, change)))
            case Allocate():
                result.append(statement)
    return tuple(result)


def _lines(body: Body, indent: str) -> Iterator[str]:
    for statement in body:
        match statement:
            case For(axis, extent, kind, inner):
                mark = "" if kind is LoopKind.SERIAL else f"  ({kind.value})"
                yield f"{indent}for {axis.name} in {extent}{mark}"
                yield from _lines(inner, indent + "  ")
            case When(condition, inner):
                yield f"{indent}when {condition}"
                yield from _lines(inner, indent + "  ")
            case Allocate(buffer):
                yield f"{indent}{_declared(buffer)}"
            case Block():
                yield f"{indent}{statement}"


def _declared(buffer: Buffer) -> str:
    counts = ", ".join(map(str, buffer.counts))
    text = f"{buffer.name} = {buffer.scope.value} {buffer.element.value}({counts})"
    if buffer.copies > 1:
        text = f"{text} x{buffer.copies}"
    if any(index != Const(0) for index in buffer.origin):
        text = f"{text} at [{', '.join(map(str, buffer.origin))}]"
    if any(step > 1 for step in buffer.step):
        text = f"{text} step {buffer.step}"
    return text


def _assignment(block: Block) -> str:
    tile = block.match.tile if block.match else ()
    name = f"{block.match.intrinsic.name}  " if block.match else ""
    outside = [(axis, extent) for axis, extent in block.loops if axis not in tile]
    loops = ", ".join(f"{axis.name} in {extent}" for axis, extent in outside)
    guard = f" if {block.guard}" if block.guard is not None else ""
    match block.update:
        case None:
            text = f"{block.target} = {block.value}"
        case BinaryOp.MIN | BinaryOp.MAX:
            text = f"{block.target} = {Binary(block.update, block.target, block.value)}"
        case op:
            text = f"{block.target} {op.value}= {block.value}"
    return f"{name}for {loops}{guard}: {text}" if loops or guard else f"{name}{text}"
