"""What a chain must satisfy to be a staircase: at some sums a result to reach or to stay below."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .exact_chain import Chain
from .exact_staircase import Staircase
from .quantize_numbers import Integers, Reals

SHIFTS = 24, 22
"""The chain's last one: 8 bits are left of 32, or 10 where a unit is worth more than HALF."""
HALF = 0.5
SEGMENTS = 16
"""Parts of a staircase, of each of which the points with the least margin are tried first."""
BEYOND = 0.125
"""How far the sums go beyond the last step, in units of the result: what is nearly the staircase
still has all its results."""
SLOPES = 2.0**-6
"""How far the slope of a line may be from what a unit is worth, relative to that."""
BISECTIONS = 48


@dataclass(frozen=True, eq=False)
class Points:
    """Sums (C, P), and what to reach there, or to stay below: results times 2**shift."""

    sums: Integers
    bounds: Integers

    def of(self, channels: Integers, count: int | None = None) -> "Points":
        """Return the first `count` points of some channels."""
        return Points(self.sums[channels, :count], self.bounds[channels, :count])

    def sorted(self, slope: Reals, constant: Reals) -> "Points":
        """Return the point of each of SEGMENTS parts nearest to a line, then the second, ..."""
        short = -self.sums.shape[1] % SEGMENTS
        sums, bounds = (np.pad(n, ((0, 0), (0, short)), "edge") for n in (self.sums, self.bounds))
        distance = np.abs(slope[:, None] * sums + constant[:, None] - bounds)
        parts = (len(sums), SEGMENTS, -1)
        order = distance.reshape(parts).argsort(axis=2)

        def take(numbers: Integers) -> Integers:
            taken = np.take_along_axis(numbers.reshape(parts), order, 2)
            return taken.transpose(0, 2, 1).reshape(sums.shape)

        return Points(take(sums), take(bounds))


@dataclass(frozen=True, eq=False)
class Bounds:
    """All that a chain has to satisfy to be `stairs` on the sums `least` to `greatest`, (C,).

    Below and above these the results are those at the ends. `slope`, (C,), is that of the line,
    in units of 2**-shift, which passes all points with the most room; those that it passes
    most tightly come first. `shift` is the chain's last.
    """

    stairs: Staircase
    least: Integers
    greatest: Integers
    reached: Points
    below: Points
    slope: Reals
    shift: int

    @classmethod
    def of(cls, stairs: Staircase, slope: Reals) -> "Bounds":
        """Return the bounds of a staircase, whose slope is about `slope`, (C,)."""
        shift = SHIFTS[int(slope.max() > HALF)]
        least, greatest = _ends(stairs, (BEYOND / slope).astype(np.int64))
        beyond = np.where(slope > HALF, np.ceil(slope), 0).astype(np.int64)
        reached, below = _points(stairs, least, greatest, beyond, shift)
        line, constant = _line(reached, below, slope * (1 << shift))
        reached, below = reached.sorted(line, constant), below.sorted(line, constant)
        return cls(stairs, least, greatest, reached, below, line, shift)

    def constants(
        self, chain: Chain, channels: Integers, points: int | None = None
    ) -> tuple[Integers, Integers]:
        """Return the least and the greatest constant with which chains hold at points.

        Both (C, T), for the chains of some channels; none holds where the least is the greater.
        """
        reached, below = self.reached.of(channels, points), self.below.of(channels, points)
        low = (reached.bounds[:, None, :] - chain.product(reached.sums)).max(axis=-1)
        high = (below.bounds[:, None, :] - 1 - chain.product(below.sums)).min(axis=-1)
        return low, high


def _ends(stairs: Staircase, beyond: Integers) -> tuple[Integers, Integers]:
    """Return the sums on both sides of all steps, and so far beyond, where there are any, (C,).

    One sum where there is no step.
    """
    steps = _steps(stairs, stairs.low, stairs.high)
    extremes = np.iinfo(np.int64)
    least = np.where(steps, stairs.first, extremes.max).min(axis=1, initial=extremes.max) - 1
    greatest = np.where(steps, stairs.first, extremes.min).max(axis=1, initial=extremes.min)
    flat = ~steps.any(axis=1)
    least = np.where(flat, stairs.low, np.maximum(least - beyond, stairs.low))
    greatest = np.where(flat, stairs.low, np.minimum(greatest + beyond, stairs.high))
    return least, greatest


def _steps(stairs: Staircase, low: Integers, high: Integers) -> NDArray[np.bool_]:
    """Return (C, K) which steps are above `low` and at most `high`, (C,)."""
    return (stairs.first > low[:, None]) & (stairs.first <= high[:, None])


def _points(
    stairs: Staircase, least: Integers, greatest: Integers, beyond: Integers, shift: int
) -> tuple[Points, Points]:
    """Return where a result has to be reached, and where one must not be.

    At the ends, too: the first result has to be reached, the one after the last must not be; of
    those that are clipped, others so far beyond, (C,), which a unit of the sum may step over.
    """
    steps = _steps(stairs, least, greatest)
    results = np.arange(stairs.first.shape[1], dtype=np.int64) + stairs.bottom + 1
    ends = np.stack([least, greatest], axis=1)
    lowest, highest = np.hsplit(ends, 2)
    found = stairs.result(ends)
    clipped = np.isin(found, (stairs.bottom, stairs.top)) * beyond[:, None]
    first, last = np.hsplit(found + clipped * np.array([-1, 1]), 2)

    def points(sums: Integers, end: Integers, result: Integers) -> Points:
        sums, bounds = np.where(steps, sums, end), np.where(steps, results, result)
        return Points(np.append(sums, end, 1), np.append(bounds, result, 1) << shift)

    return points(stairs.first, lowest, first), points(stairs.first - 1, highest, last + 1)


def _line(reached: Points, below: Points, slope: Reals) -> tuple[Reals, Reals]:
    """Return slope and constant, (C,), of the line that passes the points with the most room.

    The room is a concave function of the slope. It grows with the slope as long as the tightest of
    the points to reach is right of the tightest of those to stay below.
    """
    least, greatest = slope * (1 - SLOPES), slope * (1 + SLOPES)
    constant = np.zeros_like(slope)
    for _ in range(BISECTIONS):
        slope = (least + greatest) / 2
        needed = reached.bounds - slope[:, None] * reached.sums
        allowed = below.bounds - slope[:, None] * below.sums
        constant = (needed.max(axis=1) + allowed.min(axis=1)) / 2
        at_needed, at_allowed = needed.argmax(axis=1)[:, None], allowed.argmin(axis=1)[:, None]
        tightest = np.take_along_axis(reached.sums, at_needed, 1)[:, 0]
        other = np.take_along_axis(below.sums, at_allowed, 1)[:, 0]
        steeper = tightest > other
        least, greatest = np.where(steeper, slope, least), np.where(steeper, greatest, slope)
    return slope, constant
