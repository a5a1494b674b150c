"""Fetch in time: bursts of instructions, handed to the command queues one a cycle. Compiled."""

import numpy as np
import numpy.typing as npt

from ..isa.config import INSTRUCTION_BITS
from .channel import request
from .columns import UNIT
from .costs import FETCH_BUFFER_BURSTS, FETCH_BURST
from .jit import compiled
from .state import FETCH, NEVER, Clock

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_BYTES = INSTRUCTION_BITS // 8
_BURSTS = FETCH_BUFFER_BURSTS


@compiled
def grant_fetch(t: Clock, cycle: int) -> None:
    """Send the read request of the next burst of instructions."""
    count = min(t.instructions - t.bursts * FETCH_BURST, FETCH_BURST)
    words = (count * _BYTES + t.bus_bytes - 1) // t.bus_bytes
    t.fetch_data[t.bursts % _BURSTS] = request(t, FETCH, cycle, words)
    t.bursts += 1
    _want(t, cycle + 1)


@compiled
def dispatch(t: Clock, rows: I32, queue: I64) -> None:
    """Hand over all instructions that have been requested, up to one whose queue is full.

    Parameters
    ----------
    queue : int64 (3, command_queue_depth)
        For each place of each command queue, the cycle from which the unit sees the instruction in
        it or, once that has started, the cycle of its start.
    """
    asked = min(t.bursts * FETCH_BURST, t.instructions)
    while t.fetched < asked:
        index = t.fetched
        unit = rows[index, UNIT]
        number = t.dispatched[unit]
        if number - t.started[unit] >= t.command_depth:
            return
        burst = index // FETCH_BURST
        last_byte = (index - burst * FETCH_BURST + 1) * _BYTES - 1
        arrival = t.fetch_data[burst % _BURSTS] + last_byte // t.bus_bytes
        place = number % t.command_depth
        cycle = max(t.dispatched_at + 1, arrival + 1, queue[unit, place] + 1)
        queue[unit, place] = cycle + 1
        t.dispatched_at = cycle
        t.dispatched[unit] = number + 1
        t.fetched = index + 1
        if t.fetched % FETCH_BURST == 0:
            t.drained_at[burst % _BURSTS] = cycle + 1
            if t.request_at[FETCH] == NEVER:
                _want(t, cycle + 1)


@compiled
def _want(t: Clock, cycle: int) -> None:
    """Ask for the next burst from `cycle` on, if there is one, as soon as the buffer has room."""
    room = t.fetched >= (t.bursts + 1 - _BURSTS) * FETCH_BURST
    if t.bursts * FETCH_BURST < t.instructions and room:
        t.request_at[FETCH] = max(cycle, t.drained_at[t.bursts % _BURSTS])
    else:
        t.request_at[FETCH] = NEVER
