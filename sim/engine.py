"""Both engines behind one call: decode, run, and turn what went wrong into exceptions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..isa.config import Config
from ..isa.instructions import Unit
from ..isa.stream import words
from .columns import COLUMNS, field_table
from .deadlock import Standstill, explain_deadlock
from .decode import decode
from .explain import explain
from .faults import DEADLOCK, OK
from .functional import run_functional
from .queues import TOKEN_QUEUES
from .semantics import new_storage
from .timing import close_accounts, new_run, run_timed

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Timing:
    """What the clocked engine found besides the results.

    Attributes
    ----------
    cycles : int
    clock
        The state at the end, a record of `state.CLOCK`.
    starts, ends : int64 (n), or (0)
    """

    cycles: int
    clock: np.void
    starts: I64
    ends: I64


class Engine:
    """Buffers, tokens and the compiled code that works on them and on `dram`, uint8."""

    def __init__(self, config: Config, dram: U8) -> None:
        self.config = config
        self.storage = new_storage(config, dram)
        self.tokens = np.zeros(len(TOKEN_QUEUES), np.int64)
        self._rows = np.empty((0, COLUMNS), np.int32)
        self._order = np.empty((len(Unit), 0), np.int32)

    def reset(self) -> None:
        """Clear buffers and tokens."""
        for buffer in (self.storage.uops, self.storage.inp, self.storage.wgt, self.storage.acc):
            buffer[:] = 0
        self.tokens[:] = 0

    def run(self, insns: U8, *, latency: int | None, record: bool) -> Timing | None:
        """Run a program, with the clock when there is a memory latency.

        Raises
        ------
        ProgramError, DeadlockError
            As `machine.Machine.run` says.
        """
        config, s = self.config, self.storage
        halves = words(insns)
        n = len(insns)
        if n > len(self._rows):
            self._rows = np.empty((n, COLUMNS), np.int32)
            self._order = np.empty((len(Unit), n), np.int32)
        rows, order = self._rows[:n], self._order
        counts = np.zeros(len(Unit), np.int64)
        s.counters[:] = 0
        code = decode(
            halves,
            field_table(config),
            s.depths,
            s.element_bytes,
            s.dram.size,
            rows,
            order,
            counts,
            s.fault,
        )
        if code != OK:
            raise explain(s.fault, insns, config, s.dram.size)
        timing: Timing | None = None
        if latency is None:
            progress = np.zeros((3, len(Unit)), np.int64)
            code = run_functional(
                rows,
                order,
                counts,
                self.tokens,
                config.command_queue_depth,
                config.token_queue_depth,
                progress,
                s,
            )
            dispatched, started, ended = progress
        else:
            run = new_run(config, latency, rows, order, self.tokens, record=record)
            code = run_timed(run, s)
            cycles = close_accounts(run)
            clock = run.clock[0]
            self.tokens[:] = clock["pushed"] - clock["popped"]
            dispatched, started, ended = clock["dispatched"], clock["started"], clock["ended"]
            timing = Timing(cycles, clock, run.starts, run.ends)
        if code == DEADLOCK:
            still = Standstill(rows, order, counts, dispatched, started, ended, self.tokens)
            raise explain_deadlock(still, insns, config)
        if code != OK:
            raise explain(s.fault, insns, config, s.dram.size)
        return timing
