"""cli.compare_report: rows by layer, standings, and the JSON document."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtakit.cli.compare_report import Comparison, scaled
from vtakit.cli.rivals.contest import Missing
from vtakit.cli.rivals.figures import figure, ratio
from vtakit.isa.config import PRESETS

from .comparisons import OUTPUTS, llvm, made, ort

THREE = {
    "llvm": [9e-3, 10e-3, 11e-3],
    "ort": [20e-3, 20e-3, 24e-3],
    "ort-int8": [12e-3, 12e-3, 12e-3],
}


def test_layers_of_each_column_add_up_to_its_total() -> None:
    found = made(THREE)
    assert sum(row.cycles or 0 for row in found.rows) == found.vta.cycles
    assert sum(row.vta_seconds for row in found.rows) == pytest.approx(found.vta_seconds)
    for one in found.standings:
        assert sum(row.seconds[one.key] for row in found.rows) == pytest.approx(one.figure.median)


def test_a_layer_has_its_share_of_each_rivals_time() -> None:
    conv1, softmax, fc, rest = made(THREE).rows
    assert (conv1.name, conv1.op, conv1.device, conv1.macs) == ("conv1", "Conv", "vta", 2000)
    assert conv1.seconds == pytest.approx({"llvm": 6e-3, "ort": 10e-3, "ort-int8": 3e-3})
    assert fc.seconds == pytest.approx({"llvm": 2e-3, "ort": 10e-3, "ort-int8": 3e-3})
    assert softmax.seconds == pytest.approx({"llvm": 2e-3, "ort": 0, "ort-int8": 0})
    assert conv1.ratios == pytest.approx((0.5,))
    assert softmax.ratios == (None,), "fused into another layer there"
    assert (rest.name, rest.op, rest.ratios) == ("", "", (None,))
    assert rest.seconds == pytest.approx({"llvm": 0, "ort": 0, "ort-int8": 6e-3})


@pytest.mark.parametrize("clock_mhz", [50.0, 100.0, 437.5])
def test_time_on_vta_is_cycles_at_the_clock_and_the_hosts(clock_mhz: float) -> None:
    found = made(THREE, clock_mhz=clock_mhz)
    conv1, softmax, fc, rest = found.rows
    assert conv1.vta_seconds == pytest.approx(1 / clock_mhz)
    assert fc.vta_seconds == pytest.approx(500e-6 / clock_mhz)
    assert (softmax.cycles, softmax.vta_seconds) == (None, pytest.approx(1e-4))
    assert (rest.cycles, rest.vta_seconds) == (100, pytest.approx(100e-6 / clock_mhz + 2e-5))
    assert found.vta_seconds == pytest.approx(1000600e-6 / clock_mhz + 1.2e-4)


def keys(found: Comparison) -> list[tuple[str | None, str | None]]:
    """Return who is set against whom."""
    return [
        (one.subject and one.subject.key, one.opponent and one.opponent.key)
        for one in found.matches
    ]


def test_our_code_is_set_against_the_fastest_of_its_own_arithmetic() -> None:
    for ours, ort_float in ((9e-3, 20e-3), (30e-3, 1e-3)):
        samples = {**THREE, "llvm-float32": [ours] * 3, "ort": [ort_float] * 3}
        found = made(samples)
        assert keys(found) == [("llvm", "ort-int8"), ("llvm-float32", "ort")]
        assert [one.ratio for one in found.matches] == [
            ratio(samples["ort-int8"], samples["llvm"]),
            ratio(samples["ort"], samples["llvm-float32"]),
        ]
        assert found.reference is found.matches[0].subject


def test_those_of_one_arithmetic_stand_together_and_are_relative_to_ours() -> None:
    found = made({**THREE, "llvm-float32": [10e-3] * 3})
    relative = {one.key: one.relative.median for one in found.standings}
    assert list(relative) == ["llvm", "ort-int8", "llvm-float32", "ort"]
    assert list(relative.values()) == pytest.approx([1, 1.2, 1, 2])
    conv1, *_ = found.rows
    assert conv1.ratios == pytest.approx((3 / 6, 10 / (10 * 5 / 6)))
    found = made({"llvm": THREE["llvm"], "ort": THREE["ort"]})
    assert found.standings[1].relative.median == pytest.approx(2, 0.1), "there is no other of ours"


def test_without_anyone_of_its_arithmetic_our_code_has_no_opponent() -> None:
    found = made({"llvm": THREE["llvm"], "ort": THREE["ort"]})
    assert keys(found) == [("llvm", None)]
    assert found.matches[0].ratio is None
    assert all(row.ratios == (None,) for row in found.rows)
    found = made({"llvm": THREE["llvm"], "ort": [10e-3] * 3, "llvm-float32": [9e-3] * 3})
    assert keys(found) == [("llvm", None), ("llvm-float32", "ort")]


def test_without_our_code_ratios_are_those_of_vta() -> None:
    found = made({"ort": THREE["ort"]})
    assert keys(found) == [(None, "ort")]
    assert found.matches[0].ratio is None
    assert found.rows[0].ratios == pytest.approx((10e-3 / 10e-3,))
    assert found.rows[2].ratios == pytest.approx((10e-3 / 5e-6,))


def test_outputs_are_held_against_vta_bit_for_bit_and_against_the_model_as_given() -> None:
    found = made(THREE)
    assert found.differing == ()
    ours, quantized, given = found.standings
    assert ours.cosine == given.cosine == pytest.approx(1)
    assert quantized.cosine == pytest.approx(
        float(np.dot(np.arange(4), np.arange(1, 5)) / np.sqrt(14 * 30))
    )
    wrong = replace(llvm, results={"y": OUTPUTS["y"] + [0, 0, 0, 1]})
    found = made(THREE, rivals=(wrong, ort))
    assert found.differing == ("vtakit's LLVM code",)
    assert made({"llvm": [1.0]}).standings[0].cosine is None


def test_what_is_not_finite_is_no_number_in_json() -> None:
    broken = replace(ort, results={"y": np.array([np.nan] * 4)})
    found = made(THREE, rivals=(llvm, broken)).document()
    text = json.dumps(found, default=list, allow_nan=False)
    assert [one["cosine"] for one in json.loads(text)["rivals"]] == [None, None]


SECONDS = st.just(0.0) | st.floats(1e-9, 1e3)


@given(st.dictionaries(st.text(max_size=3), SECONDS, max_size=6), st.floats(1e-6, 10))
def test_scaled_layers_add_up_and_keep_their_proportions(
    layers: dict[str, float], total: float
) -> None:
    found = scaled(layers, total)
    assert sum(found.values()) == pytest.approx(total)
    if whole := sum(layers.values()):
        assert found == pytest.approx({name: v * total / whole for name, v in layers.items()})
    else:
        assert found == {"": total}


def test_the_document_has_everything_unrounded() -> None:
    missing = [Missing("CUDA", "no NVIDIA GPU")]
    found: Any = json.loads(json.dumps(made(THREE, missing=missing, rejected=2, busy=1).document()))
    assert set(found) == {
        "model", "config", "threads", "clock_mhz", "machine", "rounds", "vta", "rivals", "missing",
        "matches", "checked", "layers", "verdict",
    }  # fmt: skip
    assert found["model"] == "nets/resnet.onnx"
    assert found["config"] == PRESETS["default"].to_json()
    assert found["rounds"] == {"measured": 3, "again": 2, "disturbed": 1}
    assert set(found["machine"]) == {
        "cpu", "cpus", "of", "shared_cores", "watched", "load_average"
    }  # fmt: skip
    assert found["vta"]["cycles"] == 1_000_600
    assert found["vta"]["seconds"] == pytest.approx(
        found["vta"]["cycle_seconds"] + found["vta"]["host_seconds"]
    )
    first = found["rivals"][0]
    assert set(first) == {
        "key", "name", "arithmetic", "detail", "ours", "exact", "samples", "loops",
        "relative", "cosine", "seconds", "least", "spread",
    }  # fmt: skip
    expected = figure(THREE["llvm"])
    assert first["samples"] == THREE["llvm"]
    assert (first["seconds"], first["least"], first["spread"]) == (
        expected.median,
        expected.least,
        expected.spread,
    )
    assert found["missing"] == [{"title": "CUDA", "reason": "no NVIDIA GPU"}]
    (match,) = found["matches"]
    assert (match["subject"], match["opponent"]) == ("llvm", "ort-int8")
    assert set(match["ratio"]) == {"median", "least", "spread"}
    assert found["checked"] == {"against": "VTA", "equal": True, "differing": []}
    assert set(found["layers"][0]) == {
        "name", "op", "device", "macs", "cycles", "host_seconds", "vta_seconds", "seconds",
        "ratios",
    }  # fmt: skip
    assert found["verdict"].startswith("On one thread of AMD EPYC, ")


def test_nobody_may_take_part() -> None:
    found: Any = made({}).document()
    assert found["rivals"] == []
    assert found["matches"] == []
    assert found["rounds"]["measured"] == 0
