"""Medians, spreads and ratios of samples, with their quartiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_SPREAD = 0.01
"""No difference below it is called one, however close together samples lie."""


@dataclass(frozen=True)
class Figure:
    """What samples come to.

    Attributes
    ----------
    median, least : float
    spread : float
        Distance between the quartiles, as a share of the median.
    """

    median: float
    least: float
    spread: float


def figure(samples: Sequence[float]) -> Figure:
    """Return what samples come to; at least one."""
    lower, median, upper = (float(value) for value in np.percentile(samples, (25, 50, 75)))
    spread = (upper - lower) / median if median else 0.0
    return Figure(median, min(samples), spread)


def ratio(samples: Sequence[float], others: Sequence[float]) -> Figure:
    """Return how many times as large samples are as others of the same rounds.

    It is the median over rounds, not the ratio of medians: what slows a whole round down, such as
    the clock of a CPU that gets hot, cancels.
    """
    return figure([one / other for one, other in zip(samples, others, strict=True)])


def equal(found: Figure) -> bool:
    """Whether a ratio cannot be told from 1, within its spread."""
    return abs(found.median - 1) <= max(found.spread, LEAST_SPREAD)
