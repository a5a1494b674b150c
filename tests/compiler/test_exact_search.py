"""Chains of multiplications: the staircase that float32 gives, at every one of its steps.

The staircase here is a formula of its own, `rounded`, evaluated sum by sum; chains run in int32.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.passes.exact_search import difference, exact
from vtakit.compiler.passes.exact_staircase import Staircase, staircase
from vtakit.compiler.passes.quantize_numbers import Integers, Step


def rounded(sums: Integers, scale: np.ndarray, zero_point: int, low: int) -> Integers:
    """Return float32 sums times float32 scales (C, 1), rounded half to even, clipped."""
    product = sums.astype(np.float32) * scale.astype(np.float32)[:, None]
    return np.clip(np.rint(product).astype(np.int64) + zero_point, low, 127)


def follow32(steps: list[Step], value: Integers) -> Integers:
    """Return what steps give in int32, which must hold every number on the way."""
    for step in steps:
        (value,) = step.op.evaluate(value, step.operand)
        np.testing.assert_array_equal(value, value.astype(np.int32), str(step.op))
    return value


@st.composite
def layers(draw: st.DrawFn, bits: tuple[int, int] = (6, 19)) -> tuple[Staircase, np.ndarray, int]:
    """Draw a staircase with one to four channels, its scales, and its zero point."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    channels = draw(st.integers(1, 4))
    reach = 2.0 ** draw(st.integers(*bits))
    high = np.rint(reach * rng.uniform(0.3, 1, channels)).astype(np.int64)
    low = -np.rint(reach * rng.uniform(0, 1, channels)).astype(np.int64)
    results = 2.0 ** draw(st.floats(4, 10))
    scale = (results / reach * 2.0 ** rng.uniform(-1, 0, channels)).astype(np.float32)
    zero_point = draw(st.integers(-128, 127))
    bottom = draw(st.sampled_from([-128, zero_point]))
    if bottom == 127:
        bottom = 126
    stairs = staircase(
        lambda sums: rounded(sums, scale, zero_point, bottom), low, high, bottom, 127
    )
    return stairs, scale.astype(np.float64), zero_point


def around_steps(stairs: Staircase, rng: np.random.Generator) -> Integers:
    """Return (C, N) the sums on both sides of every step, both ends, and some more."""
    low, high = stairs.low[:, None], stairs.high[:, None]
    anywhere = rng.integers(low, high + 1, (len(low), 500))
    every = [stairs.first, stairs.first - 1, low, high, anywhere]
    return np.clip(np.concatenate(every, axis=1), low, high)


@settings(max_examples=60, deadline=None)
@given(layers(bits=(3, 11)))
def test_a_staircase_is_its_function_for_every_sum(
    drawn: tuple[Staircase, np.ndarray, int],
) -> None:
    stairs, scale, zero_point = drawn
    sums = np.clip(np.arange(-2048, 2049), stairs.low[:, None], stairs.high[:, None])
    expected = rounded(sums, scale, zero_point, stairs.bottom)
    np.testing.assert_array_equal(stairs.result(sums), expected)


def test_a_chain_is_the_staircase_at_an_end_that_is_not_clipped() -> None:
    scale = np.asarray([4.02478266])
    stairs = staircase(
        lambda sums: rounded(sums, scale, 0, -128), np.array([-1]), np.array([29]), -128, 127
    )
    searched = exact(stairs, scale)
    assert searched is not None
    cascade, differing = searched
    assert differing == 0
    sums = np.arange(-1, 30)[None]
    np.testing.assert_array_equal(cascade.result(sums), rounded(sums, scale, 0, -128))


@settings(max_examples=25, deadline=None)
@given(layers(), st.integers(0, 999))
def test_a_chain_is_the_staircase_of_float32_at_all_its_steps(
    drawn: tuple[Staircase, np.ndarray, int], seed: int
) -> None:
    stairs, scale, zero_point = drawn
    searched = exact(stairs, scale)
    assert searched is not None
    cascade, differing = searched
    sums = around_steps(stairs, np.random.default_rng(seed))
    expected = rounded(sums, scale, zero_point, stairs.bottom)
    offset = np.asarray(17)  # what is still missing of the sums when the steps begin
    found = follow32(cascade.steps((-1, 1), offset), sums - offset)
    found = np.clip(found, stairs.bottom, stairs.top)
    np.testing.assert_array_equal(found, cascade.result(sums))
    wrong = np.abs(found - expected)
    assert wrong.max() <= 1
    if not differing:
        assert not wrong.any()
    assert differing <= 1e-4 * stairs.sums


@settings(max_examples=40, deadline=None)
@given(layers(bits=(4, 12)))
def test_the_differing_sums_are_counted_one_by_one(
    drawn: tuple[Staircase, np.ndarray, int],
) -> None:
    stairs, scale, zero_point = drawn
    wrong_scale = scale * 1.01
    counted = difference(lambda sums: rounded(sums, wrong_scale, zero_point, stairs.bottom), stairs)
    brute = 0
    for channel in range(len(scale)):
        one = slice(channel, channel + 1)
        sums = np.arange(stairs.low[channel], stairs.high[channel] + 1)[None]
        right, wrong = (
            rounded(sums, numbers[one], zero_point, stairs.bottom)
            for numbers in (scale, wrong_scale)
        )
        brute += int(np.abs(right - wrong).sum())
    assert counted == brute


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("scale", [0.00071, 0.0123, 2.0**-5])
def test_a_multiplier_one_off_is_noticed(change: int, scale: float) -> None:
    """Mutants: every factor of the chain, and its constant by the room of a whole step."""
    scales = np.asarray([np.float32(scale)], np.float64)
    ends = np.asarray([200 / scale]).astype(np.int64)
    stairs = staircase(lambda sums: rounded(sums, scales, -3, -128), -ends, ends, -128, 127)
    searched = exact(stairs, scales)
    assert searched is not None
    cascade, differing = searched
    assert differing == 0
    for index, factor in enumerate(cascade.factors):
        factors = list(cascade.factors)
        factors[index] = factor + change
        assert difference(replace(cascade, factors=tuple(factors)).result, stairs)
    moved = replace(cascade, constant=cascade.constant + change * (1 << 16))
    assert difference(moved.result, stairs)
