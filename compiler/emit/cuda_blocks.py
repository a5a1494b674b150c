"""What of a loop program a GPU runs together: kernels, blocks of threads, where threads meet."""

from collections.abc import Iterator
from math import prod

from ..expr import Tensor
from ..loops import Body, Buffer, For, Statement, When, blocks
from ..schedule import LoopKind, ScheduleError, Scope
from ..walk import reads

LANES = 32
"""Threads of a warp."""

MOST_THREADS = 1024
"""Of a block."""


def kernels_of(body: Body) -> list[list[Statement]]:
    """Return the statements of each kernel."""
    found: list[list[Statement]] = []
    alone = True
    for statement in body:
        if _has_grid(statement):
            found.append([statement])
            alone = True
            continue
        if alone:
            found.append([])
        found[-1].append(statement)
        alone = False
    return found


def _has_grid(statement: Statement) -> bool:
    match statement:
        case For(kind=LoopKind.GRID):
            return True
        case For() | When():
            return any(_has_grid(inner) for inner in statement.body)
        case _:
            return False


def block_size(statement: Statement) -> int:
    """Return how many threads a block needs for the outermost loops that threads run."""
    found = 1
    for inner in _outermost(statement):
        count = prod(loop.axis.extent for loop in nest(inner))
        match inner.kind:
            case LoopKind.WARP:
                count *= LANES
            case LoopKind.LANE:
                count = max(count, LANES)
            case _:
                pass
        found = max(found, count)
    if found > MOST_THREADS:
        raise ScheduleError(f"a block would have {found} threads; {MOST_THREADS} would do")
    return found


def _outermost(statement: Statement) -> Iterator[For]:
    match statement:
        case For() if statement.kind.is_together:
            yield statement
        case For() | When():
            for inner in statement.body:
                yield from _outermost(inner)
        case _:
            pass


def nest(loop: For) -> list[For]:
    """Return a loop and those of its kind directly inside it."""
    loops = [loop]
    while len(loops[-1].body) == 1:
        inner = loops[-1].body[0]
        if not isinstance(inner, For) or inner.kind is not loop.kind:
            break
        loops.append(inner)
    return loops


def touched(statement: Statement) -> tuple[set[Tensor], set[Tensor]]:
    """Return the tensors in DRAM that a statement reads and writes."""
    inputs: set[Tensor] = set()
    outputs: set[Tensor] = set()
    for block in blocks((statement,)):
        inputs |= {r.tensor for r in reads(block.value) if _is_outside(r.tensor)}
        outputs |= {block.target.tensor} if _is_outside(block.target.tensor) else set()
    return inputs, outputs


def _is_outside(tensor: Tensor) -> bool:
    return isinstance(tensor, Buffer) and tensor.scope is Scope.DRAM


def fills(statement: Statement) -> bool:
    """Return whether a statement fills memory that threads share."""
    return any(
        isinstance(block.target.tensor, Buffer) and block.target.tensor.scope is Scope.SHARED
        for block in blocks((statement,))
    )


def is_filling(statement: Statement) -> bool:
    """Return whether a statement does nothing but fill memory that threads share."""
    targets = [block.target.tensor for block in blocks((statement,))]
    return bool(targets) and all(
        isinstance(tensor, Buffer) and tensor.scope is Scope.SHARED for tensor in targets
    )
