"""The machine without a clock: units take turns, each runs until tokens stop it. Compiled.

Order is any that the tokens allow. Queues are as deep as the configuration says and instructions
start and end by the rules of TIMING.md, so that what deadlocks with a clock deadlocks without: an
instruction starts when its tokens are there and its unit has fewer than `IN_FLIGHT` under way, all
of its own kind; instructions of a unit end in order, each when its tokens find room.
"""

from .columns import KIND, NEXT, TOKENS, UNIT
from .decode import row_at
from .faults import DEADLOCK, OK
from .jit import compiled, entry
from .queues import IN_FLIGHT, POPPED, PUSHED, UNITS
from .semantics import execute
from .state import Ints, State


@entry
def run_functional(m: State) -> int:
    """Run a decoded program; return OK, a fault, or DEADLOCK."""
    for unit in range(UNITS):
        m.dispatched[unit] = m.started[unit] = m.ended[unit] = 0
        m.to_start[unit] = m.to_end[unit] = m.first[unit]
    fetched = 0
    moving = True
    while moving:
        moving = False
        while fetched < m.count:
            unit = row_at(m, fetched)[UNIT]
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
                    row = row_at(m, index)
                    m.started[unit] += 1
                    m.kind[unit] = row[KIND]
                    m.to_start[unit] = row[NEXT]
                    code = execute(m, row, index)
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


@compiled
def _may_start(m: State, unit: int) -> bool:
    """Pop the tokens of the unit's next instruction, if it may start."""
    row = row_at(m, m.to_start[unit])
    under_way = m.started[unit] - m.ended[unit]
    if under_way > 0 and (under_way >= IN_FLIGHT or m.kind[unit] != row[KIND]):
        return False
    flags = row[TOKENS]
    for side in range(2):
        if flags >> side & 1 and m.tokens[POPPED[unit][side]] == 0:
            return False
    for side in range(2):
        if flags >> side & 1:
            m.tokens[POPPED[unit][side]] -= 1
    return True


@compiled
def _end(m: State, unit: int) -> bool:
    """End the unit's oldest instruction under way, if its tokens find room."""
    row = row_at(m, m.to_end[unit])
    flags = row[TOKENS] >> 2
    for side in range(2):
        if flags >> side & 1 and m.tokens[PUSHED[unit][side]] >= m.token_depth:
            return False
    for side in range(2):
        if flags >> side & 1:
            m.tokens[PUSHED[unit][side]] += 1
    m.ended[unit] += 1
    m.to_end[unit] = row[NEXT]
    return True
