"""Multipliers and shifts: how sums of integers become int8 without overflow (QUANTIZATION.md)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..ops.elementwise import Add, Binary, Maximum, Minimum, Mul, ShiftRight

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

INT32_MAX = (1 << 31) - 1
IMMEDIATE_MAX = (1 << 15) - 1
MOST_SHIFT = 30
PRE_SHIFTS = range(1, 15)
MIDDLE_SHIFTS = range(8, 14)
FACTORS_TRIED = 1024


@dataclass(frozen=True)
class Term:
    """One integer of the sum: its least and greatest values, and what one unit of it is worth.

    `factor` is in units of the output's last place. Arrays broadcast against the output.
    """

    low: Integers
    high: Integers
    factor: Reals


@dataclass(frozen=True)
class Step:
    """value = value op operand, in int32."""

    op: Binary
    operand: Integers


@dataclass(frozen=True)
class AddTerm:
    """value = value + factor * (the addend of that index), in int32."""

    index: int
    factor: int


Steps: TypeAlias = tuple[Step | AddTerm, ...]


@dataclass(frozen=True)
class Requantization:
    """What brings a sum to int8: `steps`, after which the value lies from `least` to `greatest`.

    `error` is the predicted greatest distance, in units of the last place and before the final
    rounding, from the real result.
    """

    steps: Steps
    least: int
    greatest: int
    error: float


@dataclass(frozen=True)
class Sum:
    """What is to be requantized: clip(round(sum of term * its factor + offset), low, high).

    The factors of addends are scalars; `offset` is in units of the output's last place.
    """

    acc: Term
    addends: tuple[Term, ...]
    offset: Reals
    low: int
    high: int


def requantize(total: Sum, *, target: float, exact: bool, biased: bool) -> Requantization | None:
    """Choose the steps that bring a sum to int8.

    Parameters
    ----------
    target : float
        The fewest steps are taken whose predicted error is less; the least error if none is.
    exact : bool
        Scalars may have 32 bits, not only the 16 that an instruction holds, and where a division by
        a power of two often ends half way between integers, it goes to the even one.
    biased : bool
        The offset may be added first, in units of the accumulator, and not only after the
        multiplication, where it is exact.

    Returns None when no steps keep every intermediate result within 32 bits.
    """
    halves = _half_even(total) if exact else None
    if halves is not None:
        return halves
    found: list[Requantization] = []
    for candidate in _candidates(total, INT32_MAX if exact else IMMEDIATE_MAX, biased):
        if candidate.error < target and len(candidate.steps) <= 2:
            return candidate
        found.append(candidate)
    good = [candidate for candidate in found if candidate.error < target]
    if good:
        return min(good, key=lambda candidate: len(candidate.steps))
    return min(found, key=lambda candidate: candidate.error, default=None)


def _candidates(total: Sum, scalar_max: int, biased: bool) -> Iterator[Requantization]:
    """Give the ways to requantize; of those with as many steps the cheaper first."""
    acc = total.acc
    offsets = ((True, False), (False, True), (True, True)) if biased else ((False, True),)
    exact = _exact_shift(total)
    if exact is not None:
        body = _scaled(total, 0, exact, scalar_max)
        yield from _completed(total, body, exact, offsets[:1])
    for pre_shift in (0, *PRE_SHIFTS) if biased else (0,):
        for shift in _shifts(total):
            body = _scaled(total, pre_shift, shift, scalar_max)
            done = _completed(total, body, shift, offsets) if body else []
            if done:
                yield from done
                break
    if biased and not total.addends and (acc.factor > 0).all():
        for bias in (True, False):
            for pre_shift in (0, *PRE_SHIFTS):
                yield from _clipped(total, pre_shift, 0, scalar_max, bias=bias)
            for middle in MIDDLE_SHIFTS:
                yield from _clipped(total, 0, middle, scalar_max, bias=bias)


def _exact_shift(total: Sum) -> int | None:
    """Return the least shift for which all multipliers are whole numbers; None without."""
    for shift in range(16):
        factors = [total.acc.factor, *(term.factor for term in total.addends)]
        scaled = [factor * float(1 << shift) for factor in factors]
        if all((np.abs(number - np.rint(number)) < 1e-9).all() for number in scaled):
            return shift
    return None


def _half_even(total: Sum) -> Requantization | None:
    """Return the steps for acc / 2**n + whole number, half to even; None for other sums.

    Of 2 * 2**n successive a, 2**n + 1 go to the even result, the others to the odd one. So first
    two neighbours of those that go to the even one are made one, g = a * (p - 1) >> n + 1 with
    p = 2 * 2**n, and then p - 1 successive g become two results: floor(2 * u / (p - 1)), where
    u = g + 2**(n - 1).
    """
    shift = _exact_shift(total)
    if not shift or total.addends or total.acc.factor.ndim or total.offset.ndim:
        return None
    whole = total.offset * float(1 << shift)
    period = 2 << shift
    if total.acc.factor * (1 << shift) != 1 or whole != np.rint(whole):
        return None
    largest = max(abs(int(total.acc.low)), abs(int(total.acc.high))) + abs(int(whole)) + period
    last = int(np.log2(INT32_MAX / (largest + 1) * (period - 1) / 2)) - 1
    if largest * (period - 1) >= 1 << last:
        return None
    multiplier = round((2 << last) / (period - 1))
    centre = (1 << shift) // 2 * multiplier + round((1 << last) / (2 * (period - 1)))
    steps: list[Step | AddTerm] = [
        Step(Add(), whole.astype(np.int64)),
        Step(Mul(), np.asarray(period - 1)),
        Step(ShiftRight(), np.asarray(shift + 1)),
        Step(Mul(), np.asarray(multiplier)),
        Step(Add(), np.asarray(centre)),
        Step(ShiftRight(), np.asarray(last)),
    ]
    return _checked(total, steps, None)


def _shifts(total: Sum) -> range:
    """Return final shifts from the greatest that may fit downward."""
    acc = total.acc
    largest = np.maximum(np.abs(acc.low), np.abs(acc.high)) * np.abs(acc.factor)
    room = np.log2(INT32_MAX / max(float(np.max(largest)), 1.0))
    return range(min(MOST_SHIFT, int(room) + 1), -1, -1)


def _scaled(total: Sum, pre_shift: int, shift: int, scalar_max: int) -> list[Step | AddTerm]:
    """Return the steps >> pre_shift, * m, + addends * k; none when a number is too large."""
    unit = float(1 << shift)
    multiplier = _nearest(total.acc.factor * unit * (1 << pre_shift))
    factors = [round(term.factor.item() * unit) for term in total.addends]
    single = multiplier.ndim == 0
    if np.abs(multiplier).max() > (scalar_max if single else INT32_MAX):
        return []
    if any(abs(factor) > scalar_max for factor in factors):
        return []
    steps: list[Step | AddTerm] = []
    if pre_shift:
        steps.append(Step(ShiftRight(), np.asarray(pre_shift)))
    steps.append(Step(Mul(), multiplier))
    return [*steps, *(AddTerm(index, factor) for index, factor in enumerate(factors))]


def _nearest(ideal: Reals) -> Integers:
    """Return the nearest integers, but none that is zero."""
    away = np.where(ideal < 0, -1.0, 1.0)
    return np.where(np.abs(ideal) < 0.5, away, np.rint(ideal)).astype(np.int64)


def _clipped(
    total: Sum, pre_shift: int, middle: int, scalar_max: int, *, bias: bool
) -> Iterator[Requantization]:
    """Give the ways that clip the accumulator, so that few bits are left to multiply.

    (acc + bias) >> pre_shift, clipped to what becomes `low` to `high`, * m, >> middle, * n, >> shift
    """
    factor = total.acc.factor * (1 << pre_shift)
    offset = np.zeros(()) if bias else total.offset
    ends = np.abs(total.low - offset), np.abs(total.high + 1 - offset)
    shift = int(np.log2(INT32_MAX / max(float(np.max(end)) for end in ends)))
    before = [Step(ShiftRight(), np.asarray(pre_shift))] if pre_shift else []
    for lead in range(shift, 0, -1):
        first, second = _nearest(factor * float(1 << lead)), None
        if middle:
            first, second = _factored(first, factor * 2.0 ** (middle + shift))
        largest = max(int(np.max(number)) for number in (first, second) if number is not None)
        if largest > (scalar_max if factor.ndim == 0 else INT32_MAX):
            if middle:
                continue
            return
        steps = [Step(Mul(), first)]
        if second is not None:
            steps += [Step(ShiftRight(), np.asarray(middle)), Step(Mul(), second)]
        constant = np.zeros((), np.int64)
        if not bias:
            trial = _Trial(total, [*before, *steps, Step(ShiftRight(), np.asarray(shift))])
            wanted = (total.offset + 0.5 - trial.offset) * float(1 << shift)
            constant = np.rint(wanted).astype(np.int64)
        bounds = _bounds(steps, constant, shift, total.low, total.high)
        body = [*before, *bounds, *steps]
        done = _completed(total, body, shift, [(bias, not bias)])
        if done or not middle:
            yield from done
            return


def _factored(first: Integers, product: Reals) -> tuple[Integers, Integers]:
    """Return two numbers, the one at most `first`, whose product is as near as can be."""
    parts = np.maximum(first[..., None] - np.arange(FACTORS_TRIED), 1)
    others = np.maximum(np.rint(product[..., None] / parts), 1)
    distance = np.abs(parts * others - product[..., None])
    best = distance.argmin(axis=-1)[..., None]
    take = np.take_along_axis
    return take(parts, best, -1)[..., 0], take(others, best, -1)[..., 0].astype(np.int64)


def _bounds(
    steps: Sequence[Step], constant: Integers, shift: int, low: int, high: int
) -> list[Step]:
    """Return the clipping to what `steps`, + constant and >> shift turn into `low` to `high`.

    Each step is undone, from the last to the first: the least value that gives at least `low`, the
    greatest that gives less than `high` + 1.
    """
    least = (np.asarray(low) << shift) - constant
    above = (np.asarray(high + 1) << shift) - constant
    for step in reversed(steps):
        if isinstance(step.op, Mul):
            least, above = -(-least // step.operand), -(-above // step.operand)
        else:
            least, above = least << step.operand, above << step.operand
    return [Step(Maximum(), least), Step(Minimum(), above - 1)]


def _completed(
    total: Sum,
    body: Sequence[Step | AddTerm],
    shift: int,
    offsets: Sequence[tuple[bool, bool]],
) -> list[Requantization]:
    done = [_complete(total, body, shift, bias, constant) for bias, constant in offsets]
    return [item for item in done if item is not None]


def _complete(
    total: Sum, body: Sequence[Step | AddTerm], shift: int, bias: bool, constant: bool
) -> Requantization | None:
    """Return body and shift with the offset before, after or both; None when something overflows."""
    last = [Step(ShiftRight(), np.asarray(shift))] if shift else []
    wanted = total.offset + (0.5 if shift else 0.0)
    steps = [*body, *last]
    if bias:
        trial = _Trial(total, steps)
        amount = np.rint((wanted - trial.offset) / trial.factor)
        if np.abs(amount).max() > INT32_MAX:
            return None
        steps = [Step(Add(), amount.astype(np.int64)), *steps]
    if constant:
        trial = _Trial(total, steps)
        amount = np.rint((wanted - trial.offset) * float(1 << shift))
        if np.abs(amount).max() > INT32_MAX:
            return None
        place = len(steps) - len(last)
        steps = [*steps[:place], Step(Add(), amount.astype(np.int64)), *last]
    return _checked(total, steps, wanted)


def _checked(
    total: Sum, steps: Sequence[Step | AddTerm], wanted: Reals | None
) -> Requantization | None:
    """Return steps without those that do nothing, and clipped; None when something overflows.

    `wanted` is the offset before the last shift; None when the result is exact.
    """
    steps = [_plain(step) for step in steps if not _does_nothing(step)]
    trial = _Trial(total, steps)
    if not trial.fits:
        return None
    if trial.least < total.low:
        steps.append(Step(Maximum(), np.asarray(total.low)))
    if trial.greatest > total.high:
        steps.append(Step(Minimum(), np.asarray(total.high)))
    kept = [step for index, step in enumerate(steps) if not _idle(total, steps, index)]
    least = min(max(trial.least, total.low), total.high)
    greatest = max(min(trial.greatest, total.high), total.low)
    error = 0.0 if wanted is None else trial.error(wanted)
    return Requantization(tuple(kept), least, greatest, error)


def _does_nothing(step: Step | AddTerm) -> bool:
    nothing = {Add: 0, Mul: 1, ShiftRight: 0}
    if isinstance(step, AddTerm) or type(step.op) not in nothing:
        return False
    return bool((step.operand == nothing[type(step.op)]).all())


def _plain(step: Step | AddTerm) -> Step | AddTerm:
    """Return a step with a scalar in the place of equal numbers."""
    if isinstance(step, AddTerm) or (step.operand != step.operand.flat[0]).any():
        return step
    return Step(step.op, np.asarray(step.operand.flat[0]))


def _idle(total: Sum, steps: Sequence[Step | AddTerm], index: int) -> bool:
    """Whether a clipping never does anything, by the bounds of what it clips."""
    step = steps[index]
    if isinstance(step, AddTerm) or not isinstance(step.op, (Maximum, Minimum)):
        return False
    before = _Trial(total, steps[:index])
    if isinstance(step.op, Maximum):
        return bool((before.low >= step.operand).all())
    return bool((before.high <= step.operand).all())


class _Trial:
    """What steps make of a sum: bounds at each of them, and the real function they stand for.

    `factor`, `offset` and `factors` (of the addends) are of that function, in units of the last
    place; a shift before the last one counts with what it cuts off on average. `cut` is how far
    those shifts may be from their average.
    """

    def __init__(self, total: Sum, steps: Sequence[Step | AddTerm]):
        self.total = total
        self.low, self.high = total.acc.low, total.acc.high
        self.factor, self.offset, self.cut = np.ones(()), np.zeros(()), np.zeros(())
        self.factors = [0.0] * len(total.addends)
        self.fits = self._fit()
        last = max((i for i, step in enumerate(steps) if _shifts_right(step)), default=-1)
        for index, step in enumerate(steps):
            if self.fits:
                self._take(step, last=index == last)
                self.fits = self._fit()

    def _fit(self) -> bool:
        self.least, self.greatest = int(np.min(self.low)), int(np.max(self.high))
        return self.least >= -INT32_MAX - 1 and self.greatest <= INT32_MAX

    def _take(self, step: Step | AddTerm, last: bool) -> None:
        if isinstance(step, AddTerm):
            term = self.total.addends[step.index]
            ends = term.low * step.factor, term.high * step.factor
            self.low = self.low + np.minimum(*ends)
            self.high = self.high + np.maximum(*ends)
            self.factors[step.index] = step.factor
            return
        number = step.operand
        match step.op:
            case Add():
                self.low, self.high = self.low + number, self.high + number
                self.offset = self.offset + number
            case Mul():
                ends = self.low * number, self.high * number
                self.low, self.high = np.minimum(*ends), np.maximum(*ends)
                self._scale(number.astype(np.float64))
            case ShiftRight():
                self.low, self.high = self.low >> number, self.high >> number
                self._scale(2.0**-number)
                if not last:
                    half = (1 - 2.0**-number) / 2
                    self.offset, self.cut = self.offset - half, self.cut + half
            case Maximum():
                self.low = np.maximum(self.low, number)
                self.high = np.maximum(self.high, number)
            case _:
                self.low = np.minimum(self.low, number)
                self.high = np.minimum(self.high, number)

    def _scale(self, number: Any) -> None:
        self.factor, self.offset = self.factor * number, self.offset * number
        self.cut = self.cut * np.abs(number)
        self.factors = [factor * number for factor in self.factors]

    def error(self, wanted: Reals) -> float:
        """Return the greatest distance from the real result where that is not clipped."""
        total, acc = self.total, self.total.acc
        error = np.abs(self.offset - wanted) + self.cut
        reach = np.maximum(np.abs(total.low - total.offset), np.abs(total.high - total.offset))
        for term, factor in zip(total.addends, self.factors, strict=True):
            largest = np.maximum(np.abs(term.low), np.abs(term.high))
            error = error + largest * np.abs(factor - term.factor)
            reach = reach + largest * np.abs(term.factor)
        largest = np.maximum(np.abs(acc.low), np.abs(acc.high))
        within = np.minimum(largest, reach / np.abs(self.factor))
        return float(np.max(error + within * np.abs(self.factor - acc.factor)))


def _shifts_right(step: Step | AddTerm) -> bool:
    return isinstance(step, Step) and isinstance(step.op, ShiftRight)
