"""cli.rivals.measure: turns, loops, warm-up, and rounds that others disturbed."""

import gc
from itertools import count, groupby
from statistics import mean

import pytest
from vtakit.cli.rivals.measure import (
    PAUSE_SECONDS,
    SAMPLE_SECONDS,
    TRIES,
    WARM_SECONDS,
    Measured,
    measure,
    warm_up,
)

from .fakes import FakeRival, FakeWatch

BUSY = 0.5  # seconds lost in a sample of a tenth of a second


def measured(rivals: list[FakeRival], rounds: int, watch: FakeWatch) -> Measured:
    """Measure without waiting."""
    return measure(rivals, rounds, watch, quieten=lambda: None, pause=lambda seconds: None)


def test_all_take_turns_and_another_one_begins_each_round() -> None:
    ran: list[str] = []
    rivals = [FakeRival(key, [0.1], ran=ran.append) for key in "abc"]
    for rival in rivals:
        warm_up(rival)
    before = len(ran)
    found = measured(rivals, 4, FakeWatch())
    turns = "".join(key for key, _ in groupby(ran[before:]))
    # Each warms up, then a begins; c ends the second round and begins the third.
    assert turns == "abc" + "abc" + "bca" + "cab" + "abc"
    assert {key: len(seconds) for key, seconds in found.seconds.items()} == dict.fromkeys("abc", 4)
    assert (found.rejected, found.busy) == (0, 0)


def test_a_sample_is_the_run_after_those_that_warm() -> None:
    """A network of half a second is warm after one run: then each second run counts."""
    rival = FakeRival("a", count(1.0, 0.001))
    warm = FakeRival("a", count(1.0, 0.001))
    warm_up(warm)
    first = 1.0 + 0.001 * warm.runs
    found = measured([rival], 3, FakeWatch())
    assert found.seconds["a"] == pytest.approx(
        [first + 0.001 * (1 + 2 * place) for place in (0, 1, 2)]
    )


def test_a_short_inference_is_the_mean_of_many() -> None:
    seconds = 2e-5
    found = measured([FakeRival("a", [seconds])], 3, FakeWatch())
    assert found.loops["a"] * seconds == pytest.approx(SAMPLE_SECONDS, abs=seconds)
    assert found.seconds["a"] == pytest.approx([seconds] * 3)


def test_a_long_one_is_a_sample_of_its_own() -> None:
    assert measured([FakeRival("a", [0.1])], 3, FakeWatch()).loops == {"a": 1}


def test_a_round_in_which_others_took_the_cpu_is_measured_again() -> None:
    pauses: list[float] = []
    rivals = [FakeRival("a", [0.1]), FakeRival("b", [0.1])]
    watch = FakeWatch(losses=[0, 0, BUSY, 0, 0, 0.001, 0, BUSY])
    found = measure(rivals, 3, watch, quieten=lambda: None, pause=pauses.append)
    assert (found.rejected, found.busy) == (2, 0)
    assert len(found.seconds["a"]) == len(found.seconds["b"]) == 3
    assert pauses == [PAUSE_SECONDS] * 2


def test_samples_of_a_disturbed_round_do_not_count() -> None:
    warm = FakeRival("a", [0.1])
    warm_up(warm)
    quiet, slow = [0.1, 0.1], [0.1, 0.9]
    rival = FakeRival("a", [*[0.1] * warm.runs, *quiet, *slow, *quiet, *quiet])
    found = measured([rival], 3, FakeWatch(losses=[0, BUSY]))
    assert found.seconds["a"] == [0.1] * 3
    assert found.rejected == 1


def test_a_cpu_that_is_slower_than_at_its_best_makes_no_measurement() -> None:
    """A neighbour was there from the start: only the third round shows that the first two lost."""
    watch = FakeWatch(sticks=[1.5] * 4)  # before and after the only turn of a round
    found = measured([FakeRival("a", [0.1])], 3, watch)
    assert (found.rejected, found.busy) == (2, 0)


def test_any_cpu_that_is_slower_counts() -> None:
    watch = FakeWatch(sticks=[1.0, 1.0, 1.0, 1.0, 1.0, 1.3], cpus=2)
    assert measured([FakeRival("a", [0.1])], 2, watch).rejected == 1


def test_where_others_never_rest_the_least_disturbed_rounds_count_and_are_named() -> None:
    losses = [0.09 - 0.001 * place for place in range(TRIES * 3)]  # the latest lost least
    warm = FakeRival("a", [0.1])
    warm_up(warm)
    seconds = [0.1 + 0.001 * (place // 2) for place in range(2 * len(losses))]
    rival = FakeRival("a", [*[0.1] * warm.runs, *seconds])
    found = measured([rival], 3, FakeWatch(losses))
    assert (found.rejected, found.busy) == ((TRIES - 1) * 3, 3)
    assert sorted(found.seconds["a"]) == pytest.approx(sorted(seconds[-1:-6:-2]))


def test_warm_up_ends_when_blocks_are_no_longer_faster() -> None:
    falling = [1.0 - 0.05 * place for place in range(10)]
    rival = FakeRival("a", [value / 30 for value in falling for _ in range(3)])
    assert warm_up(rival) == pytest.approx(falling[-1] / 30)
    assert rival.runs == 3 * (len(falling) + 2)


def test_warm_up_ends_at_last_where_times_never_settle() -> None:
    rival = FakeRival("a", (0.5 * 0.97**place for place in range(200)))
    warm_up(rival)
    assert 0.5 * mean(0.97**place for place in range(rival.runs)) * rival.runs < WARM_SECONDS + 1.5


def test_garbage_is_collected_again_afterwards() -> None:
    def interrupt(key: str) -> None:
        states.append(gc.isenabled())
        if len(states) == 20:
            raise KeyboardInterrupt

    states: list[bool] = []
    assert gc.isenabled()
    with pytest.raises(KeyboardInterrupt):
        measured([FakeRival("a", [0.1], ran=interrupt)], 30, FakeWatch())
    assert gc.isenabled()
    assert states[0]
    assert not states[-1]


def test_threads_of_the_one_before_are_waited_for_in_each_turn() -> None:
    order: list[str] = []
    rivals = [FakeRival(key, [0.1], ran=order.append) for key in "ab"]
    measure(rivals, 1, FakeWatch(), quieten=lambda: order.append("-"))
    assert "".join(key for key, _ in groupby(order)) == "-a-b" + "-a-b" + "-"


def test_nobody_is_measured_where_nobody_takes_part() -> None:
    assert measured([], 30, FakeWatch()) == Measured({}, {}, 0, 0)
