"""When an instruction starts and when it ends: queues, tokens, order. Compiled."""

import numpy as np

from ..isa.costs import IN_FLIGHT
from ..isa.instructions import Opcode
from .clock import (
    MEMORY,
    NO_INSTRUCTION,
    ORDER,
    PIPELINE,
    TOKEN_FULL,
    TOKEN_PREV,
    Clock,
)
from .columns import HEAD, NEXT_SHIFT, OPCODE_MASK, OPCODE_SHIFT, TIME, TOKENS_SHIFT
from .jit import inlined, merged
from .order import has_met, is_ordered
from .pointers import int64s, skip
from .queues import COMPUTE, CONSUMER, MASK, MATRIX, POPPED, PRODUCER, PUSHED
from .state import Ints, State

_LOAD, _STORE = int(Opcode.LOAD), int(Opcode.STORE)
_RING = IN_FLIGHT - 1
_POPPED, _PUSHED, _CONSUMER = np.array(POPPED), np.array(PUSHED), np.array(CONSUMER)
_GIVER = np.array([[PRODUCER[queue] for queue in pair] for pair in POPPED])

_THERE, _ROOM = 0, 1
"""Of a place in a token queue: the cycle from which its token can be taken, and the one from which
it has room for another."""


@inlined
def may_start(m: State, t: Clock, unit: int, head: int) -> bool:
    """Whether all is known that says when the unit's next instruction starts."""
    under_way = m.started[unit] - m.ended[unit]
    if under_way > 0 and (
        under_way >= IN_FLIGHT or head >> OPCODE_SHIFT & OPCODE_MASK != m.opcode[unit]
    ):
        return False
    for side in range(2):
        if head >> (TOKENS_SHIFT + side) & 1:
            q = _POPPED[unit, side] & MASK
            if t.popped[q] == t.pushed[q]:
                return False
    return has_met(m, unit, m.to_start[unit])


@inlined
def earliest_start(m: State, t: Clock, unit: int, head: int, seen: int) -> int:
    """Return the cycle in which the unit's next instruction starts, for one that `may_start`.

    What the unit waited for since its front was free is put down.

    Parameters
    ----------
    seen
        The cycle from which the unit sees the instruction.
    """
    place = m.started[unit] & _RING
    cycle = _wait(t, unit, NO_INSTRUCTION, t.front_free[unit], seen)
    written, ended = t.written_ring[unit, place], t.end_ring[unit, place]
    if head >> OPCODE_SHIFT & OPCODE_MASK != m.opcode[unit]:
        written, ended = t.written_at[unit], t.ended_at[unit]
    if ended > cycle:
        cycle = _wait(t, unit, _drain(m, unit), cycle, written + 1)
        cycle = _wait(t, unit, TOKEN_FULL, cycle, ended)
    if is_ordered(m, unit):
        after = int64s(m.after)[m.to_start[unit]]
        if after >= 0:
            cycle = _wait(t, unit, ORDER, cycle, int64s(m.heads)[2 * after + TIME])
    for side in range(2):
        if head >> (TOKENS_SHIFT + side) & 1:
            q = _POPPED[unit, side] & MASK
            cycle = _wait(t, unit, TOKEN_PREV + side, cycle, _place(t, q, t.popped[q])[_THERE])
    t.front_free[unit] = cycle
    return cycle


@inlined
def _drain(m: State, unit: int) -> int:
    return MEMORY if m.opcode[unit] in (_LOAD, _STORE) else PIPELINE


@inlined
def _wait(t: Clock, unit: int, cause: int, cycle: int, until: int) -> int:
    later = max(cycle, until)
    t.spent[unit, cause] += later - cycle
    return later


@inlined
def _place(t: Clock, queue: int, number: int) -> Ints:
    """Return the place of a token queue's token."""
    place = number & ((1 << t.tokens_shift) - 1)
    return skip(int64s(t.tokens), ((queue << t.tokens_shift) + place) * 2)


@inlined
def pop_tokens(m: State, t: Clock, unit: int, head: int, cycle: int) -> None:
    """Pop what the unit's instruction that starts in `cycle` needs."""
    for side in range(2):
        if head >> (TOKENS_SHIFT + side) & 1:
            q, giver = _POPPED[unit, side] & MASK, _GIVER[unit, side] & MASK
            _place(t, q, t.popped[q])[_ROOM] = cycle + 1
            t.popped[q] += 1
            if m.ended[giver] < t.written[giver]:
                t.awake[giver] = 1
            if giver == COMPUTE and m.ended[MATRIX] < t.written[MATRIX]:
                t.awake[MATRIX] = 1


@merged
def end_those_written(m: State, t: Clock, unit: int) -> None:
    """End the unit's instructions in order, up to one whose tokens find no room yet."""
    heads = int64s(m.heads)
    ended, written, cycle = m.ended[unit], t.written[unit], t.ended_at[unit]
    index = m.to_end[unit]
    while ended < written:
        head = heads[2 * index + HEAD]
        flags = head >> (TOKENS_SHIFT + 2)
        cycle = max(t.written_ring[unit, ended & _RING], cycle)
        if flags & 1:
            q = _PUSHED[unit, 0] & MASK
            if _is_full(m, t, q):
                break
            cycle = max(cycle, _place(t, q, t.pushed[q] - m.token_depth)[_ROOM])
        if flags & 2:
            q = _PUSHED[unit, 1] & MASK
            if _is_full(m, t, q):
                break
            cycle = max(cycle, _place(t, q, t.pushed[q] - m.token_depth)[_ROOM])
        cycle += 1
        for side in range(2):
            if flags >> side & 1:
                q = _PUSHED[unit, side] & MASK
                _place(t, q, t.pushed[q])[_THERE] = cycle
                t.pushed[q] += 1
                t.awake[_CONSUMER[q] & MASK] = 1
                if m.acc_banks == 2 and _CONSUMER[q] == COMPUTE:
                    t.awake[MATRIX] = 1
        t.end_ring[unit, ended & _RING] = t.ended_at[unit] = cycle
        heads[2 * index + TIME] = cycle
        ended += 1
        index = head >> NEXT_SHIFT
    if is_ordered(m, unit) and ended > m.ended[unit]:
        t.awake[COMPUTE + MATRIX - unit] = 1
    m.to_end[unit], m.ended[unit] = index, ended


@inlined
def _is_full(m: State, t: Clock, queue: int) -> bool:
    return t.pushed[queue] - t.popped[queue] >= m.token_depth
