"""Rivals and a watch that only claim: nothing of them is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class FakeRival:
    """Says that inferences took what it was told; then always the last of it."""

    key: str = "fake"
    seconds: Iterable[float] = (0.01,)
    by_layer: Mapping[str, float] = field(default_factory=lambda: {"": 1.0})
    results: Mapping[str, NDArray[Any]] = field(default_factory=lambda: {"y": np.arange(3)})
    exact: bool = False
    ours: bool = False
    arithmetic: str = "int8"
    name: str = ""
    refusal: Exception | None = None
    ran: Callable[[str], object] = lambda key: None
    runs: int = 0
    closed: bool = False

    def __post_init__(self) -> None:
        self.name = self.name or f"{self.key.title()} 1.0"
        self._seconds = self._endless()

    def _endless(self) -> Iterator[float]:
        last = 0.0
        for last in self.seconds:
            yield last
        yield from repeat(last)

    @property
    def detail(self) -> dict[str, str]:
        return {"setting": f"of {self.key}"}

    def prepare(self) -> None:
        if self.refusal:
            raise self.refusal

    def run(self) -> float:
        self.runs += 1
        self.ran(self.key)
        return next(self._seconds)

    def layers(self) -> Mapping[str, float]:
        return self.by_layer

    def outputs(self) -> Mapping[str, NDArray[Any]]:
        return self.results

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeWatch:
    """Says what each sample lost and how long each yardstick took; then that all is well."""

    losses: Iterable[float] = ()
    sticks: Iterable[float] = ()
    cpus: int = 1

    def __post_init__(self) -> None:
        self._losses = chain(self.losses, repeat(0.0))
        self._sticks = chain(self.sticks, repeat(1.0))

    def yardsticks(self) -> tuple[float, ...]:
        return tuple(next(self._sticks) for _ in range(self.cpus))

    def begin(self) -> None:
        pass

    def lost(self) -> float:
        return next(self._losses)
