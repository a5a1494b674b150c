"""A machine in this process, simulated or compiled from its RTL, as a device."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from ...isa.config import PAGE_BYTES, Config
from ...sim.errors import ProgramError
from ...sim.machine import Counters, Result
from ..buffers import Heap
from .device import DeviceError, RunResult

DEFAULT_DRAM_BYTES = 1 << 30
"""Memory of a device; the host's pages are taken when touched."""


class AnyMachine(Protocol):
    """What `sim.machine.Machine` and `RtlMachine` have in common."""

    config: Config
    memory_latency: int
    dram: npt.NDArray[np.uint8]

    @property
    def tokens(self) -> Mapping[str, int]: ...

    def close(self) -> None: ...

    def reset(self) -> None: ...

    def run(
        self, insns: npt.NDArray[np.uint8], *, timing: bool = True, record: bool = False
    ) -> Result: ...


class InProcess:
    """A `Device` over a machine in this process.

    Parameters
    ----------
    machine
        A `sim.machine.Machine` or an `RtlMachine`.
    timing : bool
        Whether to count cycles.
    record : bool
        Whether, with timing, to record when each instruction starts and ends.
    """

    def __init__(self, machine: AnyMachine, *, timing: bool = True, record: bool = True) -> None:
        self.machine = machine
        self.timing = timing
        self.record = record
        self._heap = Heap(PAGE_BYTES, machine.dram.size)
        self._counters: Counter[str] = Counter()

    @property
    def config(self) -> Config:
        """The machine's configuration."""
        return self.machine.config

    def allocate(self, size_bytes: int, *, align: int = PAGE_BYTES) -> int:
        """Return the address of so many unused bytes; raises `OutOfMemory`."""
        return self._heap.allocate(size_bytes, align=align)

    def release(self, address: int) -> None:
        """Give back what `allocate` returned."""
        self._heap.release(address)

    def write(self, address: int, data: npt.NDArray[np.uint8]) -> None:
        """Copy bytes, uint8 (n), to memory; raises `DeviceError` outside it."""
        self.machine.dram[self._range(address, data.size)] = data

    def read(self, address: int, size_bytes: int) -> npt.NDArray[np.uint8]:
        """Return a copy of memory, uint8 (size_bytes); raises `DeviceError` outside it."""
        return self.machine.dram[self._range(address, size_bytes)].copy()

    def view(self, address: int, size_bytes: int) -> npt.NDArray[np.uint8]:
        """Return memory itself, uint8 (size_bytes); raises `DeviceError` outside it."""
        return self.machine.dram[self._range(address, size_bytes)]

    def fetch(self, address: int, size_bytes: int) -> None:
        """Do nothing: `view` is memory itself."""

    def run(self, insns: npt.NDArray[np.uint8]) -> RunResult:
        """Execute a stream; raises `sim.errors.ProgramError` for a malformed one.

        With timing, the counters also say where cycles went: `load_busy_cycles`,
        `compute_token_prev_cycles`, `gemm_cycles`, `load_words` and so on, the fields of
        `sim.machine.Cycles`.
        """
        try:
            result = self.machine.run(insns, timing=self.timing, record=self.timing and self.record)
        except ProgramError:
            self.machine.reset()  # tokens of a program that broke off must not reach the next one
            raise
        counters = flat(result.counters)
        self._counters.update(counters)
        return RunResult(result.cycles, counters, result.starts, result.ends)

    @property
    def counters(self) -> Mapping[str, int]:
        """What all runs did, by the names of `RunResult.counters`."""
        return dict(self._counters)

    def close(self) -> None:
        """Let go of the machine."""
        self.machine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _range(self, address: int, size_bytes: int) -> slice:
        end = address + size_bytes
        if address < 0 or end > self.machine.dram.size:
            raise DeviceError(
                f"bytes {address} to {end - 1} are not in memory, "
                f"which ends at {self.machine.dram.size - 1}"
            )
        return slice(address, end)


def flat(counters: Counters) -> dict[str, int]:
    """Return counters by the names of `RunResult.counters`."""
    flat = counters.original()
    if counters.cycles is not None:
        for name, value in asdict(counters.cycles).items():
            if isinstance(value, int):
                flat[name if name.endswith(("_words", "_hits")) else f"{name}_cycles"] = value
            else:
                flat |= {f"{name}_{reason}_cycles": count for reason, count in value.items()}
    return flat
