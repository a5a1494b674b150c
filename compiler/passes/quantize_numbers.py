"""Steps from a sum of integers to int8: what they compute, their bounds, their error.

QUANTIZATION.md has the formulas and why nothing overflows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..ops.elementwise import Add, Binary, Maximum, Minimum, Mul, ShiftRight

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

INT32_MAX = (1 << 31) - 1


@dataclass(frozen=True)
class Term:
    """One integer of the sum: its least and greatest values, and what one unit of it is worth.

    `factor` is in units of the output's last place. Arrays broadcast against the output.
    """

    low: Integers
    high: Integers
    factor: Reals

    @property
    def largest(self) -> Integers:
        """The greatest magnitude."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


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


Steps: TypeAlias = Sequence[Step | AddTerm]


@dataclass(frozen=True)
class Requantization:
    """What brings a sum to int8: `steps`, after which the value lies from `least` to `greatest`.

    `error` is the predicted greatest distance, in units of the last place and before the final
    rounding, from the real result.
    """

    steps: tuple[Step | AddTerm, ...]
    least: int
    greatest: int
    error: float


def shift_by(count: int) -> list[Step]:
    """Return the step >> count; none for 0."""
    return [Step(ShiftRight(), np.asarray(count))] if count else []


def complete(
    total: Sum, body: Steps, shift: int, *, bias: bool, constant: bool
) -> Requantization | None:
    """Return `body` and the last shift with the sum's offset before them, between them, or both.

    Before, as `bias`, it is rounded to whole units of the accumulator; between, as `constant`, it
    is exact, or what the bias left over. None when something overflows.
    """
    last = shift_by(shift)
    wanted = total.offset + (0.5 if shift else 0.0)
    steps = [*body, *last]
    if bias:
        trial = Trial(total, steps)
        amount = np.rint((wanted - trial.offset) / trial.factor)
        if np.abs(amount).max() > INT32_MAX:
            return None
        steps = [Step(Add(), amount.astype(np.int64)), *steps]
    if constant:
        amount = np.rint((wanted - Trial(total, steps).offset) * float(1 << shift))
        if np.abs(amount).max() > INT32_MAX:
            return None
        place = len(steps) - len(last)
        steps = [*steps[:place], Step(Add(), amount.astype(np.int64)), *last]
    return check(total, steps, wanted)


def check(total: Sum, steps: Steps, wanted: Reals | None) -> Requantization | None:
    """Return steps without those that do nothing, and clipped; None when something overflows.

    `wanted` is the offset before the last shift; None when the result is exact.
    """
    steps = [_plain(step) for step in steps if not _does_nothing(step)]
    trial = Trial(total, steps)
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
    if isinstance(step, AddTerm) or not isinstance(step.op, (Add, Mul, ShiftRight)):
        return False
    return bool((step.operand == isinstance(step.op, Mul)).all())


def _plain(step: Step | AddTerm) -> Step | AddTerm:
    """Return a step with a scalar in the place of equal numbers."""
    if isinstance(step, AddTerm) or (step.operand != step.operand.flat[0]).any():
        return step
    return Step(step.op, np.asarray(step.operand.flat[0]))


def _idle(total: Sum, steps: Steps, index: int) -> bool:
    """Whether a clipping never does anything, by the bounds of what it clips."""
    step = steps[index]
    if isinstance(step, AddTerm) or not isinstance(step.op, (Maximum, Minimum)):
        return False
    before = Trial(total, steps[:index])
    if isinstance(step.op, Maximum):
        return bool((before.low >= step.operand).all())
    return bool((before.high <= step.operand).all())


class Trial:
    """What steps make of a sum: bounds after them, and the real function they stand for.

    Parameters
    ----------
    total : Sum
        Where they begin.
    steps : sequence
        What is done to it, in order.

    `low` and `high` are the bounds, of all steps if they fit in 32 bits, which `fits` says, or else
    of those up to the first that does not. `factor`, `offset` and
    `factors` (of the addends) are of the real function, in units of the last place; a shift before
    the last one counts with what it cuts off on average. `cut` is how far it may be from that.
    """

    def __init__(self, total: Sum, steps: Steps):
        self.total = total
        self.low, self.high = total.acc.low, total.acc.high
        self.factor, self.offset, self.cut = np.ones(()), np.zeros(()), np.zeros(())
        self.factors = [0.0] * len(total.addends)
        self.fits = self._fit()
        shifts = [i for i, step in enumerate(steps) if _shifts_right(step)]
        for index, step in enumerate(steps):
            self._follow(step, last=index == max(shifts, default=-1))
            if self.fits:
                self._bound(step)
                self.fits = self._fit()

    def _fit(self) -> bool:
        self.least, self.greatest = int(self.low.min()), int(self.high.max())
        return self.least >= -INT32_MAX - 1 and self.greatest <= INT32_MAX

    def _follow(self, step: Step | AddTerm, last: bool) -> None:
        if isinstance(step, AddTerm):
            self.factors[step.index] = step.factor
        elif isinstance(step.op, Add):
            self.offset = self.offset + step.operand
        elif isinstance(step.op, Mul):
            self._scale(step.operand.astype(np.float64))
        elif isinstance(step.op, ShiftRight):
            self._scale(2.0**-step.operand)
            if not last:
                half = (1 - 2.0**-step.operand) / 2
                self.offset, self.cut = self.offset - half, self.cut + half

    def _bound(self, step: Step | AddTerm) -> None:
        if isinstance(step, AddTerm):
            term = self.total.addends[step.index]
            ends = term.low * step.factor, term.high * step.factor
            self.low = self.low + np.minimum(*ends)
            self.high = self.high + np.maximum(*ends)
            return
        number = step.operand
        match step.op:
            case Add():
                self.low, self.high = self.low + number, self.high + number
            case Mul():
                ends = self.low * number, self.high * number
                self.low, self.high = np.minimum(*ends), np.maximum(*ends)
            case ShiftRight():
                self.low, self.high = self.low >> number, self.high >> number
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
            error = error + term.largest * np.abs(factor - term.factor)
            reach = reach + term.largest * np.abs(term.factor)
        within = np.minimum(acc.largest, reach / np.abs(self.factor))
        return float(np.max(error + within * np.abs(self.factor - acc.factor)))


def _shifts_right(step: Step | AddTerm) -> bool:
    return isinstance(step, Step) and isinstance(step.op, ShiftRight)
