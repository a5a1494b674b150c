"""Rounds in which all rivals take turns, measured again where the machine was busy."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from time import sleep
from typing import Protocol

from .rival import Rival

SAMPLE_SECONDS = 5e-3
"""The least that a sample lasts: of short inferences it is the mean of many."""

TURN_WARM_SECONDS = 0.02
"""The least that a turn runs before its sample. Of a network of 15 µs on two threads, which had
stopped to spin, samples of 2 ms were 80 % too long for the first 10 ms (ONNX Runtime 1.32)."""

BUSY_SHARE = 0.1
"""A round is no measurement of ours if others took more of a sample, or made a CPU slower by it."""

PAUSE_SECONDS = 0.05
"""After such a round: what disturbs lasts some tenths of a second."""

TRIES = 5
"""Times the rounds asked for that are measured at most."""

BLOCK_SECONDS, BLOCK_RUNS, MOST_BLOCK_RUNS = 0.03, 3, 10_000
WARM_SECONDS = 3.0
SETTLED = 0.03
"""Warm-up ends when blocks of runs have not become faster by this share twice in a row."""


class Busy(Protocol):
    """What says whether others disturb; `watch.Watch` is one."""

    def yardsticks(self) -> tuple[float, ...]: ...
    def begin(self) -> None: ...
    def lost(self) -> float: ...


@dataclass(frozen=True)
class Measured:
    """Samples of rounds.

    Attributes
    ----------
    seconds : dict of rival's key to list of float
        Of one inference, a value for each round.
    loops : dict of rival's key to int
        Inferences of a sample.
    rejected : int
        Rounds in which others disturbed, and which were measured again.
    busy : int
        Rounds in which others disturbed, and which count all the same: they never left enough time.
    """

    seconds: dict[str, list[float]]
    loops: dict[str, int]
    rejected: int
    busy: int


@dataclass(frozen=True)
class _Round:
    """A sample of each rival, and what others did: see `watch.Watch`."""

    seconds: dict[str, float]
    lost_share: float
    yardsticks: tuple[float, ...]

    def disturbed(self, best: Sequence[float]) -> float:
        """Return the largest share that others took of it, given the best yardsticks."""
        slower = (here / there - 1 for here, there in zip(self.yardsticks, best, strict=True))
        return max(self.lost_share, *slower)


def measure(
    rivals: Sequence[Rival],
    rounds: int,
    watch: Busy,
    *,
    quieten: Callable[[], None],
    progress: Callable[[int, int], None] = lambda done, rounds: None,
    pause: Callable[[float], None] = sleep,
) -> Measured:
    """Time rivals in rounds: each has its turn in every one, and another one begins it.

    A turn is runs by which caches and threads are warm again, and a sample. Before them, `quieten`
    waits for threads of the rival before. Rounds in which others disturb are measured again; a
    round is judged by the best yardsticks of all, so that one that seemed quiet may turn out later
    not to have been.

    Parameters
    ----------
    rivals : sequence of Rival
        Prepared.
    rounds : int
    watch : Busy
        Asked about each sample that is timed.
    pause
        Called with seconds after a round that others disturbed.
    """
    loops: dict[str, int] = {}
    for rival in rivals:
        quieten()
        loops[rival.key] = _loops(warm_up(rival), SAMPLE_SECONDS)
    made: list[_Round] = []
    good = 0
    enabled = gc.isenabled()
    gc.disable()
    try:
        while rivals and good < rounds and len(made) < TRIES * rounds:
            first = len(made) % len(rivals)
            made.append(_round([*rivals[first:], *rivals[:first]], loops, watch, quieten))
            best = _best(made)
            good = sum(one.disturbed(best) <= BUSY_SHARE for one in made)
            progress(good, rounds)
            if made[-1].disturbed(best) > BUSY_SHARE:
                pause(PAUSE_SECONDS)
    finally:
        if enabled:
            gc.enable()
    best = _best(made)
    kept = sorted(made, key=lambda one: max(one.disturbed(best), BUSY_SHARE))[:rounds]
    return Measured(
        seconds={rival.key: [one.seconds[rival.key] for one in kept] for rival in rivals},
        loops=loops,
        rejected=len(made) - len(kept),
        busy=max(0, len(kept) - good),
    )


def _best(made: Sequence[_Round]) -> list[float]:
    return [min(values) for values in zip(*(one.yardsticks for one in made), strict=True)]


def warm_up(rival: Rival) -> float:
    """Run until the time has settled, or for some seconds; return the seconds of an inference."""
    best, spent, settled = float("inf"), 0.0, 0
    while True:
        block: list[float] = []
        while len(block) < MOST_BLOCK_RUNS and (
            len(block) < BLOCK_RUNS or sum(block) < BLOCK_SECONDS
        ):
            block.append(rival.run())
        found = median(block)
        settled = settled + 1 if found > best * (1 - SETTLED) else 0
        best = min(best, found)
        spent += sum(block)
        if settled == 2 or spent > WARM_SECONDS:
            return best


def _loops(seconds: float, least: float) -> int:
    """Return how many inferences of some seconds each last at least so long; one or more."""
    return max(1, ceil(least / seconds)) if seconds > 0 else 1


def _round(
    rivals: Sequence[Rival],
    loops: dict[str, int],
    watch: Busy,
    quieten: Callable[[], None],
) -> _Round:
    seconds: dict[str, float] = {}
    shares: list[float] = []
    yardsticks: list[tuple[float, ...]] = []
    for rival in rivals:
        count = loops[rival.key]
        quieten()
        yardsticks.append(watch.yardsticks())
        spent, runs = 0.0, 0
        while not runs or (spent < TURN_WARM_SECONDS and runs < MOST_BLOCK_RUNS):
            spent += rival.run()
            runs += 1
        watch.begin()
        total = sum(rival.run() for _ in range(count))
        shares.append(watch.lost() / total if total > 0 else 0.0)
        seconds[rival.key] = total / count
    quieten()
    yardsticks.append(watch.yardsticks())
    return _Round(seconds, max(shares), tuple(max(each) for each in zip(*yardsticks, strict=True)))
