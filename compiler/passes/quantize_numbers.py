"""Multipliers and shifts: how a sum of integers becomes int8, without overflow (QUANTIZATION.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

INT32_MAX = (1 << 31) - 1
IMMEDIATE_MAX = (1 << 15) - 1
MOST_SHIFT = 30
MOST_PRE_SHIFT = 14
GOOD_ENOUGH = 1 / 8
"""Units of the last place: for less predicted error no pass over the outputs is added."""


@dataclass(frozen=True)
class Term:
    """One integer of the sum: its least and greatest values, and what one unit of it is worth.

    `factor` is in units of the output's last place. Arrays broadcast against the output.
    """

    low: Integers
    high: Integers
    factor: Reals


@dataclass(frozen=True)
class Requantization:
    """clip(((((acc + bias) >> pre_shift) * multiplier + sum of r * k) + constant) >> shift).

    A part that does nothing is None (`bias`, `multiplier`, `constant`, `low`, `high`) or 0
    (`pre_shift`, `shift`). `addends` are the k. The result lies from `least` to `greatest`.
    `error` is the predicted greatest distance, in units of the last place and before the final
    rounding, from the real result.
    """

    bias: Integers | None
    pre_shift: int
    multiplier: Integers | None
    addends: tuple[int, ...]
    constant: Integers | None
    shift: int
    low: int | None
    high: int | None
    least: int
    greatest: int
    error: float

    @property
    def passes(self) -> int:
        """How many operations an output element takes, the bias not counted."""
        parts = (self.multiplier, self.constant, self.low, self.high)
        return sum(part is not None for part in parts) + sum(
            shift > 0 for shift in (self.pre_shift, self.shift)
        )


def requantize(
    acc: Term,
    addends: Sequence[Term],
    offset: Reals,
    low: int,
    high: int,
    *,
    best: bool,
    biased: bool,
) -> Requantization | None:
    """Choose the numbers that bring `acc` and `addends` to one int8.

    Parameters
    ----------
    acc, addends : Term
        What is summed; the factors of addends are scalars.
    offset : array
        What is added, in units of the output's last place: bias, corrections, zero point.
    low, high : int
        What the result is clipped to.
    best : bool
        Take the least error; otherwise the fewest passes whose error is `GOOD_ENOUGH`.
    biased : bool
        Prefer `bias`, in units of the accumulator, which may be there before the sum begins, to
        `constant`, which is exact but another pass.

    Returns None when no numbers keep every intermediate result within 32 bits.
    """
    offset = np.asarray(offset, np.float64)
    if not addends and acc.factor.ndim == 0 and acc.factor == 1:
        whole = _fit(acc, (), offset, low, high, 0, 0, 0 if biased else 1)
        if whole is not None and whole.error < 1e-6:
            return whole
    found: list[Requantization] = []
    for kind in (0, 1, 2) if biased else (1,):
        for pre_shift in range(MOST_PRE_SHIFT + 1 if kind != 1 else 1):
            choice = _widest(acc, addends, offset, low, high, pre_shift, kind)
            if choice is None:
                continue
            if not best and choice.error < GOOD_ENOUGH:
                return choice
            found.append(choice)
    return min(found, key=lambda choice: (round(choice.error, 4), choice.passes), default=None)


def _widest(
    acc: Term, addends: Sequence[Term], offset: Reals, low: int, high: int, pre: int, kind: int
) -> Requantization | None:
    """Return the choice of the greatest shift that fits, for one `pre_shift` and kind of offset."""
    largest = np.maximum(np.abs(acc.low), np.abs(acc.high))
    room = np.log2(INT32_MAX / max(float(np.max(largest * np.abs(acc.factor))), 1.0))
    shift = min(MOST_SHIFT, int(room) + 1)
    while shift >= 0:
        choice = _fit(acc, addends, offset, low, high, pre, shift, kind)
        if choice is not None:
            return choice
        shift -= 1
    return None


def _fit(
    acc: Term,
    addends: Sequence[Term],
    offset: Reals,
    low: int,
    high: int,
    pre: int,
    shift: int,
    kind: int,
) -> Requantization | None:
    """Return the numbers for given shifts, None when something overflows.

    `kind` says where the offset goes: 0 all into the bias, 1 all into the constant, 2 what the bias
    leaves over into the constant.
    """
    unit = float(1 << shift)
    ideal = acc.factor * unit * (1 << pre)
    multiplier = np.where(np.abs(ideal) < 0.5, np.where(ideal < 0, -1.0, 1.0), np.rint(ideal))
    single = acc.factor.ndim == 0
    if np.abs(multiplier).max() > (IMMEDIATE_MAX if single else INT32_MAX):
        return None
    factors = [term.factor.item() for term in addends]
    scaled = [round(factor * unit) for factor in factors]
    if any(abs(k) > IMMEDIATE_MAX for k in scaled):
        return None
    actual = multiplier / (unit * (1 << pre))
    rounding = 0.5 if shift else 0.0
    bias: Reals | None = None
    constant: Reals | None = None
    left: Reals = offset + rounding
    if kind != 1:
        centre = ((1 << pre) - 1) / 2
        wanted = left / actual + centre
        if np.abs(wanted).max() > INT32_MAX:
            return None
        bias = np.rint(wanted)
        left = (wanted - bias) * actual
    if kind != 0:
        constant = np.rint(left * unit)
        left = left - constant / unit
    error = np.abs(left) + np.abs(actual) * ((1 << pre) - 1) / 2
    reach = np.maximum(np.abs(low - offset), np.abs(high - offset))
    for term, k, factor in zip(addends, scaled, factors, strict=True):
        largest = np.maximum(np.abs(term.low), np.abs(term.high))
        error = error + largest * abs(k / unit - factor)
        reach = reach + largest * abs(factor)
    largest = np.maximum(np.abs(acc.low), np.abs(acc.high))
    error = error + np.minimum(largest, reach / np.abs(actual)) * np.abs(actual - acc.factor)

    interval = _Interval(acc.low, acc.high)
    if bias is not None:
        interval = interval.add(bias.astype(np.int64))
    if not interval.fits:
        return None
    interval = interval.shift(pre).multiply(multiplier.astype(np.int64))
    for term, k in zip(addends, scaled, strict=True):
        scaled_term = _Interval(term.low, term.high).multiply(np.asarray(k))
        interval = interval.join(scaled_term)
    if constant is not None:
        if np.abs(constant).max() > INT32_MAX:
            return None
        interval = interval.add(constant.astype(np.int64))
    if not interval.fits:
        return None
    interval = interval.shift(shift)
    return Requantization(
        bias=_or_none(bias, 0),
        pre_shift=pre,
        multiplier=_one_if_equal(_or_none(multiplier, 1)),
        addends=tuple(scaled),
        constant=_one_if_equal(_or_none(constant, 0)),
        shift=shift,
        low=low if interval.least < low else None,
        high=high if interval.greatest > high else None,
        least=min(max(interval.least, low), high),
        greatest=max(min(interval.greatest, high), low),
        error=float(np.max(error)),
    )


def _or_none(array: NDArray[Any] | None, nothing: int) -> Integers | None:
    """Return the array as integers, None when they do nothing."""
    if array is None or (array == nothing).all():
        return None
    return array.astype(np.int64)


def _one_if_equal(array: Integers | None) -> Integers | None:
    """Return a scalar in the place of an array whose elements are all equal."""
    if array is None or (array != array.flat[0]).any():
        return array
    return np.asarray(array.flat[0])


class _Interval:
    """Bounds of an integer through the steps; `fits` says whether all of them are 32 bits wide."""

    def __init__(self, low: Integers, high: Integers, fits: bool = True):
        self.low, self.high = low, high
        self.least, self.greatest = int(np.min(low)), int(np.max(high))
        self.fits = fits and self.least >= -INT32_MAX - 1 and self.greatest <= INT32_MAX

    def add(self, amount: Integers) -> "_Interval":
        return _Interval(self.low + amount, self.high + amount, self.fits)

    def shift(self, count: int) -> "_Interval":
        return _Interval(self.low >> count, self.high >> count, self.fits)

    def multiply(self, factor: Integers) -> "_Interval":
        ends = self.low * factor, self.high * factor
        return _Interval(np.minimum(*ends), np.maximum(*ends), self.fits)

    def join(self, other: "_Interval") -> "_Interval":
        fits = self.fits and other.fits
        return _Interval(self.low + other.low, self.high + other.high, fits)
