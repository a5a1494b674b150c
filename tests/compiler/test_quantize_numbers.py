"""Requantization: nothing overflows, the predicted error holds, ties go where they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.ops.elementwise import Add, Maximum, Mul, ShiftRight
from vtakit.compiler.passes.quantize_choose import IMMEDIATE_MAX, requantize
from vtakit.compiler.passes.quantize_numbers import Requantization, Step, Sum, Term, Trial

INT32 = np.iinfo(np.int32)


def run(steps: Requantization, acc: np.ndarray, addends: list[np.ndarray]) -> np.ndarray:
    """Run the steps in 64 bits, and check that 32 would have done for every one of them."""
    value = acc.astype(np.int64)
    for step in steps.steps:
        if isinstance(step, Step):
            match step.op:
                case Add():
                    value = value + step.operand
                case Mul():
                    value = value * step.operand
                case ShiftRight():
                    assert 0 < step.operand < 32
                    value = value >> step.operand
                case Maximum():
                    value = np.maximum(value, step.operand)
                case _:
                    value = np.minimum(value, step.operand)
            assert np.abs(step.operand).max() <= INT32.max
        else:
            scaled = addends[step.index] * step.factor
            assert np.abs(scaled).max() <= INT32.max
            value = value + scaled
        assert INT32.min <= value.min(), step
        assert value.max() <= INT32.max, step
    return value


@st.composite
def sums(draw: st.DrawFn) -> Sum:
    """Draw a sum as layers have them: scalar or one a channel, with and without addend."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    shape = draw(st.sampled_from([(), (1,), (7,)]))
    size = 2.0 ** draw(st.floats(2, 28))
    high = np.rint(size * rng.uniform(0.2, 1, shape)).astype(np.int64)
    low = -np.rint(size * rng.uniform(0, 1, shape)).astype(np.int64)
    reach = 2.0 ** draw(st.floats(5, 13))  # of the unclipped result
    factor = reach / size * 2.0 ** rng.uniform(-3, 0, shape)
    if draw(st.booleans()):
        factor = factor * rng.choice([-1, 1], shape)
    if draw(st.integers(0, 5)) == 0:
        factor = np.broadcast_to(2.0 ** -rng.integers(0, 9), shape)
    addends = ()
    if draw(st.booleans()):
        worth = np.asarray(2.0 ** draw(st.floats(-4, 2)) * rng.choice([-1, 1]))
        addends = (Term(np.asarray(-128), np.asarray(127), worth),)
    offset = rng.uniform(-200, 200, shape)
    bottom = draw(st.sampled_from([-128, -128, 0, 13]))
    return Sum(Term(low, high, np.asarray(factor)), addends, np.asarray(offset), bottom, 127)


def values_of(term: Term, rng: np.random.Generator) -> np.ndarray:
    """Return (rows, ...) of values: extremes, values near results, values anywhere."""
    shape = np.broadcast_shapes(term.low.shape, term.high.shape)
    near = np.rint(rng.uniform(-300, 300, (500, *shape)) / np.abs(term.factor))
    anywhere = rng.integers(term.low, term.high + 1, (500, *shape))
    ends = np.stack([np.broadcast_to(end, shape) for end in (term.low, term.high)])
    rows = np.concatenate([ends, near.clip(term.low, term.high), anywhere])
    return rows.astype(np.int64)


@settings(max_examples=150, deadline=None)
@given(sums(), st.booleans(), st.booleans(), st.integers(0, 999))
def test_nothing_overflows_and_the_error_is_as_predicted(
    total: Sum, exact: bool, biased: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    target = 2.0**-12 if exact else 1 / 8
    found = requantize(total, target=target, exact=exact, biased=biased)
    if found is None:
        assert not biased or total.addends
        return
    acc = values_of(total.acc, rng)
    addends = [
        np.concatenate([[-128, 127, -128, 127], rng.integers(-128, 128, len(acc) - 4)])
        for _ in total.addends
    ]
    addends = [column.reshape(-1, *(1,) * (acc.ndim - 1)) for column in addends]
    result = run(found, acc, addends)
    real = acc * total.acc.factor + total.offset
    for column, term in zip(addends, total.addends, strict=True):
        real = real + column * term.factor
    assert found.least <= result.min()
    assert result.max() <= found.greatest
    assert total.low <= found.least <= found.greatest <= total.high
    distance = np.abs(result - real.clip(total.low, total.high))
    assert distance.max() <= 0.5 + found.error + 1e-6


@settings(max_examples=60, deadline=None)
@given(sums())
def test_convolutions_always_find_numbers_that_are_good_enough(total: Sum) -> None:
    total = Sum(
        Term(total.acc.low, total.acc.high, np.abs(total.acc.factor)),
        (), total.offset, total.low, total.high,
    )  # fmt: skip
    coarse = requantize(total, target=1 / 8, exact=False, biased=True)
    fine = requantize(total, target=2.0**-12, exact=True, biased=True)
    assert coarse is not None
    assert fine is not None
    assert coarse.error < 1 / 8
    assert fine.error < 1 / 128
    assert len(coarse.steps) <= 6


@pytest.mark.parametrize("exact", [False, True])
def test_a_sum_whose_unit_is_worth_many_results_is_still_clipped(exact: bool) -> None:
    """Between two sums the result steps over its ends; the offset is no whole number of units."""
    factor, offset = np.asarray([638.3, 3.7, 1.01]), np.asarray([148.04, -50.2, 60.7])
    acc = Term(np.asarray([-3, -90, -300]), np.asarray([3, 80, 300]), factor)
    found = requantize(Sum(acc, (), offset, -128, 127), target=1 / 8, exact=exact, biased=True)
    assert found is not None
    values = np.arange(-300, 301)[:, None].clip(acc.low, acc.high)
    real = values * factor + offset
    assert np.abs(run(found, values, []) - real.clip(-128, 127)).max() < 0.5 + 1 / 8


def test_scalars_are_immediates_unless_exactness_is_asked_for() -> None:
    acc = Term(np.asarray(-(1 << 20)), np.asarray(1 << 20), np.asarray(0.0007))
    total = Sum(acc, (Term(np.asarray(-128), np.asarray(127), np.asarray(0.7)),), np.asarray(3.3),
                -128, 127)  # fmt: skip
    found = requantize(total, target=1 / 8, exact=False, biased=True)
    assert found is not None
    for step in found.steps:
        if isinstance(step, Step) and isinstance(step.op, Mul):
            assert 0 < step.operand <= IMMEDIATE_MAX
        elif not isinstance(step, Step):
            assert abs(step.factor) <= IMMEDIATE_MAX


def names(found: Requantization | None) -> list[str]:
    assert found is not None
    return [type(step.op).__name__ if isinstance(step, Step) else "addend" for step in found.steps]


def test_few_steps_where_they_are_enough() -> None:
    """A wide multiplier needs no shift before it; clipping is left out where it cannot happen."""
    acc = Term(np.asarray([-9000]), np.asarray([9000]), np.asarray([0.02]))
    total = Sum(acc, (), np.asarray([1.5]), -128, 127)
    found = requantize(total, target=1 / 8, exact=False, biased=True)
    assert names(found) == ["Add", "Mul", "ShiftRight", "Maximum", "Minimum"]
    narrow = Sum(Term(acc.low // 2, acc.high // 2, acc.factor), (), total.offset, -128, 127)
    found = requantize(narrow, target=1 / 8, exact=False, biased=True)
    assert names(found) == ["Add", "Mul", "ShiftRight"]


def test_powers_of_two_are_shifts_and_the_same_scale_is_nothing() -> None:
    def plain(factor: float, offset: float) -> Sum:
        acc = Term(np.asarray(-128), np.asarray(127), np.asarray(factor))
        return Sum(acc, (), np.asarray(offset), -128, 127)

    assert names(requantize(plain(1, 0), target=1 / 8, exact=False, biased=False)) == []
    assert names(requantize(plain(1, 5), target=1 / 8, exact=True, biased=False)) == [
        "Add", "Minimum"
    ]  # fmt: skip
    found = requantize(plain(0.25, 0), target=1 / 8, exact=False, biased=True)
    assert names(found) == ["Add", "ShiftRight"]


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("offset", [0, 3, -128])
def test_halves_go_to_the_even_number_where_exactness_is_asked_for(bits: int, offset: int) -> None:
    count = 1 << bits
    acc = Term(np.asarray(-128 * count), np.asarray(127 * count), np.asarray(1 / count))
    total = Sum(acc, (), np.asarray(float(offset)), -128, 127)
    found = requantize(total, target=2.0**-12, exact=True, biased=True)
    assert found is not None
    values = np.arange(-128 * count, 127 * count + 1)
    expected = np.rint(values / count + offset).clip(-128, 127)
    np.testing.assert_array_equal(run(found, values, []), expected)


def test_sums_that_do_not_fit_have_no_numbers() -> None:
    acc = Term(np.asarray(-(1 << 33)), np.asarray(1 << 33), np.asarray(2.0**-26))
    total = Sum(acc, (), np.asarray(0.0), -128, 127)
    assert requantize(total, target=1 / 8, exact=False, biased=True) is None


def test_bounds_stop_where_they_stop_fitting_but_the_function_goes_on() -> None:
    acc = Term(np.asarray(-(1 << 30)), np.asarray(1 << 30), np.asarray(1.0))
    steps = [Step(Add(), np.asarray(5)), Step(Mul(), np.asarray(6)), Step(Add(), np.asarray(7))]
    trial = Trial(Sum(acc, (), np.asarray(0.0), -128, 127), steps)
    assert not trial.fits
    assert trial.factor == 6
    assert trial.offset == 37
