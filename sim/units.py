"""When an instruction starts and when it ends: queues, tokens, order. Compiled."""

import numpy as np

from ..isa.costs import IN_FLIGHT
from ..isa.instructions import Opcode
from .clock import (
    MEMORY,
    NEVER,
    NO_INSTRUCTION,
    PIPELINE,
    TOKEN_FULL,
    TOKEN_PREV,
    Clock,
)
from .columns import HEAD, NEXT_SHIFT, OPCODE_MASK, OPCODE_SHIFT, TIME, TOKENS_SHIFT
from .jit import compiled, inlined
from .pointers import int64s, skip
from .queues import CONSUMER, MASK, POPPED, PUSHED
from .state import Ints, State

_LOAD, _STORE = int(Opcode.LOAD), int(Opcode.STORE)
_RING = IN_FLIGHT - 1
_POPPED, _PUSHED, _CONSUMER = np.array(POPPED), np.array(PUSHED), np.array(CONSUMER)


@inlined
def earliest_start(m: State, t: Clock, unit: int) -> int:
    """Return the cycle in which the unit's next instruction starts, or NEVER while that is open."""
    index, heads = m.to_start[unit], int64s(m.heads)
    if index < 0 or t.front_free[unit] == NEVER or heads[2 * index + TIME] == NEVER:
        return NEVER
    number, head = m.started[unit], heads[2 * index + HEAD]
    cycle = max(t.front_free[unit], heads[2 * index + TIME])
    if head >> OPCODE_SHIFT & OPCODE_MASK != m.opcode[unit]:
        if m.ended[unit] != number:
            return NEVER
        cycle = max(cycle, t.ended_at[unit])
    elif number >= IN_FLIGHT:
        if m.ended[unit] <= number - IN_FLIGHT:
            return NEVER
        cycle = max(cycle, t.end_ring[unit, number & _RING])
    for side in range(2):
        if head >> (TOKENS_SHIFT + side) & 1:
            q = _POPPED[unit, side] & MASK
            if t.popped[q] == t.pushed[q]:
                return NEVER
            cycle = max(cycle, token_at(t, q, t.popped[q])[0])
    return cycle


@inlined
def token_at(t: Clock, queue: int, number: int) -> Ints:
    """Return the place of a token queue's token."""
    place = number & ((1 << t.tokens_shift) - 1)
    return skip(int64s(t.tokens), (queue << t.tokens_shift) + place)


@compiled
def account(m: State, t: Clock, unit: int, head: int, seen: int, start: int) -> None:
    """Put down what the unit waited for since its front was free, up to the cycle of a start.

    Parameters
    ----------
    seen
        The cycle from which the unit saw the instruction.
    """
    unit &= MASK
    number = m.started[unit]
    cycle = _wait(t, unit, NO_INSTRUCTION, t.front_free[unit], seen)
    if cycle == start:
        return
    if head >> OPCODE_SHIFT & OPCODE_MASK != m.opcode[unit]:
        cycle = _wait(t, unit, _drain(m, unit), cycle, t.written_at[unit] + 1)
        cycle = _wait(t, unit, TOKEN_FULL, cycle, t.ended_at[unit])
    elif number >= IN_FLIGHT:
        cycle = _wait(t, unit, _drain(m, unit), cycle, t.written_ring[unit, number & _RING] + 1)
        cycle = _wait(t, unit, TOKEN_FULL, cycle, t.end_ring[unit, number & _RING])
    for side in range(2):
        if cycle < start and head >> (TOKENS_SHIFT + side) & 1:
            q = _POPPED[unit, side] & MASK
            cycle = _wait(t, unit, TOKEN_PREV + side, cycle, token_at(t, q, t.popped[q])[0])


@inlined
def _drain(m: State, unit: int) -> int:
    return MEMORY if m.opcode[unit] in (_LOAD, _STORE) else PIPELINE


@inlined
def _wait(t: Clock, unit: int, cause: int, cycle: int, until: int) -> int:
    t.spent[unit, cause] += max(until - cycle, 0)
    return max(cycle, until)


@compiled
def end_those_written(m: State, t: Clock, unit: int, now: int) -> None:
    """End the unit's instructions in order, up to one whose tokens find no room yet.

    One that waited for room until `now` pushes in the next cycle; others have not written yet.
    """
    unit &= MASK
    heads = int64s(m.heads)
    ended, written, cycle = m.ended[unit], t.written[unit], t.ended_at[unit]
    index = m.to_end[unit]
    while ended < written:
        head = heads[2 * index + HEAD]
        flags = head >> (TOKENS_SHIFT + 2)
        if flags & 1 and _is_full(m, t, _PUSHED[unit, 0] & MASK):
            break
        if flags & 2 and _is_full(m, t, _PUSHED[unit, 1] & MASK):
            break
        cycle = max(t.written_ring[unit, ended & _RING], cycle, now + 1) + 1
        for side in range(2):
            if flags >> side & 1:
                q = _PUSHED[unit, side] & MASK
                token_at(t, q, t.pushed[q])[0] = cycle
                t.pushed[q] += 1
                t.stale |= 1 << _CONSUMER[q]
        t.end_ring[unit, ended & _RING] = cycle
        heads[2 * index + TIME] = cycle
        ended += 1
        index = head >> NEXT_SHIFT
    t.stale |= 1 << unit
    m.to_end[unit], m.ended[unit], t.ended_at[unit] = index, ended, cycle


@inlined
def _is_full(m: State, t: Clock, queue: int) -> bool:
    return t.pushed[queue] - t.popped[queue] >= m.token_depth
