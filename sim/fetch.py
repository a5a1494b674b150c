"""Fetch in time: bursts of instructions, handed to the command queues one a cycle. Compiled."""

from ..isa.config import INSTRUCTION_BITS
from ..isa.costs import FETCH_BUFFER_BURSTS, FETCH_BURST
from .channel import request
from .clock import FETCH, NEVER, Clock
from .columns import HEAD, TIME
from .jit import compiled, inlined
from .pointers import int64s
from .queues import MASK
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
    heads, depth, shift, left_shift = int64s(m.heads), m.command_depth, m.bus_shift, t.left_shift
    left, left_mask = int64s(t.left), (1 << left_shift) - 1
    index, cycle = t.fetched, t.dispatched_at
    t.full = 0
    while index < asked:
        unit = heads[2 * index + HEAD] & MASK
        dispatched = m.dispatched[unit]
        waiting = dispatched - m.started[unit]
        if waiting >= depth:
            t.full = 1 << unit
            break
        if waiting == 0:
            t.awake |= 1 << unit
        m.dispatched[unit] = dispatched + 1
        place = index & (FETCH_BURST - 1)
        slot = (index // FETCH_BURST) & _SLOTS
        arrival = t.fetch_data[slot] + ((place * _BYTES + _BYTES - 1) >> shift)
        room = left[(unit << left_shift) + ((dispatched - depth) & left_mask)]
        cycle = max(cycle, arrival, room) + 1
        heads[2 * index + TIME] = cycle + 1
        if place == FETCH_BURST - 1:
            t.drained_at[slot] = cycle + 1
        index += 1
    if index > t.fetched:
        t.fetched, t.dispatched_at = index, cycle
    if t.request_at[FETCH] == NEVER:
        _ask(m, t, 0)


@inlined
def _ask(m: State, t: Clock, cycle: int) -> None:
    """Ask for the next burst from `cycle` on, if there is one, as soon as the buffer has room."""
    room = t.fetched >= (t.bursts + 1 - FETCH_BUFFER_BURSTS) * FETCH_BURST
    if t.bursts * FETCH_BURST < m.count and room:
        t.request_at[FETCH] = max(cycle, t.drained_at[t.bursts & _SLOTS])
    else:
        t.request_at[FETCH] = NEVER
