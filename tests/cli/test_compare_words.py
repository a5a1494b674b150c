"""cli.compare_words: figures for people, and a verdict that says no more than they do."""

import numpy as np
import pytest
from vtakit.cli.compare_words import duration, per_cent, times, verdict

from .comparisons import FakeRival, facts, llvm, made, ort_int8

STEADY = {"llvm": [9.8e-3] * 3, "ort-int8": [10.7e-3] * 3}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (9.8412e-3, "9.84 ms"),
        (107.8e-3, "108 ms"),
        (13.66e-6, "13.7 µs"),
        (1204.4, "1,204 s"),
        (0.99949, "999 ms"),
        (0.99951, "1.00 s"),
        (0.99951e-3, "1.00 ms"),
        (9.996e-3, "10.0 ms"),
        (99.96e-3, "100 ms"),
        (4.2e-8, "42 ns"),
    ],
)
def test_a_time_has_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_shares_and_factors_are_short() -> None:
    assert [per_cent(share) for share in (0.0123, 0.0994, 0.0996, 0.37)] == [
        "1.2 %",
        "9.9 %",
        "10 %",
        "37 %",
    ]
    assert [times(value) for value in (1.0918, 12.34, 150.2)] == ["1.09", "12.3", "150"]


def test_a_verdict_names_the_machine_both_and_how_much_faster() -> None:
    assert verdict(made(STEADY)) == (
        "On one thread of AMD EPYC, vtakit's LLVM code runs resnet (int8) in 9.80 ms, "
        "1.09 times as fast as ONNX Runtime 1.32.0 (int8, 10.7 ms, spread 0.0 %); "
        "VTA default at 100 MHz would take 10.1 ms, 1.03 times as long as vtakit's LLVM code."
    )


def test_float_is_compared_with_float_in_a_sentence_of_its_own() -> None:
    text = verdict(made({**STEADY, "llvm-float32": [33e-3] * 3, "ort": [37e-3] * 3}))
    assert text == verdict(made(STEADY)) + (
        " In float32 vtakit's LLVM code takes 33.0 ms, 1.12 times as fast as ONNX Runtime 1.32.0 "
        "(float32, 37.0 ms, spread 0.0 %)."
    )


def test_nobody_is_set_against_another_arithmetic() -> None:
    text = verdict(made({"llvm": [9.8e-3] * 3, "ort": [20e-3] * 3}))
    assert "runs resnet (int8) in 9.80 ms; VTA default at 100 MHz would take" in text
    assert "ONNX" not in text


def test_slower_is_said_as_plainly() -> None:
    text = verdict(made({"llvm": [20e-3] * 3, "ort-int8": [10e-3] * 3}))
    assert "in 20.0 ms, 2.00 times as long as ONNX Runtime 1.32.0 (int8, 10.0 ms" in text
    assert "times as fast as ONNX" not in text
    assert "and be 1.98 times as fast as vtakit's LLVM code." in text


@pytest.mark.parametrize("by", [1.03, 0.97])
def test_a_difference_within_the_spread_is_none(by: float) -> None:
    samples = [9e-3, 10e-3, 11e-3]
    text = verdict(made({"llvm": samples, "ort-int8": [by * 10e-3] * 3}))
    assert "as fast as ONNX Runtime 1.32.0 (int8, " in text
    assert "the difference is within the spread of" in text
    assert ", 1.0" not in text.partition(";")[0]


def test_steady_rounds_tell_even_where_times_drift() -> None:
    """The machine becomes half as fast, for both."""
    drifting = [10e-3, 14e-3, 20e-3]
    text = verdict(made({"llvm": drifting, "ort-int8": [1.2 * value for value in drifting]}))
    assert "1.20 times as fast as ONNX Runtime" in text


def test_without_our_code_the_fastest_is_compared_with_vta() -> None:
    assert verdict(made({"ort": [5e-3] * 3}, threads=2, vta={"host": {}})) == (
        "On 2 threads of AMD EPYC, ONNX Runtime 1.32.0 runs resnet (float32) in 5.00 ms "
        "(spread 0.0 %); VTA default at 100 MHz would take 10.0 ms, 2.00 times as long."
    )


def test_where_nobody_takes_part_vta_is_left() -> None:
    assert verdict(made({})) == "VTA default at 100 MHz would take 10.1 ms."


def test_what_the_host_takes_is_named_where_it_counts() -> None:
    assert "host" not in verdict(made(STEADY))
    text = verdict(made(STEADY, vta={"host": {"softmax": 8e-3}}))
    assert "would take 18.0 ms, 8.00 ms of it on a host as fast as this CPU, 1.84 times" in text


def test_a_machine_that_was_never_quiet_makes_a_doubtful_verdict() -> None:
    text = verdict(made(STEADY, busy=2))
    assert text.endswith(
        " Others disturbed 2 of 3 rounds: times are too long, and ratios doubtful."
    )


def test_wrong_results_are_part_of_the_verdict() -> None:
    wrong = FakeRival(
        "llvm", ours=True, exact=True, name="vtakit's LLVM code", results={"y": np.arange(4.0) + 1}
    )
    text = verdict(made(STEADY, rivals=(wrong, ort_int8)))
    assert text.endswith(" But the results of vtakit's LLVM code are not those of VTA.")
    assert "But" not in verdict(made(STEADY, rivals=(llvm, ort_int8), machine=facts()))
