"""Sums of two int8 tensors: two factors, a constant and a shift, right for every pair."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.passes.exact_plane import plane
from vtakit.compiler.passes.quantize_numbers import AddTerm, Integers

A, B = (grid.ravel() for grid in np.meshgrid(*[np.arange(-128, 128)] * 2, indexing="ij"))


def added(slopes: tuple[float, float], offset: float, low: int) -> Integers:
    """Return the sums of all pairs in float32, rounded half to even, clipped."""
    first, second = (np.float32(slope) for slope in slopes)
    real = A.astype(np.float32) * first + (B.astype(np.float32) * second + np.float32(offset))
    return np.clip(np.rint(real).astype(np.int64), low, 127)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 30), st.floats(-250, 250), st.sampled_from([-128, 0]))
def test_a_plane_gives_every_sum_that_it_says_it_gives(seed: int, offset: float, low: int) -> None:
    first, second = 2.0 ** np.random.default_rng(seed).uniform(-4, 2, 2)
    results = added((first, second), offset, low)
    found = plane(A, B, results, (first, second), low, 127)
    value = A
    for step in found.steps:
        if isinstance(step, AddTerm):
            value = value + B * step.factor
        else:
            (value,) = step.op.evaluate(value, step.operand)
        np.testing.assert_array_equal(value, value.astype(np.int32))
    wrong = np.clip(value, low, 127) != results
    assert wrong.sum() == found.differing
    assert found.differing <= 16


def test_a_factor_one_off_is_noticed() -> None:
    slopes = 0.8053, 1.0887
    results = added(slopes, 3.0, -128)
    found = plane(A, B, results, slopes, -128, 127)
    assert found.differing == 0
    for change in (-20000, 20000):
        for wrong in (
            replace(found, first=found.first + change), replace(found, second=found.second + change)
        ):  # fmt: skip
            assert (wrong.result(A, B, -128, 127) != results).any()
