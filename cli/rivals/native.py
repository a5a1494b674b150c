"""This project's own code for the CPU as a rival: compiled by LLVM, in integers and in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .cpus import pinned
from .rival import Case, Rival, RivalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...compiler.graph import Graph
    from ...runtime.native.program import NativeProgram, NativeSession

TIMED_SECONDS, TIMED_RUNS, MOST_TIMED_RUNS = 0.1, 5, 1000
"""How long and how often steps are timed: layers have the median of each."""


def native(case: Case) -> Rival:
    """Return the whole integer network as code for this CPU."""
    return Native("llvm", case, case.network.integers, "int8", exact=True)


def native_float(case: Case) -> Rival | None:
    """Return a float model as code for this CPU, as it was given; None for one that is int8."""
    if not case.network.was_float:
        return None
    return Native("llvm-float32", case, case.network.source, "float32", exact=False)


class Native:
    """Native code and its team of threads; see `rival.Rival`.

    Parameters
    ----------
    key : str
    case : Case
    graph : Graph
        What is compiled.
    arithmetic : str
    exact : bool
    """

    name = "vtakit's LLVM code"
    ours = True

    def __init__(self, key: str, case: Case, graph: Graph, arithmetic: str, *, exact: bool) -> None:
        self.key = key
        self.arithmetic = arithmetic
        self.exact = exact
        self._case = case
        self._graph = graph
        self._opened: NativeSession | None = None

    @property
    def detail(self) -> dict[str, str]:
        """What it was compiled for, and how it is run."""
        return {
            "CPU": self._session.program.code.cpu,
            "inputs and outputs": "in place",
            "threads": str(self._case.threads),
        }

    @property
    def _session(self) -> NativeSession:
        assert self._opened is not None, "it is not prepared"
        return self._opened

    def prepare(self) -> None:
        """Compile, or take from the cache, and put the inputs in their place.

        Raises
        ------
        RivalError
            On a machine that native code cannot be loaded on.
        """
        from ...compiler.cpu.cache import cached_native
        from ...runtime.native.errors import NativeError

        case = self._case
        try:
            self._opened = opened(cached_native(self._graph), case.threads, case.cpus)
        except NativeError as error:
            raise RivalError(str(error)) from None
        self._opened.run(case.inputs)

    def run(self) -> float:
        """Infer once; the seconds are those of the call alone."""
        session = self._session
        begun = perf_counter()
        session.execute()
        return perf_counter() - begun

    def layers(self) -> Mapping[str, float]:
        """Run with a note of the time after each step, and add up those of a layer."""
        return layer_seconds(self._session)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return the outputs of the last inference."""
        return {name: array.copy() for name, array in self._session.outputs.items()}

    def close(self) -> None:
        """End the threads and give the memory back."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def opened(program: NativeProgram, threads: int, cpus: Sequence[int]) -> NativeSession:
    """Load a program with a team whose threads stay on these CPUs, one each; none: anywhere.

    The caller's thread, who is pinned to the first by itself, is the team's first.
    """
    from ...runtime.native.program import NativeSession

    with pinned(cpus):  # a team takes the CPUs that it finds
        return NativeSession(program, threads)


def layer_seconds(session: NativeSession) -> dict[str, float]:
    """Return the median seconds of each layer on the inputs that are there, in order.

    Under "" is what belongs to no layer: inputs and outputs copied into another layout.
    """
    cycles: list[NDArray[np.uint64]] = []
    spent = 0.0
    session.execute(timed=True)
    while len(cycles) < TIMED_RUNS or (spent < TIMED_SECONDS and len(cycles) < MOST_TIMED_RUNS):
        begun = perf_counter()
        session.execute(timed=True)
        spent += perf_counter() - begun
        cycles.append(session.times)
    counted = float(np.sum(cycles))
    cycle_seconds = spent / counted if counted else 0.0
    found: dict[str, float] = {}
    for layer, steps in zip(session.program.layers, np.median(cycles, axis=0), strict=True):
        found[layer] = found.get(layer, 0.0) + float(steps) * cycle_seconds
    return found
