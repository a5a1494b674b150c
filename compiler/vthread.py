"""Virtual threads: iterations of a loop that run side by side, so that units overlap.

While one thread computes, the other loads, as they work in different buffers; nothing orders them
but the hazards that the command queue finds. Work is interleaved in groups of one unit's
instructions. What does not depend on the thread is done once, in a buffer that all share.
"""

from dataclasses import dataclass, replace

from ..isa.instructions import Unit
from .affine import bind, depends, simplify
from .expr import Axis, Binary, BinaryOp, Const, Expr, Read
from .loops import Allocate, Block, Body, Buffer, For, Match, Program, Statement, When
from .loops import buffers as allocated
from .schedule import LoopKind
from .walk import reads, rewrite


def virtual_threads(program: Program) -> Program:
    """Replace every virtual thread loop by its iterations, side by side.

        for v in 2 (vthread)           buf.0 = ...; buf.1 = ...
          buf = ...                    for k in n
          for k in n              →      LOAD buf.0; LOAD buf.1
            LOAD buf                     GEMM buf.0; GEMM buf.1
            GEMM buf                   STORE for v = 0; STORE for v = 1
          STORE

    The program must be tensorized: it is the instruction that says which unit does a block.
    """
    return replace(program, body=_threaded(program.body))


def _threaded(body: Body) -> Body:
    result: list[Statement] = []
    for statement in body:
        match statement:
            case For(kind=LoopKind.VTHREAD):
                inner = _threaded(statement.body)
                result.extend(_Threads.of(statement, inner).weave(inner))
            case For() | When():
                result.append(replace(statement, body=_threaded(statement.body)))
            case _:
                result.append(statement)
    return tuple(result)


@dataclass
class _Threads:
    """The threads of one loop.

    Parameters
    ----------
    axis : Axis
        The loop's variable; its extent is how many threads there are at most.
    runs : tuple of Expr or None
        For each thread, when it runs at all; None if always.
    touched : set of Buffer
        The buffers of which each thread has its own.
    shared : set of Buffer
        The other buffers allocated inside, filled once for all threads.
    copies : list of dict
        For each thread, its own buffer for each of `touched`.
    """

    axis: Axis
    runs: tuple[Expr | None, ...]
    touched: set[Buffer]
    shared: set[Buffer]
    copies: list[dict[Buffer, Buffer]]

    @staticmethod
    def of(loop: For, body: Body) -> "_Threads":
        inside = set(allocated(body))
        touched = _touched(body, loop.axis) & inside
        runs: list[Expr | None] = []
        copies: list[dict[Buffer, Buffer]] = []
        for number in range(loop.axis.extent):
            runs.append(_unless_always(Binary(BinaryOp.LT, Const(number), loop.extent)))
            values: dict[Axis, Expr] = {loop.axis: Const(number)}
            copies.append(
                {b: b.renamed(f"{b.name}.{number}", values, thread=number) for b in touched}
            )
        return _Threads(loop.axis, tuple(runs), touched, inside - touched, copies)

    def weave(self, body: Body) -> Body:
        return self._woven(body, self.runs)

    def _woven(self, body: Body, runs: tuple[Expr | None, ...]) -> Body:
        result: list[Statement] = []
        group: list[Statement] = []
        unit: Unit | None = None

        def flush() -> None:
            for number, runs_when in enumerate(runs):
                mine: list[Statement] = []
                for statement in group:
                    if self._is_shared(statement):
                        if number == 0:
                            result.append(statement)
                    else:
                        mine.append(self._own(statement, number))
                if mine:
                    result.extend(mine if runs_when is None else [When(runs_when, tuple(mine))])
            group.clear()

        for statement in body:
            if isinstance(statement, Allocate):
                result.extend(self._allocations(statement))
                continue
            other = _unit(statement)
            if other is None or other is not unit:
                flush()
            unit = other
            match statement:
                case For() if other is None:
                    result.append(self._loop(statement, runs))
                case When() if other is None:
                    result.extend(self._condition(statement, runs))
                case _:
                    group.append(statement)
        flush()
        return tuple(result)

    def _allocations(self, statement: Allocate) -> list[Statement]:
        if statement.buffer not in self.touched:
            return [statement]
        return [Allocate(mine[statement.buffer]) for mine in self.copies]

    def _loop(self, loop: For, runs: tuple[Expr | None, ...]) -> For:
        extents = [self._bound(loop.extent, number) for number in range(len(runs))]
        longest = extents[0]
        for extent in extents[1:]:
            longest = simplify(Binary(BinaryOp.MAX, longest, extent))
        inner = tuple(
            _both(when, _unless_always(Binary(BinaryOp.LT, loop.axis, extent)))
            if extent != longest
            else when
            for when, extent in zip(runs, extents, strict=True)
        )
        return For(loop.axis, longest, loop.kind, self._woven(loop.body, inner))

    def _condition(self, statement: When, runs: tuple[Expr | None, ...]) -> Body:
        if not depends(statement.condition, [self.axis]):
            return (When(statement.condition, self._woven(statement.body, runs)),)
        inner = tuple(
            _both(when, _unless_always(self._bound(statement.condition, number)))
            for number, when in enumerate(runs)
        )
        return self._woven(statement.body, inner)

    def _is_shared(self, statement: Statement) -> bool:
        match statement:
            case When(_, body):
                return all(self._is_shared(inner) for inner in body)
            case Block(target=Read(Buffer() as buffer)):
                return buffer in self.shared
            case _:
                return False

    def _bound(self, expr: Expr, number: int) -> Expr:
        return bind(expr, {self.axis: Const(number)})

    def _own(self, statement: Statement, number: int) -> Statement:
        """Return a statement as one thread has it."""
        match statement:
            case When(condition, body):
                inner = tuple(self._own(part, number) for part in body)
                return When(self._bound(condition, number), inner)
            case Block():
                return self._own_block(statement, number)
            case _:
                raise AssertionError(type(statement))

    def _own_block(self, block: Block, number: int) -> Block:
        mine = self.copies[number]

        def change(part: Expr) -> Expr | None:
            if isinstance(part, Read) and isinstance(part.tensor, Buffer):
                return Read(mine.get(part.tensor, part.tensor), part.indices)
            return None

        def own(expr: Expr) -> Expr:
            return self._bound(rewrite(expr, change), number)

        def own_read(expr: Read) -> Read:
            result = own(expr)
            assert isinstance(result, Read)
            return result

        matched = block.match
        if matched is not None:
            matched = Match(
                matched.intrinsic,
                matched.tile,
                tuple(own_read(operand) for operand in matched.operands),
                matched.immediate,
                None if matched.inside is None else own(matched.inside),
            )
        return replace(
            block,
            loops=tuple((axis, self._bound(extent, number)) for axis, extent in block.loops),
            target=own_read(block.target),
            value=own(block.value),
            guard=None if block.guard is None else own(block.guard),
            match=matched,
        )


def _touched(body: Body, axis: Axis) -> set[Buffer]:
    """Return the buffers allocated inside whose place or contents depend on `axis`."""
    touched = {
        buffer
        for buffer in allocated(body)
        if any(depends(expr, [axis]) for expr in (*buffer.origin, *buffer.counts))
    }
    while True:
        more = _written_from(body, axis, touched, False) - touched
        if not more:
            return touched
        touched |= more


def _written_from(body: Body, axis: Axis, touched: set[Buffer], around: bool) -> set[Buffer]:
    """Return the buffers written by blocks that depend on `axis` or read a touched buffer."""
    found: set[Buffer] = set()
    for statement in body:
        match statement:
            case For(_, extent, _, inner):
                inside = around or depends(extent, [axis])
                found |= _written_from(inner, axis, touched, inside)
            case When(condition, inner):
                inside = around or depends(condition, [axis])
                found |= _written_from(inner, axis, touched, inside)
            case Block():
                parts = [statement.target, statement.value, *(e for _, e in statement.loops)]
                if statement.guard is not None:
                    parts.append(statement.guard)
                mixed = any(read.tensor in touched for read in reads(statement.value))
                if around or mixed or any(depends(part, [axis]) for part in parts):
                    assert isinstance(statement.target.tensor, Buffer)
                    found.add(statement.target.tensor)
            case Allocate():
                pass
    return found


def _unit(statement: Statement) -> Unit | None:
    """Return the unit that does all of a statement; None for a loop, or if there are several."""
    match statement:
        case Block(match=Match(intrinsic)):
            return intrinsic.unit
        case When(_, body):
            units = {_unit(inner) for inner in body}
            return units.pop() if len(units) == 1 else None
        case _:
            return None


def _unless_always(condition: Expr) -> Expr | None:
    simple = simplify(condition)
    return None if simple == Const(1, simple.type) else simple


def _both(a: Expr | None, b: Expr | None) -> Expr | None:
    if a is None or b is None:
        return b if a is None else a
    return Binary(BinaryOp.AND, a, b)
