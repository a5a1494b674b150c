"""When an instruction starts and when it ends: queues, tokens, order. Compiled."""

from ..isa.instructions import Opcode
from .clock import (
    BUSY,
    MEMORY,
    NEVER,
    NO_INSTRUCTION,
    PIPELINE,
    TOKEN_FULL,
    TOKEN_PREV,
    Clock,
)
from .columns import KIND, NEXT, TOKENS
from .decode import row_at
from .fetch import after
from .jit import compiled
from .pointers import int64s
from .queues import IN_FLIGHT, POPPED, PUSHED
from .state import Ints, State

_LOAD, _STORE = int(Opcode.LOAD), int(Opcode.STORE)
_RING = IN_FLIGHT - 1


@compiled
def earliest_start(m: State, t: Clock, unit: int) -> int:
    """Return the cycle in which the unit's next instruction starts, or NEVER while that is open."""
    number = m.started[unit]
    if number == m.dispatched[unit] or t.front_free[unit] == NEVER:
        return NEVER
    row = row_at(m, m.to_start[unit])
    places = int64s(t.places)
    cycle = max(t.front_free[unit], places[unit * m.command_depth + t.place_out[unit]])
    if row[KIND] != m.kind[unit]:
        if m.ended[unit] != number:
            return NEVER
        cycle = max(cycle, t.ended_at[unit])
    elif number >= IN_FLIGHT:
        if m.ended[unit] <= number - IN_FLIGHT:
            return NEVER
        cycle = max(cycle, t.end_ring[unit, number & _RING])
    flags = row[TOKENS]
    if flags & 3:
        tokens = int64s(t.token_places)
        for side in range(2):
            if flags >> side & 1:
                q = POPPED[unit][side]
                if m.tokens[q] == 0:
                    return NEVER
                cycle = max(cycle, tokens[q * m.token_depth + t.token_out[q]])
    return cycle


@compiled
def account(m: State, t: Clock, unit: int, row: Ints) -> None:
    """Put down what the unit waited for since its front was free, up to the start now due."""
    number = m.started[unit]
    cycle = t.front_free[unit]
    t.spent[unit, BUSY] += cycle - t.started_at[unit]
    if row[KIND] != m.kind[unit]:
        cycle = account_end(m, t, unit, cycle)
    elif number >= IN_FLIGHT:
        cycle = _wait(t, unit, _drain(m, unit), cycle, t.end_ring[unit, number & _RING])
    seen = int64s(t.places)[unit * m.command_depth + t.place_out[unit]]
    cycle = _wait(t, unit, NO_INSTRUCTION, cycle, seen)
    flags = row[TOKENS]
    tokens = int64s(t.token_places)
    for side in range(2):
        if flags >> side & 1:
            q = POPPED[unit][side]
            token_at = tokens[q * m.token_depth + t.token_out[q]]
            cycle = _wait(t, unit, TOKEN_PREV + side, cycle, token_at)


@compiled
def account_end(m: State, t: Clock, unit: int, cycle: int) -> int:
    """Put down the cycles from `cycle` until the unit's last instruction has ended."""
    cycle = _wait(t, unit, _drain(m, unit), cycle, t.written_at[unit] + 1)
    return _wait(t, unit, TOKEN_FULL, cycle, t.ended_at[unit])


@compiled
def _drain(m: State, unit: int) -> int:
    return MEMORY if m.kind[unit] == _LOAD or m.kind[unit] == _STORE else PIPELINE


@compiled
def _wait(t: Clock, unit: int, cause: int, cycle: int, until: int) -> int:
    if until > cycle:
        t.spent[unit, cause] += until - cycle
        return until
    return cycle


@compiled
def take_tokens(m: State, t: Clock, unit: int, flags: int, cycle: int) -> None:
    """Pop in `cycle`, for an instruction that `earliest_start` let start."""
    tokens = int64s(t.token_places)
    for side in range(2):
        if flags >> side & 1:
            q = POPPED[unit][side]
            tokens[q * m.token_depth + t.token_out[q]] = cycle
            t.token_out[q] = after(t.token_out[q], m.token_depth)
            m.tokens[q] -= 1


@compiled
def end_those_written(m: State, t: Clock, unit: int) -> None:
    """End the unit's instructions in order, up to one whose tokens find no room yet."""
    tokens = int64s(t.token_places)
    while m.ended[unit] < t.written[unit]:
        row = row_at(m, m.to_end[unit])
        slot = m.ended[unit] & _RING
        flags = row[TOKENS] >> 2
        cycle = max(t.written_ring[unit, slot], t.ended_at[unit])
        for side in range(2):
            if flags >> side & 1:
                q = PUSHED[unit][side]
                if m.tokens[q] >= m.token_depth:
                    return
                cycle = max(cycle, tokens[q * m.token_depth + t.token_in[q]] + 1)
        for side in range(2):
            if flags >> side & 1:
                q = PUSHED[unit][side]
                tokens[q * m.token_depth + t.token_in[q]] = cycle + 1
                t.token_in[q] = after(t.token_in[q], m.token_depth)
                m.tokens[q] += 1
        t.ended_at[unit] = cycle + 1
        t.end_ring[unit, slot] = cycle + 1
        m.ended[unit] += 1
        m.to_end[unit] = row[NEXT]
