"""Two factors and a constant with which the sum of two int8 tensors is rounded just as wanted."""

from dataclasses import dataclass, replace

import numpy as np

from ..ops.elementwise import Add, Mul
from .quantize_numbers import INT32_MAX, AddTerm, Integers, Step, Steps, shift_by

AROUND = 24
"""How far from the nearest integers the factors may be."""
TIGHT = 300
"""Pairs that factors are tried on, those nearest to where the result changes."""
PROVED = 20
"""Of the factors with the most room, how many are tried on all pairs."""
SHIFTS = 3


@dataclass(frozen=True)
class Plane:
    """clip((a * first + b * second + constant) >> shift, low, high).

    `differing` is the number of pairs a, b for which it is not the result that was asked for.
    """

    first: int
    second: int
    constant: int
    shift: int
    differing: int = 0

    def result(self, a: Integers, b: Integers, low: int, high: int) -> Integers:
        """Return the results of pairs."""
        return np.clip((a * self.first + b * self.second + self.constant) >> self.shift, low, high)

    @property
    def steps(self) -> Steps:
        """It as steps on a, with b the first addend; without the clipping."""
        return [
            Step(Mul(), np.asarray(self.first)),
            AddTerm(0, self.second),
            Step(Add(), np.asarray(self.constant)),
            *shift_by(self.shift),
        ]


def plane(
    a: Integers, b: Integers, results: Integers, slopes: tuple[float, float], low: int, high: int
) -> Plane:
    """Return the plane that gives these results, or the nearest one that was found.

    Parameters
    ----------
    a, b, results : Integers
        All pairs of integers that there are, and the result of each, from `low` to `high`; (N,).
    slopes : pair of float
        What a unit of a and of b is worth, in units of the result.
    """
    real = slopes[0] * a + slopes[1] * b
    reached, below = results > low, results < high
    margins = np.where(reached, real - results, np.inf), np.where(below, results + 1 - real, np.inf)
    tight = [np.argsort(margin)[:TIGHT] for margin in margins]
    tight = [
        index[np.isfinite(margin[index])] for index, margin in zip(tight, margins, strict=True)
    ]
    ends = [end for end in (-margins[0].min(), margins[1].min()) if np.isfinite(end)]
    offset = sum(ends) / max(len(ends), 1)
    values = slopes[0] * a, real, real + offset
    most = int(np.log2(INT32_MAX / (max(float(np.abs(value).max()) for value in values) + 2)))
    found: Plane | None = None
    for shift in range(most, most - SHIFTS, -1):
        for made in _planes(a, b, results, slopes, (tight[0], tight[1]), shift):
            differing = int((made.result(a, b, low, high) != results).sum())
            if found is None or differing < found.differing:
                found = replace(made, differing=differing)
            if not differing:
                return found
    assert found is not None
    return found


def _planes(
    a: Integers,
    b: Integers,
    results: Integers,
    slopes: tuple[float, float],
    tight: tuple[Integers, Integers],
    shift: int,
) -> list[Plane]:
    """Return the planes with the most room at the tight pairs, best first.

    `tight` are the indices of pairs at which a result has to be reached, or to be stayed below.
    """
    near = np.arange(-AROUND, AROUND + 1)
    nearest = [round(slope * (1 << shift)) + near for slope in slopes]
    first, second = (grid.ravel()[:, None] for grid in np.meshgrid(*nearest, indexing="ij"))
    reached, below = tight
    least = results[reached] * (1 << shift) - (first * a[reached] + second * b[reached])
    above = (results[below] + 1) * (1 << shift) - (first * a[below] + second * b[below])
    free = np.full(len(first), INT32_MAX)
    low = least.max(axis=1) if reached.size else -free
    high = above.min(axis=1) - 1 if below.size else free
    if reached.size and not below.size:
        high = low + (1 << shift)
    if below.size and not reached.size:
        low = high - (1 << shift)
    constant = np.clip((low + high) >> 1, -INT32_MAX, INT32_MAX)
    order = np.argsort(low - high)[:PROVED]
    return [Plane(int(first[i, 0]), int(second[i, 0]), int(constant[i]), shift) for i in order]
