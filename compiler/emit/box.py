"""Boxes of iterations, and the part of them that a condition leaves.

A padded load reads where its condition holds and writes zeros around; a guarded ALU instruction,
the window of a pooling that reaches over the edge, works only where it holds.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

from ...isa.instructions import Load, Memory
from ...runtime.kernel import greatest
from ...runtime.queue import CommandQueue
from ...runtime.transfer import Dim, Pads
from ..schedule import ScheduleError
from .plan import Env, Limit, Plan


class Box(NamedTuple):
    """For each loop, its first value and the one after its last."""

    lows: tuple[int, ...]
    highs: tuple[int, ...]

    @staticmethod
    def whole(extents: Sequence[int]) -> "Box":
        """Return the box of loops that all start at 0."""
        return Box((0,) * len(extents), tuple(extents))

    @property
    def extents(self) -> tuple[int, ...]:
        """How often each loop runs."""
        return tuple(high - low for low, high in zip(self.lows, self.highs, strict=True))

    @property
    def is_empty(self) -> bool:
        """Whether some loop does not run."""
        return any(high <= low for low, high in zip(self.lows, self.highs, strict=True))

    def offset(self, steps: Sequence[int]) -> int:
        """Return how far the first iteration is from where all loops are at 0."""
        return sum(low * step for low, step in zip(self.lows, steps, strict=True))

    def along(self, loop: int, low: int, high: int) -> "Box":
        """Return the box with one loop's values replaced."""
        return Box(
            (*self.lows[:loop], low, *self.lows[loop + 1 :]),
            (*self.highs[:loop], high, *self.highs[loop + 1 :]),
        )

    def cut(self, base: int, steps: Sequence[int]) -> "Box | list[int] | None":
        """Return the part where `base` plus value times step is at least 0; None if there is none.

        Where that is no box, the loops that it depends on are returned instead.
        """
        least = greatest = base
        moving: list[int] = []
        for loop, step in enumerate(steps):
            if step:
                ends = (self.lows[loop] * step, (self.highs[loop] - 1) * step)
                least, greatest = least + min(ends), greatest + max(ends)
                if self.highs[loop] - self.lows[loop] > 1:
                    moving.append(loop)
        if least >= 0:
            return self
        if greatest < 0 or not moving:
            return None
        if len(moving) > 1:
            return moving
        loop = moving[0]
        step = steps[loop]
        others = base + sum(
            low * s for n, (low, s) in enumerate(zip(self.lows, steps, strict=True)) if n != loop
        )
        if step > 0:
            part = self.along(loop, max(self.lows[loop], -(others // step)), self.highs[loop])
        else:
            part = self.along(loop, self.lows[loop], min(self.highs[loop], others // -step + 1))
        return None if part.is_empty else part


def boxes(box: Box, limits: Sequence[Limit], env: Env) -> Iterator[Box]:
    """Yield boxes that together hold every iteration in which all limits do, each once."""
    if not box.is_empty:
        yield from _boxes(box, [(limit.base(env), limit.steps) for limit in limits])


def _boxes(box: Box, limits: list[tuple[int, tuple[int, ...]]]) -> list[Box]:
    for base, steps in limits:
        part = box.cut(base, steps)
        if isinstance(part, list):
            loop = min(part, key=lambda n: box.highs[n] - box.lows[n])
            return _joined(
                [
                    piece
                    for value in range(box.lows[loop], box.highs[loop])
                    for piece in _boxes(box.along(loop, value, value + 1), limits)
                ],
                loop,
            )
        if part is None:
            return []
        box = part
    return [box]


def _joined(pieces: list[Box], loop: int) -> list[Box]:
    """Return the boxes with those made one that only follow each other along one loop."""
    joined: list[Box] = []
    for piece in pieces:
        for number, other in enumerate(joined):
            grown = other.along(loop, other.lows[loop], piece.highs[loop])
            begins_there = other.highs[loop] == piece.lows[loop]
            if begins_there and grown == piece.along(loop, other.lows[loop], piece.highs[loop]):
                joined[number] = grown
                break
        else:
            joined.append(piece)
    return joined


def inside(box: Box, plan: Plan, env: Env) -> Box | None:
    """Return the part of a padded load that reads; None if it is all zeros.

    Raises
    ------
    ScheduleError
        When that is no box.
    """
    for limit in plan.limits:
        part = box.cut(limit.base(env), limit.steps)
        if isinstance(part, list):
            names = ", ".join(plan.axes[loop].name for loop in part)
            raise ScheduleError(
                f"the padding of stage {plan.block.stage} depends on several of its loops at once "
                f"({names}); do not split or fuse them"
            )
        if part is None:
            return None
        box = part
    return box


def load_box(
    queue: CommandQueue,
    memory: Memory,
    plan: Plan,
    box: Box | None,
    sram: tuple[int, Sequence[int]],
    dram: tuple[int, Sequence[int]],
    extents: Sequence[int],
) -> None:
    """Load the part of a padded box that is read, all else zeros; None: zeros only.

    Raises
    ------
    ScheduleError
        When the zeros are more than one load writes, or around more than two loops.
    """
    most = greatest(Load, "x_pad_0", queue.config)
    if box is None:
        _zeros(queue, memory, sram[0], prod(extents), most)
        return
    running = [loop for loop, extent in enumerate(extents) if extent > 1]
    order = sorted(running, key=lambda loop: -sram[1][loop])
    before = {loop: box.lows[loop] for loop in order}
    after = {loop: extents[loop] - box.highs[loop] for loop in order}
    padded = [loop for loop in order if before[loop] or after[loop]]
    wide = [loop for loop in padded if max(before[loop], after[loop]) > most]
    if wide or not set(padded) <= set(order[-2:]):
        raise ScheduleError(
            f"stage {plan.block.stage} has zeros around {[plan.axes[n].name for n in padded]}, up "
            f"to {max([*before.values(), *after.values()])}; a load writes at most "
            f"{most} around its last two loops"
        )
    dims = [Dim(box.extents[loop], dram[1][loop], sram[1][loop]) for loop in order]
    ends = [(before[loop], after[loop]) for loop in order]
    element = memory.element_bytes(queue.config)
    if not dims or dims[-1].dram_bytes != element:  # a column: its rows hold one element each
        dims.append(Dim(1, element, 1))
        ends.append((0, 0))
    (top, bottom), (left, right) = [(0, 0), (0, 0), *ends][-2:]
    pads = Pads(top, bottom, left, right)
    queue.load_nd(memory, sram[0], dram[0] + box.offset(dram[1]), dims, pads)


def _zeros(queue: CommandQueue, memory: Memory, sram: int, tiles: int, most: int) -> None:
    """Write zeros to tiles: pads around rows that do not exist, so that nothing is read."""
    while tiles:
        width = min(tiles, most + 1)
        rows = min(tiles // width, 2 * most)
        pads = Pads(rows // 2, rows - rows // 2, 0, width - 1)
        queue.load(memory, sram, 0, x_size=1, y_size=0, pads=pads)
        sram += rows * width
        tiles -= rows * width
