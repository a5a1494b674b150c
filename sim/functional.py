"""The machine without a clock: units take turns, each runs until tokens stop it. Compiled.

Order is any that the tokens allow; queues are as deep as the configuration says, so that what
deadlocks with time deadlocks without. The rules on when an instruction may start are those of
TIMING.md: an instruction starts when its tokens are there and its unit has fewer than `IN_FLIGHT`
under way, all of its own kind; instructions of a unit end in order, each when there is room for the
tokens it pushes.
"""

import numpy as np
import numpy.typing as npt

from ..isa.instructions import Unit
from .columns import KIND, TOKENS, UNIT
from .faults import DEADLOCK, OK
from .jit import compiled
from .queues import IN_FLIGHT, POPPED, PUSHED
from .semantics import Storage, execute

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_UNITS = len(Unit)
_QUEUES = np.array([POPPED[unit] + PUSHED[unit] for unit in Unit])
_POPS, _PUSHES = (0, 1), (2, 3)


@compiled
def run_functional(
    rows: I32,
    order: I32,
    counts: I64,
    tokens: I64,
    command_depth: int,
    token_depth: int,
    progress: I64,
    s: Storage,
) -> int:
    """Run a decoded program; return OK, a fault, or DEADLOCK.

    Parameters
    ----------
    tokens : int64 (4)
        Tokens in each queue, in the order of `queues.TOKEN_QUEUES`; left as they are at the end.
    progress : int64 (3, 3)
        Filled with each unit's instructions dispatched, started and ended.
    """
    n = rows.shape[0]
    dispatched, started, ended = progress[0], progress[1], progress[2]
    progress[:] = 0
    fetched = 0
    moving = True
    while moving:
        moving = False
        while fetched < n:
            unit = rows[fetched, UNIT]
            if dispatched[unit] - started[unit] >= command_depth:
                break
            dispatched[unit] += 1
            fetched += 1
            moving = True
        for unit in range(_UNITS):
            while True:
                if ended[unit] < started[unit]:
                    row = rows[order[unit, ended[unit]]]
                    if _room(row, unit, tokens, token_depth):
                        _push(row, unit, tokens)
                        ended[unit] += 1
                        moving = True
                        continue
                if started[unit] == dispatched[unit]:
                    break
                index = order[unit, started[unit]]
                row = rows[index]
                under_way = started[unit] - ended[unit]
                if under_way > 0:
                    before = rows[order[unit, started[unit] - 1], KIND]
                    if under_way >= IN_FLIGHT or before != row[KIND]:
                        break
                if not _take(row, unit, tokens):
                    break
                started[unit] += 1
                moving = True
                code = execute(row, index, s)
                if code != OK:
                    return code
    for unit in range(_UNITS):
        if ended[unit] < counts[unit]:
            return DEADLOCK
    return OK


@compiled
def _take(row: I32, unit: int, tokens: I64) -> bool:
    """Pop all that the instruction pops, if all of it is there."""
    flags = row[TOKENS]
    for side in _POPS:
        if flags >> side & 1 and tokens[_QUEUES[unit, side]] == 0:
            return False
    for side in _POPS:
        if flags >> side & 1:
            tokens[_QUEUES[unit, side]] -= 1
    return True


@compiled
def _room(row: I32, unit: int, tokens: I64, depth: int) -> bool:
    flags = row[TOKENS]
    for side in _PUSHES:
        if flags >> side & 1 and tokens[_QUEUES[unit, side]] >= depth:
            return False
    return True


@compiled
def _push(row: I32, unit: int, tokens: I64) -> None:
    flags = row[TOKENS]
    for side in _PUSHES:
        if flags >> side & 1:
            tokens[_QUEUES[unit, side]] += 1
