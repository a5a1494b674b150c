"""cli.compare_table: bars, widths, and what a terminal shows."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from vtakit.cli import compare_table
from vtakit.cli.compare_table import (
    LEAST_NAME,
    MOST_BAR,
    bar,
    layer_table,
    print_comparison,
    remarks,
    standings_table,
    widths,
)
from vtakit.cli.rivals.contest import Missing

from .comparisons import facts, made

THREE = {"llvm": [9.8e-3] * 3, "ort": [19.6e-3] * 3, "ort-int8": [10.7e-3] * 3}


def shown(table: Table, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("share", "width", "text"),
    [
        (0.5, 4, "██  "),
        (0.001, 4, "▏   "),
        (1.0, 3, "███"),
        (0.0, 3, "   "),
        (0.3, 2, "▋ "),
        (9 / 16, 2, "█▏"),
        (0.7, 0, ""),
    ],
)
def test_a_bar_is_drawn_in_eighths(share: float, width: int, text: str) -> None:
    assert bar(share, width) == text


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 20))
def test_a_bar_fills_its_width_and_grows_with_the_share(
    one: float, other: float, width: int
) -> None:
    def eighths(text: str) -> int:
        return sum(compare_table.EIGHTHS.index(char) for char in text)

    first, second = bar(one, width), bar(other, width)
    assert len(first) == len(second) == width
    if one <= other:
        assert eighths(first) <= eighths(second)
    assert abs(eighths(first) - one * width * 8) <= 1


@given(st.integers(20, 300), st.integers(1, 60), st.integers(10, 80), st.integers(1, 5))
def test_names_and_bars_fit_where_anything_fits(
    width: int, longest: int, others: int, bars: int
) -> None:
    names, size = widths(width, longest, others, bars)
    assert names >= LEAST_NAME or names == longest
    assert 0 <= size <= MOST_BAR
    if others + max(LEAST_NAME, 1) <= width:
        assert names + others + bars * (size + bool(size)) <= width


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_table_fits_its_terminal_and_cuts_no_number(width: int) -> None:
    lines = shown(layer_table(made(THREE), width), width)
    assert all(len(line) <= width for line in lines)
    assert "1,000,600" in lines[-1]
    for number in ("10.126", "9.800", "19.600", "10.700", "1.09"):
        assert number in lines[-1].split()
    assert "…" not in "".join(lines)
    assert [line.split()[0] for line in lines[3:]] == ["conv1", "softmax", "fc", "other", "total"]
    assert [line.split() for line in lines[:2]] == [
        ["VTA", "LLVM", "ORT", "ORT"],
        ["100", "MHz", "int8", "int8", "float32"],
    ]


def test_the_longest_time_of_a_row_has_a_full_bar() -> None:
    lines = shown(layer_table(made(THREE), 200), 200)
    full = "█" * MOST_BAR
    for line in lines[3:]:
        assert line.count(full) >= 1
    total = lines[-1].split()
    assert total[2:4] == ["10.126", "█████▏"]
    assert total[8:10] == ["19.600", full]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_two_arithmetics_have_a_ratio_each(width: int) -> None:
    lines = shown(layer_table(made({**THREE, "llvm-float32": [14e-3] * 3}), width), width)
    assert all(len(line) <= width for line in lines)
    assert "…" not in "".join(lines)
    assert lines[0].split() == ["VTA", "LLVM", "ORT", "LLVM", "ORT"]
    heads = ["int8", "int8", "float32", "float32", "ratio", "ratio"]
    assert lines[1].split() == ["100", "MHz", *heads]
    assert lines[2].split() == ["layer", "cycles", *["ms"] * 5, "int8", "float32"]
    assert lines[-1].split()[-2:] == ["1.09", "1.40"]


def test_who_has_no_opponent_has_no_ratio() -> None:
    lines = shown(layer_table(made({"llvm": [1e-3] * 3}), 80), 80)
    assert lines[2].split() == ["layer", "cycles", "ms", "ms", "ratio"]
    assert lines[-1].split()[-2:][0] == "1.000"


def test_a_narrow_terminal_has_numbers_without_bars() -> None:
    lines = shown(layer_table(made(THREE), 58), 58)
    assert all(len(line) <= 58 for line in lines)
    assert "█" not in "".join(lines)
    assert "19.600" in lines[-1].split()


def test_short_networks_are_shown_in_microseconds() -> None:
    lines = shown(layer_table(made({"ort": [13.66e-6] * 3}), 80), 80)
    assert lines[2].split() == ["layer", "cycles", "µs", "µs", "ratio"]
    assert "13.7" in lines[-1].split()


def test_a_layer_on_the_host_has_no_cycles() -> None:
    (softmax,) = (line for line in shown(layer_table(made(THREE), 80), 80) if "softmax" in line)
    assert softmax.split()[1:4] == ["on", "host", "0.100"]


def test_standings_have_spread_and_how_near_results_are() -> None:
    lines = shown(standings_table(made(THREE)), 60)
    assert lines[0].split() == ["total", "median", "least", "spread", "relative", "cosine"]
    words = [" ".join(line.split()) for line in lines]
    assert words[3] == "ORT float32 19.6 ms 19.6 ms 0.0 % 2.00 1.00000"
    assert words[-1] == "VTA int8 10.1 ms 1.03"
    assert all(len(line) <= 60 for line in lines)
    assert "…" not in "".join(lines)


def test_remarks_say_how_it_was_measured() -> None:
    missing = [Missing("CUDA", "no NVIDIA GPU")]
    found = made(THREE, missing=missing, rejected=4, busy=1)
    text = "\n".join(f"{label}: {text}" for label, text in remarks(found))
    assert text == (
        "CPU: AMD EPYC; 1 thread pinned to CPU 0, of 2; load average before 0.25\n"
        "measured: 3 rounds in which all take turns, warm; 4 more, in which others disturbed, "
        "do not count; others disturbed 1 of those that count\n"
        "VTA: default at 100 MHz, the clock of the original's first board (PYNQ-Z1); cycles from "
        "the cycle model; 120 µs on its host, in native code on this CPU: layers that VTA has "
        "not, and copies between layouts\n"
        "LLVM int8: vtakit's LLVM code; setting of llvm; each sample the mean of 7 inferences\n"
        "ORT int8: ONNX Runtime 1.32.0; setting of ort-int8; each sample the mean of 7 inferences\n"
        "ORT float32: ONNX Runtime 1.32.0; setting of ort; each sample the mean of 7 inferences\n"
        "by layer: from separate runs with a profile, scaled to add up to the median; "
        "that of ONNX Runtime counts whole µs\n"
        "without: CUDA: no NVIDIA GPU"
    )


def test_remarks_say_what_the_machine_cannot() -> None:
    one = dict(remarks(made(THREE, machine=facts(cpus=(), watched=False, load_average=None))))
    assert one["CPU"] == "AMD EPYC; 1 thread, which this system cannot pin, of 2"
    assert "does not say when others take a CPU" in one["measured"]
    assert dict(remarks(made(THREE, clock_mhz=150)))["VTA"].startswith("default at 150 MHz; cycles")
    two = dict(remarks(made(THREE, threads=2, machine=facts(cpus=(0, 1), shared_cores=True))))
    assert two["CPU"].startswith("AMD EPYC; 2 threads pinned to CPUs 0, 1, of 2; some share a core")


def test_all_of_it_is_printed_and_the_verdict_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_comparison(made({**THREE, "llvm": [9e-3, 9.8e-3, 11e-3]}, threads=2, busy=1))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("On 2 threads of AMD EPYC, vtakit's LLVM code runs resnet")
    assert lines[-1].endswith("ratios doubtful.")
    assert len(lines[-1]) > 200
    assert any(
        "share of the row's longest time; ratio: time of ORT int8 over that of LLVM" in line
        for line in lines
    )


def test_an_output_without_such_characters_has_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(out, "ascii", write_through=True))
    print_comparison(made({"ort": [13.66e-6] * 3}, machine=facts(cpu="Ω 3")))
    text = out.getvalue().decode("ascii")
    assert "13.7 us" in text
    assert "##########" in text
    assert "On one thread of ? 3, " in text


def test_nobody_may_take_part(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(made({}, missing=[Missing("ONNX Runtime", "not installed")]))
    out = capsys.readouterr().out
    assert "without  ONNX Runtime: not installed" in out
    assert "rounds" not in out
    assert out.splitlines()[-1] == "VTA default at 100 MHz would take 10.1 ms."
