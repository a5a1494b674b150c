"""The machine without a clock: units take turns, each runs until tokens stop it. Compiled.

Order is any that the tokens allow. Queues are as deep as the configuration says and instructions
start and end by the rules of TIMING.md, so that what deadlocks with a clock deadlocks without: an
instruction starts when its tokens are there and its unit has fewer than `IN_FLIGHT` under way, all
of its own kind; instructions of a unit end in order, each when its tokens find room.
"""

import numpy as np

from ..isa.costs import IN_FLIGHT
from .columns import HEAD, NEXT_SHIFT, OPCODE_MASK, OPCODE_SHIFT, TOKENS_SHIFT
from .decode import row_at
from .faults import DEADLOCK, OK
from .jit import entry, inlined
from .order import has_met
from .pointers import int64s
from .queues import MASK, POPPED, PUSHED, UNITS
from .semantics import execute
from .state import State

_POPPED, _PUSHED = np.array(POPPED), np.array(PUSHED)


@entry
def run_functional(m: State) -> int:
    """Run a decoded program; return OK, a fault, or DEADLOCK."""
    for unit in range(UNITS):
        m.dispatched[unit] = m.started[unit] = m.ended[unit] = 0
        m.to_start[unit] = m.to_end[unit] = m.first[unit]
    heads, fetched = int64s(m.heads), 0
    moving = True
    while moving:
        moving = False
        while fetched < m.count:
            unit = heads[2 * fetched + HEAD] & MASK
            if m.dispatched[unit] - m.started[unit] >= m.command_depth:
                break
            m.dispatched[unit] += 1
            fetched += 1
            moving = True
        for unit in range(UNITS):
            while True:
                if m.ended[unit] < m.started[unit] and _end(m, unit):
                    moving = True
                elif m.started[unit] < m.dispatched[unit] and _may_start(m, unit):
                    index = m.to_start[unit]
                    m.started[unit] += 1
                    m.opcode[unit] = heads[2 * index + HEAD] >> OPCODE_SHIFT & OPCODE_MASK
                    m.to_start[unit] = heads[2 * index + HEAD] >> NEXT_SHIFT
                    code = execute(m, row_at(m, index), index)
                    if code != OK:
                        return code
                    moving = True
                else:
                    break
    if fetched < m.count:
        return DEADLOCK
    for unit in range(UNITS):
        if m.ended[unit] < m.dispatched[unit]:
            return DEADLOCK
    return OK


@inlined
def _may_start(m: State, unit: int) -> bool:
    """Pop the tokens of the unit's next instruction, if it may start."""
    head = int64s(m.heads)[2 * m.to_start[unit] + HEAD]
    under_way = m.started[unit] - m.ended[unit]
    opcode = head >> OPCODE_SHIFT & OPCODE_MASK
    if under_way > 0 and (under_way >= IN_FLIGHT or opcode != m.opcode[unit]):
        return False
    if not has_met(m, unit, m.to_start[unit]):
        return False
    flags = head >> TOKENS_SHIFT
    for side in range(2):
        if flags >> side & 1 and m.tokens[_POPPED[unit, side] & MASK] == 0:
            return False
    for side in range(2):
        if flags >> side & 1:
            m.tokens[_POPPED[unit, side] & MASK] -= 1
    return True


@inlined
def _end(m: State, unit: int) -> bool:
    """End the unit's oldest instruction under way, if its tokens find room."""
    head = int64s(m.heads)[2 * m.to_end[unit] + HEAD]
    flags = head >> (TOKENS_SHIFT + 2)
    for side in range(2):
        if flags >> side & 1 and m.tokens[_PUSHED[unit, side] & MASK] >= m.token_depth:
            return False
    for side in range(2):
        if flags >> side & 1:
            m.tokens[_PUSHED[unit, side] & MASK] += 1
    m.ended[unit] += 1
    m.to_end[unit] = head >> NEXT_SHIFT
    return True
