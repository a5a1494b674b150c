"""cli.rivals.figures: medians, spreads and ratios of samples."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtakit.cli.rivals.figures import LEAST_SPREAD, Figure, equal, figure, ratio

times = st.floats(1e-6, 10)


@given(st.lists(times, min_size=2, max_size=50))
def test_a_figure_is_median_least_and_distance_of_quartiles(samples: list[float]) -> None:
    found = figure(samples)
    lower, median, upper = statistics.quantiles(samples, n=4, method="inclusive")
    assert found.median == pytest.approx(statistics.median(samples))
    assert found.least == min(samples)
    assert found.spread == pytest.approx((upper - lower) / median, abs=1e-9)


def test_one_sample_has_no_spread() -> None:
    assert figure([0.5]) == Figure(0.5, 0.5, 0.0)


@given(st.lists(st.tuples(times, times, st.floats(0.1, 10)), min_size=1, max_size=40))
def test_what_slows_whole_rounds_down_cancels_in_a_ratio(
    rounds: list[tuple[float, float, float]],
) -> None:
    quiet = ratio([one for one, _, _ in rounds], [other for _, other, _ in rounds])
    slowed = ratio([one * by for one, _, by in rounds], [other * by for _, other, by in rounds])
    assert slowed.median == pytest.approx(quiet.median)
    assert slowed.spread == pytest.approx(quiet.spread, abs=1e-6)


def test_a_ratio_is_not_that_of_medians() -> None:
    found = ratio([2.0, 4.0, 60.0], [1.0, 4.0, 20.0])
    assert found.median == 2.0
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("median", "spread", "same"),
    [
        (1.04, 0.05, True),
        (1.06, 0.05, False),
        (0.96, 0.05, True),
        (0.94, 0.05, False),
        (1 + LEAST_SPREAD / 2, 0.0, True),
        (1 + LEAST_SPREAD * 2, 0.0, False),
    ],
)
def test_a_difference_within_the_spread_is_none(median: float, spread: float, same: bool) -> None:
    assert equal(Figure(median, median, spread)) is same
