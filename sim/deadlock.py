"""What every unit waits for when nothing moves any more, in words."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..isa.config import Config
from ..isa.instructions import Unit
from .columns import TOKENS, UNIT
from .errors import DeadlockError
from .explain import describe
from .queues import POPPED, PUSHED, TOKEN_QUEUES

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Standstill:
    """Where a run came to a stop.

    Attributes
    ----------
    rows, order, counts
        See `decode.decode`.
    dispatched, started, ended : int64 (3)
        Instructions of each unit that got that far.
    tokens : int64 (4)
        Tokens in each queue.
    """

    rows: npt.NDArray[np.int32]
    order: npt.NDArray[np.int32]
    counts: I64
    dispatched: I64
    started: I64
    ended: I64
    tokens: I64


def explain_deadlock(
    still: Standstill, insns: npt.NDArray[np.uint8], config: Config
) -> DeadlockError:
    """Return the exception that says what each unit and fetch wait for."""
    reasons: list[str] = []
    first: int | None = None
    for unit in Unit:
        waits = _unit(still, unit, insns, config)
        if waits is not None:
            index, reason = waits
            first = index if first is None else min(first, index)
            reasons.append(f"{unit.name.lower()} {reason}")
    fetched = int(still.dispatched.sum())
    if fetched < len(insns):
        full = Unit(int(still.rows[fetched, UNIT])).name.lower()
        reasons.append(
            f"fetch cannot hand over {describe(fetched, insns, config)}: the {full} queue is full "
            f"(command_queue_depth {config.command_queue_depth})"
        )
    return DeadlockError("deadlock: " + "; ".join(reasons), instruction=first)


def _unit(
    still: Standstill, unit: Unit, insns: npt.NDArray[np.uint8], config: Config
) -> tuple[int, str] | None:
    ended, started = int(still.ended[unit]), int(still.started[unit])
    if ended == still.counts[unit]:
        return None
    if ended < started:
        index = int(still.order[unit, ended])
        full = [q for q in _queues(still, PUSHED[unit], index, 2)
                if still.tokens[q] >= config.token_queue_depth]
        names = " and ".join(TOKEN_QUEUES[q] for q in full)
        return index, (
            f"cannot end {describe(index, insns, config)}: the queue {names} is full "
            f"(token_queue_depth {config.token_queue_depth})"
        )
    if started == still.dispatched[unit]:
        index = int(still.order[unit, started])
        return index, f"waits for fetch to hand over {describe(index, insns, config)}"
    index = int(still.order[unit, started])
    empty = [q for q in _queues(still, POPPED[unit], index, 0) if still.tokens[q] == 0]
    names = " and ".join(TOKEN_QUEUES[q] for q in empty)
    return index, f"waits for a token from {names} at {describe(index, insns, config)}"


def _queues(still: Standstill, pair: tuple[int, int], index: int, shift: int) -> list[int]:
    flags = int(still.rows[index, TOKENS]) >> shift
    return [queue for side, queue in enumerate(pair) if flags >> side & 1]
