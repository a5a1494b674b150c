"""When an instruction starts and when it ends: queues, tokens, order. Compiled."""

import numpy as np
import numpy.typing as npt

from ..isa.instructions import Opcode, Unit
from .columns import KIND, TOKENS
from .jit import compiled
from .queues import IN_FLIGHT, POPPED, PRODUCER, PUSHED
from .state import (
    BUSY,
    MEMORY,
    NEVER,
    NO_INSTRUCTION,
    PIPELINE,
    TOKEN_FULL,
    TOKEN_NEXT,
    TOKEN_PREV,
    Clock,
)

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_POPPED = np.array([POPPED[unit] for unit in Unit])
_PUSHED = np.array([PUSHED[unit] for unit in Unit])
_PRODUCER = np.array(PRODUCER)
_LOAD, _STORE = int(Opcode.LOAD), int(Opcode.STORE)


@compiled
def earliest_start(t: Clock, unit: int, rows: I32, order: I32, queue: I64, tokens: I64) -> int:
    """Return the cycle in which the unit's next instruction starts, or NEVER while that is open.

    Parameters
    ----------
    queue : int64 (3, command_queue_depth)
        See `fetch.dispatch`.
    tokens : int64 (4, token_queue_depth)
        For each place of each token queue, the cycle from which the token in it can be taken or,
        once it has been, the cycle in which it was.
    """
    number = t.started[unit]
    if number == t.dispatched[unit] or t.front_free[unit] == NEVER:
        return NEVER
    row = rows[order[unit, number]]
    cycle = max(t.front_free[unit], queue[unit, number % t.command_depth])
    if row[KIND] != t.kind[unit]:
        if t.ended[unit] != number:
            return NEVER
        cycle = max(cycle, t.ended_at[unit])
    elif number >= IN_FLIGHT:
        if t.ended[unit] <= number - IN_FLIGHT:
            return NEVER
        cycle = max(cycle, t.end_ring[unit, number % IN_FLIGHT])
    flags = row[TOKENS]
    for side in range(2):
        if flags >> side & 1:
            q = _POPPED[unit, side]
            if t.popped[q] == t.pushed[q]:
                return NEVER
            cycle = max(cycle, tokens[q, t.popped[q] % t.token_depth])
    return cycle


@compiled
def account(t: Clock, unit: int, flags: int, kind: int, queue: I64, tokens: I64) -> None:
    """Put down what the unit waited for since its front was free, up to the start now due."""
    number = t.started[unit]
    cycle = t.front_free[unit]
    t.spent[unit, BUSY] += cycle - t.started_at[unit]
    if kind != t.kind[unit]:
        cycle = account_end(t, unit, cycle)
    elif number >= IN_FLIGHT:
        cycle = _wait(t, unit, _drain(t, unit), cycle, t.end_ring[unit, number % IN_FLIGHT])
    cycle = _wait(t, unit, NO_INSTRUCTION, cycle, queue[unit, number % t.command_depth])
    for side in range(2):
        if flags >> side & 1:
            q = _POPPED[unit, side]
            taken = tokens[q, t.popped[q] % t.token_depth]
            cycle = _wait(t, unit, TOKEN_PREV + side, cycle, taken)


@compiled
def account_end(t: Clock, unit: int, cycle: int) -> int:
    """Put down the cycles from `cycle` until the unit's last instruction has ended."""
    cycle = _wait(t, unit, _drain(t, unit), cycle, t.written_at[unit] + 1)
    return _wait(t, unit, TOKEN_FULL, cycle, t.ended_at[unit])


@compiled
def _drain(t: Clock, unit: int) -> int:
    return MEMORY if t.kind[unit] == _LOAD or t.kind[unit] == _STORE else PIPELINE


@compiled
def _wait(t: Clock, unit: int, cause: int, cycle: int, until: int) -> int:
    if until > cycle:
        t.spent[unit, cause] += until - cycle
        return until
    return cycle


@compiled
def take_tokens(t: Clock, unit: int, flags: int, cycle: int, tokens: I64) -> None:
    """Pop in `cycle`, for an instruction that `earliest_start` let start."""
    for side in range(2):
        if flags >> side & 1:
            q = _POPPED[unit, side]
            tokens[q, t.popped[q] % t.token_depth] = cycle
            t.popped[q] += 1


@compiled
def end_those_written(t: Clock, unit: int, rows: I32, order: I32, tokens: I64) -> None:
    """End the unit's instructions in order, up to one whose tokens find no room yet."""
    while t.ended[unit] < t.written[unit]:
        number = t.ended[unit]
        flags = rows[order[unit, number], TOKENS]
        cycle = max(t.written_ring[unit, number % IN_FLIGHT], t.ended_at[unit])
        for side in range(2):
            if flags >> (side + 2) & 1:
                q = _PUSHED[unit, side]
                if t.pushed[q] - t.popped[q] >= t.token_depth:
                    return
                cycle = max(cycle, tokens[q, t.pushed[q] % t.token_depth] + 1)
        for side in range(2):
            if flags >> (side + 2) & 1:
                q = _PUSHED[unit, side]
                tokens[q, t.pushed[q] % t.token_depth] = cycle + 1
                t.pushed[q] += 1
        t.ended_at[unit] = cycle + 1
        t.end_ring[unit, number % IN_FLIGHT] = cycle + 1
        t.ended[unit] = number + 1
