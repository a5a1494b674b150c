"""`--engine rtl`: the hardware behind the commands, with the simulator's results and cycles."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from vtakit.isa.program import Program

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
RECORDED = sorted((ROOT / "tests" / "data" / "conformance").glob("tiny*.npz"))


def test_recorded_programs_replay_as_on_the_simulator(vtakit: Any, tmp_path: Path) -> None:
    reports = []
    for engine in ("sim", "rtl"):
        ran = vtakit("replay", *RECORDED, "--engine", engine, "--json", "--memory-latency", "9",
                     "--save", tmp_path / engine)  # fmt: skip
        assert ran.status == 0, ran.err
        reports.append(json.loads(ran.out))
    assert len(RECORDED) == 5
    for sim, rtl in zip(*(report["programs"] for report in reports), strict=True):
        assert rtl["match"]
        assert rtl["counters_match"]
        assert {**rtl, "seconds": 0} == {**sim, "seconds": 0}
    for path in RECORDED:
        saved = [Program.load(tmp_path / engine / path.name) for engine in ("sim", "rtl")]
        np.testing.assert_array_equal(saved[0].dram_after, saved[1].dram_after)
        assert saved[0].counters == saved[1].counters


def test_a_network_runs_as_on_the_simulator(vtakit: Any, tmp_path: Path) -> None:
    reports = []
    for engine in ("sim", "rtl"):
        options = ("--config", "tiny", "--tries", 1, "--save", tmp_path / f"{engine}.npz")
        ran = vtakit("run", DIGITS, "--engine", engine, "--json", *options)
        assert ran.status == 0, ran.err
        reports.append(json.loads(ran.out))
    sim, rtl = reports
    assert rtl["cycles"] == sim["cycles"] > 0
    assert rtl["engine"] == "rtl"
    assert [layer.get("cycles") for layer in rtl["layers"]] == [
        layer.get("cycles") for layer in sim["layers"]
    ]
    with np.load(tmp_path / "sim.npz") as expected, np.load(tmp_path / "rtl.npz") as found:
        for name in expected.files:
            np.testing.assert_array_equal(found[name], expected[name])


def test_a_waveform_is_written(vtakit: Any, tmp_path: Path) -> None:
    wave = tmp_path / "w.vcd"
    ran = vtakit("replay", RECORDED[1], "--engine", "rtl", "--wave", wave, "--seed", 3)
    assert ran.status == 0, ran.err
    text = wave.read_text()
    assert "$enddefinitions" in text
    assert "trace_start" in text


def test_what_goes_wrong_is_one_line(refused: Any, tmp_path: Path) -> None:
    wave = tmp_path / "none" / "w.vcd"
    line = refused("replay", RECORDED[1], "--engine", "rtl", "--wave", wave)
    assert str(wave) in line
