"""The fastest of several ways to run a rival, found by trying them in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

from .cpus import quieten
from .measure import TURN_WARM_SECONDS

TRY_SECONDS, TRY_TURNS = 0.03, 6
"""How long each way is tried in a turn, and its turns: its best one counts, since others may
disturb some. Tried once for 0.15 s, a setting that is 20 % slower was now and then chosen."""

Run = Callable[[], object]


def fastest(runs: Sequence[Run]) -> int:
    """Return which of the ways to infer once is the fastest."""
    turns = [[seconds_of(run) for run in runs] for _ in range(TRY_TURNS)]
    best = [min(seconds) for seconds in zip(*turns, strict=True)]
    return best.index(min(best))


def seconds_of(run: Run) -> float:
    """Return the median seconds of an inference in a turn, after some that warm up."""
    quieten()
    end = perf_counter() + TURN_WARM_SECONDS
    run()
    while perf_counter() < end:
        run()
    found: list[float] = []
    end = perf_counter() + TRY_SECONDS
    while not found or perf_counter() < end:
        begun = perf_counter()
        run()
        found.append(perf_counter() - begun)
    return median(found)
