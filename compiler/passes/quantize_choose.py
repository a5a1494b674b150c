"""Which multipliers and shifts bring a sum of integers to int8 best (QUANTIZATION.md)."""

from collections.abc import Iterator

import numpy as np

from ..ops.elementwise import Add, Maximum, Minimum, Mul
from .quantize_numbers import (
    INT32_MAX,
    AddTerm,
    Integers,
    Reals,
    Requantization,
    Step,
    Steps,
    Sum,
    Trial,
    check,
    complete,
    shift_by,
)

IMMEDIATE_MAX = (1 << 15) - 1
MOST_SHIFT = 30
MOST_EXACT_SHIFT = 15
PRE_SHIFTS = range(1, 15)
MIDDLE_SHIFTS = range(8, 14)
FACTORS_TRIED = 1024


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
    halves = half_even(total) if exact else None
    if halves is not None:
        return halves
    found: list[Requantization] = []
    for ways in _rounds(total, INT32_MAX if exact else IMMEDIATE_MAX, biased):
        found += [way for way in ways if way is not None]
        good = [way for way in found if way.error < target]
        if good:
            return min(good, key=lambda way: len(way.steps))
    return min(found, key=lambda way: way.error, default=None)


def _rounds(total: Sum, scalar_max: int, biased: bool) -> Iterator[list[Requantization | None]]:
    """Give the ways to requantize, those of more steps later."""
    exact = _exact_shift(total)
    if exact is not None:
        body = _scaled(total, 0, exact, scalar_max)
        yield [complete(total, body, exact, bias=biased, constant=not biased)]
    yield _unclipped(total, 0, scalar_max, biased)
    clips = biased and not total.addends and bool((total.acc.factor > 0).all())
    biases = (True, False) if clips else ()
    yield [_clipped(total, 0, 0, scalar_max, bias) for bias in biases]
    if biased:
        yield [way for pre in PRE_SHIFTS for way in _unclipped(total, pre, scalar_max, biased)]
    yield [_clipped(total, pre, 0, scalar_max, bias) for bias in biases for pre in PRE_SHIFTS]
    yield [_clipped(total, 0, mid, scalar_max, bias) for bias in biases for mid in MIDDLE_SHIFTS]


def _exact_shift(total: Sum) -> int | None:
    """Return the least shift for which all multipliers are whole numbers; None without."""
    for shift in range(MOST_EXACT_SHIFT + 1):
        factors = [total.acc.factor, *(term.factor for term in total.addends)]
        scaled = [factor * float(1 << shift) for factor in factors]
        if all((np.abs(number - np.rint(number)) < 1e-9).all() for number in scaled):
            return shift
    return None


def half_even(total: Sum) -> Requantization | None:
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
    largest = int(total.acc.largest) + abs(int(whole)) + period
    last = int(np.log2(INT32_MAX / (largest + 1) * (period - 1) / 2)) - 1
    if largest * (period - 1) >= 1 << last:
        return None
    multiplier = round((2 << last) / (period - 1))
    centre = (1 << shift) // 2 * multiplier + round((1 << last) / (2 * (period - 1)))
    steps: list[Step | AddTerm] = [
        Step(Add(), whole.astype(np.int64)),
        Step(Mul(), np.asarray(period - 1)),
        *shift_by(shift + 1),
        Step(Mul(), np.asarray(multiplier)),
        Step(Add(), np.asarray(centre)),
        *shift_by(last),
    ]
    return check(total, steps, None)


def _unclipped(
    total: Sum, pre_shift: int, scalar_max: int, biased: bool
) -> list[Requantization | None]:
    """Return (((acc + bias) >> pre_shift) * m + addends * k + constant) >> shift.

    With the greatest shift for which nothing overflows, and those down to the first of which a way
    is not half a unit wrong: where a unit of the sum is worth many of the result, no bias will do.
    """
    ways: list[Requantization | None] = []
    offsets = ((True, False), (False, True), (True, True)) if biased else ((False, True),)
    most = total.acc.largest * np.abs(total.acc.factor)
    room = np.log2(INT32_MAX / max(float(np.max(most)), 1.0))
    for shift in range(min(MOST_SHIFT, int(room) + 1), -1, -1):
        body = _scaled(total, pre_shift, shift, scalar_max)
        if not body:
            continue
        ways += [complete(total, body, shift, bias=b, constant=c) for b, c in offsets]
        if any(way is not None and way.error < 0.5 for way in ways):
            break
    return ways


def _scaled(total: Sum, pre_shift: int, shift: int, scalar_max: int) -> list[Step | AddTerm]:
    """Return the steps >> pre_shift, * m, + addends * k; none when a number is too large."""
    unit = float(1 << shift)
    multiplier = _nearest(total.acc.factor * unit * (1 << pre_shift))
    factors = [round(term.factor.item() * unit) for term in total.addends]
    if np.abs(multiplier).max() > (INT32_MAX if multiplier.ndim else scalar_max):
        return []
    if any(abs(factor) > scalar_max for factor in factors):
        return []
    terms = [AddTerm(index, factor) for index, factor in enumerate(factors)]
    return [*shift_by(pre_shift), Step(Mul(), multiplier), *terms]


def _nearest(ideal: Reals) -> Integers:
    """Return the nearest integers, but none that is zero."""
    rounded = np.rint(ideal)
    return np.where(rounded == 0, np.where(ideal < 0, -1, 1), rounded).astype(np.int64)


def _clipped(
    total: Sum, pre_shift: int, middle: int, scalar_max: int, bias: bool
) -> Requantization | None:
    """Return the way that clips the accumulator, so that few bits are left to multiply.

    ((clip((acc + bias) >> pre_shift) * m >> middle) * n + constant) >> shift, clipped to just what
    becomes `low` to `high`; without `middle`, * m alone. Either bias or constant.
    """
    factor = total.acc.factor * (1 << pre_shift)
    if (factor > 1).any():
        return None  # the last sum that is not clipped need not reach the last result
    offset = np.zeros(()) if bias else total.offset
    ends = np.abs(total.low - offset), np.abs(total.high + 1 - offset)
    shift = int(np.log2(INT32_MAX / max(float(np.max(end)) for end in ends)))
    for lead in range(shift, 0, -1) if middle else (shift,):
        first = _nearest(factor * float(1 << lead))
        steps = [Step(Mul(), first)]
        if middle:
            first, second = _factored(first, factor * 2.0 ** (middle + shift))
            steps = [Step(Mul(), first), *shift_by(middle), Step(Mul(), second)]
        limit = INT32_MAX if factor.ndim else scalar_max
        if any(isinstance(step.op, Mul) and step.operand.max() > limit for step in steps):
            continue
        constant = np.zeros((), np.int64)
        if not bias:
            trial = Trial(total, [*shift_by(pre_shift), *steps, *shift_by(shift)])
            wanted = (total.offset + 0.5 - trial.offset) * float(1 << shift)
            constant = np.rint(wanted).astype(np.int64)
        bounds = _bounds(steps, constant, shift, total.low, total.high)
        body: Steps = [*shift_by(pre_shift), *bounds, *steps]
        done = complete(total, body, shift, bias=bias, constant=not bias)
        if done is not None:
            return done
    return None


def _factored(first: Integers, product: Reals) -> tuple[Integers, Integers]:
    """Return two numbers, the one at most `first`, whose product is as near as can be."""
    parts = np.maximum(first[..., None] - np.arange(FACTORS_TRIED), 1)
    others = np.maximum(np.rint(product[..., None] / parts), 1)
    distance = np.abs(parts * others - product[..., None])
    best = distance.argmin(axis=-1)[..., None]
    take = np.take_along_axis
    return take(parts, best, -1)[..., 0], take(others, best, -1)[..., 0].astype(np.int64)


def _bounds(steps: list[Step], constant: Integers, shift: int, low: int, high: int) -> list[Step]:
    """Return the clipping to what `steps`, + constant and >> shift turn into `low` to `high`.

    Each step is undone, from the last to the first: the least value that gives at least `low`, the
    least that gives `high` + 1.
    """
    least = (np.asarray(low) << shift) - constant
    above = (np.asarray(high + 1) << shift) - constant
    for step in reversed(steps):
        if isinstance(step.op, Mul):
            least, above = -(-least // step.operand), -(-above // step.operand)
        else:
            least, above = least << step.operand, above << step.operand
    return [Step(Maximum(), least), Step(Minimum(), above - 1)]
