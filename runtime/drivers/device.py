"""What a runtime needs of a machine, whatever it is: memory, runs and counters."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from ...isa.config import PAGE_BYTES, Config


class DeviceError(RuntimeError):
    """A device that cannot do what is asked of it, or an engine that does not exist."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """What one run of an instruction stream came to.

    Attributes
    ----------
    cycles : int or None
        From the first fetch until the last instruction has ended; None where nobody counted.
    counters : mapping of str to int
        What this run did, by name: bytes moved and tiles computed in the original VTA's names
        (`gemm_counter`, `inp_load_nbytes`, ...), and whatever more the device counts.
    starts, ends : int64 (n) or None
        The cycle in which each instruction started, and the first one after its end, in program
        order; None where they were not recorded.
    """

    cycles: int | None
    counters: Mapping[str, int]
    starts: npt.NDArray[np.int64] | None = None
    ends: npt.NDArray[np.int64] | None = None


class Device(Protocol):
    """A machine with memory that the host can reach. Usable in a `with` statement."""

    @property
    def config(self) -> Config:
        """The machine's configuration."""
        ...

    def allocate(self, size_bytes: int, *, align: int = PAGE_BYTES) -> int:
        """Return the address of so many unused bytes, a multiple of `align`; never in page 0.

        Raises
        ------
        OutOfMemory
            When there is no such room, saying how much there is.
        """
        ...

    def release(self, address: int) -> None:
        """Give back what `allocate` returned."""
        ...

    def write(self, address: int, data: npt.NDArray[np.uint8]) -> None:
        """Copy bytes, uint8 (n), to memory.

        Raises
        ------
        DeviceError
            For bytes outside the memory.
        """
        ...

    def read(self, address: int, size_bytes: int) -> npt.NDArray[np.uint8]:
        """Return a copy of memory, uint8 (size_bytes).

        Raises
        ------
        DeviceError
            For bytes outside the memory.
        """
        ...

    def view(self, address: int, size_bytes: int) -> npt.NDArray[np.uint8]:
        """Return memory itself, uint8 (size_bytes): what one side writes there, the other reads.

        Raises
        ------
        DeviceError
            For bytes outside the memory.
        """
        ...

    def fetch(self, address: int, size_bytes: int) -> None:
        """Bring what `view` shows of so many bytes up to date with what runs have stored there."""
        ...

    def run(self, insns: npt.NDArray[np.uint8]) -> RunResult:
        """Execute a stream, uint8 (n, 16), with absolute addresses, until it has finished."""
        ...

    @property
    def counters(self) -> Mapping[str, int]:
        """What all runs since the device was opened did, by the names of `RunResult.counters`."""
        ...

    def close(self) -> None:
        """Let go of the machine; nothing else may be called afterwards."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
