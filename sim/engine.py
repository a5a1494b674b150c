"""Both engines behind one call: decode, run, and turn what went wrong into exceptions."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..isa.config import Config
from ..isa.stream import words
from . import columns
from .clock import new_times
from .columns import COLUMNS
from .compute import alu_of, gemm_of, reset_of
from .deadlock import explain_deadlock
from .decode import decode
from .explain import explain
from .faults import DEADLOCK, OK
from .functional import run_functional
from .kernel import Kernel
from .state import I64, U8, new_buffers
from .timing import close_accounts, run_timed
from .transfers import loads_of, store_of


@dataclass(frozen=True, eq=False)
class Timing:
    """What the clocked engine found besides the results.

    Attributes
    ----------
    cycles : int
    clock
        The state at the end, a record of `clock.CLOCK`.
    starts, ends : int64 (n), or (0)
    """

    cycles: int
    clock: np.void
    starts: I64
    ends: I64


class Engine:
    """A machine's state, and the compiled code that works on it and on `dram`."""

    def __init__(self, config: Config, dram: U8) -> None:
        self.config = config
        self.buffers = new_buffers(config, dram)
        self._kernels = _kernels(config.batch, config.block_out)
        for action, kernel in self._kernels.items():
            self.buffers.record["kernels"][action] = kernel.address
        self._rows = np.empty((0, COLUMNS), np.int32)
        self._heads = np.empty((0, 2), np.int64)
        self._after = np.empty(0, np.int64)

    @property
    def counters(self) -> list[int]:
        """What the last run did, in the order of `isa.program.COUNTERS`."""
        return self.buffers.record["counters"].tolist()

    @property
    def tokens(self) -> list[int]:
        """The tokens in each queue, in the order of `queues.TOKEN_QUEUES`."""
        return self.buffers.record["tokens"].tolist()

    def run(self, insns: U8, *, latency: int | None, record: bool) -> Timing | None:
        """Run a program, with the clock when there is a memory latency.

        Raises
        ------
        ProgramError, DeadlockError
            As `machine.Machine.run` says.
        """
        m = self.buffers.record
        halves = words(insns)
        if len(insns) > len(self._rows):
            self._rows = np.empty((len(insns), COLUMNS), np.int32)
            self._heads = np.empty((len(insns), 2), np.int64)
            self._after = np.empty(len(insns), np.int64)
        rows = self._rows
        m["words"], m["rows"], m["count"] = halves.ctypes.data, rows.ctypes.data, len(insns)
        m["heads"], m["after"] = self._heads.ctypes.data, self._after.ctypes.data
        timing: Timing | None = None
        code = decode(m)
        if code == OK and latency is None:
            code = run_functional(m)
        elif code == OK and latency is not None:
            times = new_times(m, latency, record=record)
            code = run_timed(m, times.record)
            cycles = close_accounts(m, times.record)
            m["tokens"] = times.record["pushed"] - times.record["popped"]
            timing = Timing(cycles, times.record, times.starts, times.ends)
        if code == DEADLOCK:
            raise explain_deadlock(m, self._heads, self._after, insns, self.config)
        if code != OK:
            raise explain(m["fault"], insns, self.config, self.buffers.dram.size)
        return timing


@cache
def _kernels(batch: int, block: int) -> dict[int, Kernel]:
    """Return the kernels for tiles of a shape, by action."""
    lanes = batch * block
    bodies = {
        **{columns.LOAD + memory: body for memory, body in loads_of(lanes, block).items()},
        columns.STORE: store_of(lanes),
        columns.GEMM: gemm_of(batch, block),
        columns.RESETTING: reset_of(lanes),
        columns.ALU: alu_of(lanes),
    }
    return {action: Kernel(body) for action, body in bodies.items()}
