"""Whether others disturbed a measurement: took CPUs, or made them slower."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from .cpus import PROC, model_name, pinned, siblings

YARDSTICK_ELEMENTS, YARDSTICK_LOOPS, YARDSTICK_RUNS = 4096, 10, 5


class Watch:
    """Says how long this process did not get the CPUs that it wanted, and how fast they are.

    It does not get one while its threads are ready and another process runs (`schedstat` of Linux),
    and while the machine under a virtual one takes it (steal time in `/proc/stat`, in steps of
    10 ms). It is slower while a neighbour, of whom a virtual machine sees nothing else, computes on
    the other hardware thread of its core, or while it is too hot: that takes a yardstick.

    Parameters
    ----------
    cpus : sequence of int
        Those of `cpus.pinned`; the caller's is the first.
    """

    def __init__(self, cpus: Sequence[int]) -> None:
        self.cpus = cpus
        self._from = self._lost()

    @property
    def works(self) -> bool:
        """Whether this machine can say."""
        return self._waited() is not None

    def yardsticks(self) -> tuple[float, ...]:
        """Return the seconds of a fixed piece of work on each CPU, where no thread of ours runs.

        It is vector code that keeps a core busy, as networks do: beside a neighbour it took a third
        longer, and otherwise varied by 1 % (AMD EPYC). SHA-256, which waits for its own results,
        took 3 % longer; what allocates memory or is Python varied by 5 %.
        """
        return tuple(_yardstick(cpu) for cpu in [(cpu,) for cpu in self.cpus] or [()])

    def begin(self) -> None:
        """Begin to count."""
        self._from = self._lost()

    def lost(self) -> float:
        """Return seconds lost since `begin`, added up over threads."""
        return max(0.0, self._lost() - self._from)

    def _lost(self) -> float:
        return (self._waited() or 0.0) + self._stolen()

    def _waited(self) -> float | None:
        total, threads = 0, 0
        for path in (PROC / "self" / "task").glob("*/schedstat"):
            try:
                total += int(path.read_text().split()[1])
            except (OSError, ValueError, IndexError):
                continue  # a thread that ended meanwhile
            threads += 1
        return total / 1e9 if threads else None

    def _stolen(self) -> float:
        try:
            lines = (PROC / "stat").read_text().splitlines()
        except OSError:
            return 0.0
        rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("cpu")}
        ticks = sum(int(row[7]) for cpu in self.cpus if (row := rows.get(f"cpu{cpu}")))
        return ticks / os.sysconf("SC_CLK_TCK")


def _yardstick(cpus: Sequence[int]) -> float:
    argument = np.linspace(-1, 1, YARDSTICK_ELEMENTS, dtype=np.float32)
    result = np.empty_like(argument)
    found: list[float] = []
    with pinned(cpus):
        for _ in range(YARDSTICK_RUNS):
            begun = perf_counter()
            for _ in range(YARDSTICK_LOOPS):
                np.exp(argument, out=result)
            found.append(perf_counter() - begun)
    return min(found)


@dataclass(frozen=True)
class MachineFacts:
    """What rivals ran on: the CPU's name, those used and how many there are, and the load before.

    `shared_cores` says that two threads were pinned to one core, `watched` whether the system tells
    when others take a CPU; `load_average` is that of a minute, None where there is none.
    """

    cpu: str
    cpus: tuple[int, ...]
    of: int
    shared_cores: bool
    watched: bool
    load_average: float | None


def machine(cpus: Sequence[int]) -> MachineFacts:
    """Return what this machine says of itself, for threads pinned to these CPUs."""
    return MachineFacts(
        cpu=model_name(),
        cpus=tuple(cpus),
        of=os.cpu_count() or 1,
        shared_cores=len({siblings(cpu) for cpu in cpus}) < len(cpus),
        watched=Watch(cpus).works,
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )
