"""A rounded, clipped multiple of an integer as the numbers at which its result changes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .quantize_numbers import Integers

Function = Callable[[Integers], Integers]
"""A result for each sum, which never falls as the sum grows; (C, N) to (C, N), a row a channel."""


@dataclass(frozen=True, eq=False)
class Staircase:
    """A function of integers that never falls, for each of C channels.

        result
          bottom + 2            ┌───
          bottom + 1      ┌─────┘
          bottom      ────┘
                      ↑   ↑     ↑
                    low  first[:, 0], first[:, 1]

    Parameters
    ----------
    low, high : Integers
        The least and the greatest sum that there is, (C,).
    bottom : int
        The least result.
    first : Integers
        The least sums, from `low` on, with a result of bottom + 1, bottom + 2, ..., (C, K);
        high + 1 where none has.
    """

    low: Integers
    high: Integers
    bottom: int
    first: Integers

    @property
    def top(self) -> int:
        """The greatest result."""
        return self.bottom + self.first.shape[1]

    @property
    def sums(self) -> int:
        """How many sums there are, in all channels together."""
        return int((self.high - self.low + 1).sum())

    def result(self, sums: Integers) -> Integers:
        """Return the results of sums (C, N)."""
        return self.bottom + (self.first[:, None, :] <= sums[:, :, None]).sum(axis=2)

    def apart(self, other: "Staircase") -> Integers:
        """Return how far the results of two staircases on the same sums are apart: the sum, (C,).

        Zero exactly when all results are equal; where none is further apart than 1, how many are.
        """
        return np.abs(self.first - other.first).sum(axis=1)


def staircase(
    function: Function, low: Integers, high: Integers, bottom: int, top: int
) -> Staircase:
    """Return what a function with results from `bottom` to `top` is on the sums `low` to `high`.

    Each step is found by bisection.
    """
    results = np.arange(bottom + 1, top + 1)
    below = np.repeat(low[:, None] - 1, len(results), axis=1)
    above = np.repeat(high[:, None] + 1, len(results), axis=1)
    while (above - below > 1).any():
        middle = (below + above) >> 1
        reached = function(middle) >= results
        above = np.where(reached & (above - below > 1), middle, above)
        below = np.where(~reached & (above - below > 1), middle, below)
    return Staircase(low, high, bottom, above)
