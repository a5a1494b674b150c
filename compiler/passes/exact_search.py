"""Chains that are a given staircase exactly, found by trial (QUANTIZATION.md).

A chain never falls, so it is the staircase for every sum if it is at both sides of each of its
steps. These are few enough numbers to try thousands of chains for each channel.
"""

from dataclasses import dataclass, field

import numpy as np

from .exact_chain import Cascade, Chain
from .exact_points import Bounds
from .exact_staircase import Function, Staircase, staircase
from .quantize_numbers import INT32_MAX, Integers, Reals

SHAPES = ((1, 0), (2, 9), (3, 8), (4, 7))
"""How many factors, and how far each product but the last is shifted, in order of cost."""
ROUNDS = 20
SOLVED = 0.15
"""Part of the channels that each round has to solve, all but FEW, or the shape is given up."""
FEW = 8
DRAWN = 1 << 19
"""Sets of factors that a round draws, for all channels together."""
DRAWN_EACH = 1 << 11, 1 << 16
"""At least and at most so many for each."""
DRAWN_FOR_ONE_TRIED = 32
"""Those with the best slopes are tried."""
ORIGINS = 4
"""Origins that each is tried from."""
FARTHEST_ORIGIN = 0.4
"""From the middle, in units of the result; half a unit away an end could overflow."""
TRIALS = ((16, 16), (96, 1))
"""How many points chains are tried on, and how many of each channel are then tried on more."""

NONE = np.iinfo(np.int64).min


def exact(stairs: Staircase, slope: Reals) -> tuple[Cascade, int] | None:
    """Return the shortest cascade that is the staircase, or the nearest one that was found.

    None when 32 bits hold none.

    Parameters
    ----------
    stairs : Staircase
        Of results that fit in int8.
    slope : Reals
        What a unit of the sum is worth, (C,), positive, in units of the result.

    Returns
    -------
    Cascade
    int
        By how much its results differ, over all sums of all channels: 0 where it is the staircase.
    """
    bounds = Bounds.of(stairs, slope)
    found: tuple[Cascade, int] | None = None
    for count, middle in SHAPES:
        search = _Search(bounds, count, middle)
        search.run()
        cascade = search.cascade()
        if cascade is None:
            continue
        differing = difference(cascade.result, stairs)
        if found is None or differing < found[1]:
            found = cascade, differing
        if not differing:
            break
    return found


def difference(function: Function, stairs: Staircase) -> int:
    """Return by how much the results of a function that never falls differ, over all sums."""
    found = staircase(function, stairs.low, stairs.high, stairs.bottom, stairs.top)
    return int(found.apart(stairs).sum())


@dataclass(eq=False)
class _Search:
    """The search for chains of one shape; the best so far of each channel in arrays (C,).

    `room` is by how much the greatest constant that holds exceeds the least: negative when none.
    """

    bounds: Bounds
    count: int
    middle: int
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def __post_init__(self) -> None:
        channels = len(self.bounds.slope)
        self.centre = (self.bounds.least + self.bounds.greatest) >> 1
        self.room = np.full(channels, NONE)
        self.origin, self.constant = self.centre.copy(), np.zeros(channels, np.int64)
        self.factors = np.ones((self.count, channels), np.int64)

    def run(self) -> None:
        """Try, until every channel has a chain, or it is not worth trying more."""
        left = np.arange(len(self.room))
        wanted = float(len(left))
        for _ in range(ROUNDS if self.count > 1 else 1):
            self._round(left)
            left = left[self.room[left] < 0]
            wanted *= 1 - SOLVED
            if not left.size or left.size > wanted + FEW:
                break

    def cascade(self) -> Cascade | None:
        """Return the best chains; None when 32 bits hold none for some channel."""
        if (self.room == NONE).any():
            return None
        bounds = self.bounds
        return Cascade(
            least=bounds.least,
            greatest=bounds.greatest,
            origin=self.origin,
            factors=tuple(self.factors),
            middle=self.middle,
            constant=self.constant,
            shift=bounds.shift,
            bottom=bounds.stairs.bottom,
            top=bounds.stairs.top,
        )

    def _round(self, left: Integers) -> None:
        """Draw factors, and try those with the best slopes, on the channels `left`."""
        bounds = self.bounds
        slope = bounds.slope[left][:, None]
        farthest = (FARTHEST_ORIGIN * (1 << bounds.shift) / slope).astype(np.int64)
        reach = ((bounds.greatest - bounds.least + 1) >> 1)[left][:, None] + farthest
        factors = self._factors(slope, reach)
        for _ in range(ORIGINS if self.count > 1 else 1):
            away = self.random.integers(-farthest, farthest + 1, factors[0].shape)
            chain = Chain(self.centre[left][:, None] + away, factors, self.middle)
            for points, best in TRIALS:
                low, high = bounds.constants(chain, left, points)
                room = np.where(chain.fits(reach), high - low, NONE)
                kept = min(best, room.shape[1])
                chain = chain.take(np.argpartition(-room, kept - 1, axis=1)[:, :kept])
            self._keep(left, chain, reach)

    def _factors(self, slope: Reals, reach: Integers) -> tuple[Integers, ...]:
        """Return factors (L, T) whose products come nearest to the slopes."""
        wanted = slope * 2.0 ** (self.middle * (self.count - 1))
        if self.count == 1:
            return (np.maximum(np.rint(wanted) + np.arange(-2, 3), 1).astype(np.int64),)
        drawn = int(np.clip(DRAWN // len(slope), *DRAWN_EACH))
        unit = 1 << self.middle
        others = self.random.integers(unit // 2, unit * 3 // 2, (self.count - 1, drawn))
        product = others.astype(np.float64).prod(axis=0)
        first = np.maximum(np.rint(wanted / product), 1)
        error = np.abs(first * product / wanted - 1)
        chain = Chain(np.zeros((1, 1), np.int64), (first.astype(np.int64), *others), self.middle)
        error = np.where(chain.fits(reach), error, np.inf)
        tried = drawn // DRAWN_FOR_ONE_TRIED
        best = np.argpartition(error, tried, axis=1)[:, :tried]
        nearest = np.take_along_axis(first, best, 1).astype(np.int64)
        return (nearest, *(other[best] for other in others))

    def _keep(self, left: Integers, chain: Chain, reach: Integers) -> None:
        """Keep those chains, one for each channel of `left`, that have more room."""
        low, high = self.bounds.constants(chain, left)
        room, constant = (high - low)[:, 0], ((low + high) >> 1)[:, 0]
        better = (room > self.room[left]) & (np.abs(constant) <= INT32_MAX)
        better &= chain.fits(reach)[:, 0]
        channels = left[better]
        self.room[channels] = room[better]
        self.constant[channels] = constant[better]
        self.origin[channels] = chain.origin[better, 0]
        for mine, theirs in zip(self.factors, chain.factors, strict=True):
            mine[channels] = theirs[better, 0]
