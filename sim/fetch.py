"""Fetch in time: bursts of instructions, handed to the command queues one a cycle. Compiled."""

from ..isa.config import INSTRUCTION_BITS
from ..isa.costs import FETCH_BUFFER_BURSTS, FETCH_BURST
from .channel import request
from .clock import FETCH, FETCH_UNIT, NEVER, Clock
from .columns import HEAD, TIME
from .jit import inlined, merged
from .pointers import int64s
from .queues import MASK, UNITS
from .state import State

_BYTES = INSTRUCTION_BITS // 8
_SLOTS = FETCH_BUFFER_BURSTS - 1


@merged
def grant_fetch(m: State, t: Clock, cycle: int) -> None:
    """Send the read request of the next burst of instructions."""
    count = min(m.count - t.bursts * FETCH_BURST, FETCH_BURST)
    words = ((count * _BYTES - 1) >> m.bus_shift) + 1
    t.fetch_data[t.bursts & _SLOTS] = request(t, FETCH, cycle, words)
    t.bursts += 1
    _ask(m, t, cycle + 1)
    t.awake[FETCH_UNIT], t.ask_from = 1, cycle


@merged
def dispatch(m: State, t: Clock) -> None:
    """Hand over all instructions that have been asked for, up to one whose queue is full."""
    asked = min(t.bursts * FETCH_BURST, m.count)
    heads, depth, shift, left_shift = int64s(m.heads), m.command_depth, m.bus_shift, t.left_shift
    left, left_mask = int64s(t.left), (1 << left_shift) - 1
    index, cycle = t.fetched, t.dispatched_at
    t.ask_from = NEVER
    for unit in range(UNITS):
        t.wake_at[unit] = NEVER
    while index < asked:
        unit = heads[2 * index + HEAD] & MASK
        dispatched = m.dispatched[unit]
        waiting = dispatched - m.started[unit]
        if waiting >= depth:
            _wait_for_room(m, t, unit, index, asked)
            break
        if waiting == 0:
            t.awake[unit] = 1
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
def _wait_for_room(m: State, t: Clock, unit: int, index: int, asked: int) -> None:
    """Let fetch sleep until it can do what somebody waits for: see `clock.CLOCK`, `wake_at`.

    It can ask for its next burst only when the unit's queue has room for all of its instructions in
    this burst. A unit that has run out of instructions, and has more in the buffer, waits for each.
    """
    heads, missing = int64s(m.heads), 0
    for later in range(index, min((index | (FETCH_BURST - 1)) + 1, m.count)):
        missing += heads[2 * later + HEAD] & MASK == unit
    for other in range(UNITS):
        if m.started[other] == m.dispatched[other] and 0 <= m.to_start[other] < asked:
            missing = 1
    t.wake_at[unit] = m.dispatched[unit] + missing - m.command_depth


@inlined
def leave_queue(m: State, t: Clock, unit: int, cycle: int) -> None:
    """Take the unit's next instruction, which starts in `cycle`, out of its command queue."""
    number = m.started[unit]
    int64s(t.left)[(unit << t.left_shift) + (number & ((1 << t.left_shift) - 1))] = cycle
    m.started[unit] = number + 1
    if number + 1 == t.wake_at[unit]:
        t.awake[FETCH_UNIT], t.ask_from = 1, cycle + 2


@inlined
def _ask(m: State, t: Clock, cycle: int) -> None:
    """Ask for the next burst from `cycle` on, if there is one, as soon as the buffer has room."""
    room = t.fetched >= (t.bursts + 1 - FETCH_BUFFER_BURSTS) * FETCH_BURST
    if t.bursts * FETCH_BURST < m.count and room:
        t.request_at[FETCH] = max(cycle, t.drained_at[t.bursts & _SLOTS])
    else:
        t.request_at[FETCH] = NEVER
