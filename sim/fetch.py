"""Fetch in time: bursts of instructions, handed to the command queues one a cycle. Compiled."""

from ..isa.config import INSTRUCTION_BITS
from .channel import request
from .clock import FETCH, NEVER, Clock
from .columns import UNIT
from .costs import FETCH_BUFFER_BURSTS, FETCH_BURST
from .decode import row_at
from .jit import compiled
from .pointers import int64s
from .state import State

_BYTES = INSTRUCTION_BITS // 8
_SLOTS = FETCH_BUFFER_BURSTS - 1


@compiled
def grant_fetch(m: State, t: Clock, cycle: int) -> None:
    """Send the read request of the next burst of instructions, and hand over what it brings."""
    count = min(m.count - t.bursts * FETCH_BURST, FETCH_BURST)
    words = ((count * _BYTES - 1) >> m.bus_shift) + 1
    t.fetch_data[t.bursts & _SLOTS] = request(t, FETCH, cycle, words)
    t.bursts += 1
    _ask(m, t, cycle + 1)
    dispatch(m, t)


@compiled
def dispatch(m: State, t: Clock) -> None:
    """Hand over all instructions that have been asked for, up to one whose queue is full."""
    asked = min(t.bursts * FETCH_BURST, m.count)
    places = int64s(t.places)
    while t.fetched < asked:
        index = t.fetched
        unit = row_at(m, index)[UNIT]
        if m.dispatched[unit] - m.started[unit] >= m.command_depth:
            return
        slot = (index // FETCH_BURST) & _SLOTS
        last_byte = (index % FETCH_BURST + 1) * _BYTES - 1
        arrival = t.fetch_data[slot] + (last_byte >> m.bus_shift)
        place = unit * m.command_depth + t.place_in[unit]
        cycle = max(t.dispatched_at, arrival, places[place]) + 1
        places[place] = cycle + 1
        t.place_in[unit] = after(t.place_in[unit], m.command_depth)
        t.dispatched_at = cycle
        m.dispatched[unit] += 1
        t.fetched = index + 1
        if t.fetched % FETCH_BURST == 0:
            t.drained_at[slot] = cycle + 1
            if t.request_at[FETCH] == NEVER:
                _ask(m, t, cycle + 1)


@compiled
def after(place: int, length: int) -> int:
    """Return the place after one, in a ring."""
    return place + 1 if place + 1 < length else 0


@compiled
def _ask(m: State, t: Clock, cycle: int) -> None:
    """Ask for the next burst from `cycle` on, if there is one, as soon as the buffer has room."""
    room = t.fetched >= (t.bursts + 1 - FETCH_BUFFER_BURSTS) * FETCH_BURST
    if t.bursts * FETCH_BURST < m.count and room:
        t.request_at[FETCH] = max(cycle, t.drained_at[t.bursts & _SLOTS])
    else:
        t.request_at[FETCH] = NEVER
