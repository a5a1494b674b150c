"""What every unit waits for when nothing moves any more, in words."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..isa.config import Config
from ..isa.instructions import Unit
from ..isa.registers import ErrorCode
from .columns import HEAD, TOKENS_SHIFT
from .errors import DeadlockError
from .explain import describe
from .queues import MASK, POPPED, PUSHED, TOKEN_QUEUES
from .state import U8


def explain_deadlock(
    m: np.void,
    heads: npt.NDArray[np.int64],
    after: npt.NDArray[np.int64],
    insns: U8,
    config: Config,
) -> DeadlockError:
    """Return the exception that says what each unit and fetch wait for.

    Parameters
    ----------
    m
        The machine as it came to a stop, a record of `state.STATE`.
    heads : int64 (n, 2)
        The decoded program; see `columns`.
    after : int64 (n)
        What instructions of COMPUTE and MATRIX come after; see `order`.
    """
    waits: dict[Unit, tuple[int, str]] = {}
    for unit in Unit:
        index = int(m["to_end"][unit])
        if index < 0:
            continue
        if m["started"][unit] > m["ended"][unit]:
            depth = config.token_queue_depth
            full = _queues(int(heads[index, HEAD]) >> (TOKENS_SHIFT + 2), PUSHED[unit])
            names = [TOKEN_QUEUES[q] for q in full if m["tokens"][q] >= depth]
            what = f"cannot end {describe(index, insns, config)}: {' and '.join(names)} is full"
            waits[unit] = index, f"{what} (token_queue_depth {depth})"
        elif m["dispatched"][unit] == m["started"][unit]:
            waits[unit] = index, f"waits for fetch to hand over {describe(index, insns, config)}"
        else:
            empty = _queues(int(heads[index, HEAD]) >> TOKENS_SHIFT, POPPED[unit])
            names = [TOKEN_QUEUES[q] for q in empty if m["tokens"][q] == 0]
            where = describe(index, insns, config)
            what = f"a token from {' and '.join(names)}"
            if not names:
                what = f"the end of {describe(int(after[index]), insns, config)}"
            waits[unit] = index, f"waits for {what} at {where}"
    reasons = [f"{unit.name.lower()} {reason}" for unit, (_, reason) in waits.items()]
    fetched = int(m["dispatched"].sum())
    if fetched < len(insns):
        full_unit = Unit(int(heads[fetched, HEAD]) & MASK).name.lower()
        reasons.append(
            f"fetch cannot hand over {describe(fetched, insns, config)}: the {full_unit} queue is "
            f"full (command_queue_depth {config.command_queue_depth})"
        )
    first = min(index for index, _ in waits.values())
    message = "deadlock: " + "; ".join(reasons)
    return DeadlockError(message, code=ErrorCode.DEADLOCK, instruction=first)


def _queues(flags: int, pair: Sequence[int]) -> list[int]:
    return [queue for side, queue in enumerate(pair) if flags >> side & 1]
