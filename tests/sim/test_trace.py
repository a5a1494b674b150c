"""Recorded runs as timelines."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtakit.isa.config import PRESETS
from vtakit.isa.instructions import Finish, Gemm, Load, Memory, Store
from vtakit.isa.program import Program
from vtakit.isa.stream import encode_stream
from vtakit.sim.trace import Run, write_trace, write_traces

from .programs import RECORDED, machine

CONFIG = PRESETS["default"]


def read(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["traceEvents"]


def tracks(events: list[dict[str, Any]]) -> dict[int, str]:
    """Return the name of each track."""
    return {
        event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"
    }


@pytest.mark.parametrize("path", RECORDED[::4], ids=lambda path: path.stem)
def test_each_instruction_is_a_slice_of_its_units_tracks(path: Path, tmp_path: Path) -> None:
    recorded = Program.load(path)
    vta = machine(recorded.config, recorded.dram_before)
    result = vta.run(recorded.insns, record=True)
    assert result.starts is not None
    assert result.ends is not None
    write_trace(tmp_path / "t.json", recorded.insns, result, recorded.config)
    events = read(tmp_path / "t.json")
    slices = [event for event in events if event["ph"] == "X" and event["name"] != "wait"]
    found = {event["args"]["instruction"]: (event["ts"], event["dur"]) for event in slices}
    assert len(slices) == len(found) == len(recorded.insns)
    pairs = zip(result.starts.tolist(), (result.ends - result.starts).tolist(), strict=True)
    assert [found[i] for i in range(len(found))] == list(pairs)
    names = tracks(events)
    for event in slices:
        kind = event["args"]["text"].split()[:2]
        unit = {"STORE": "store"}.get(kind[0], "compute")
        if kind[0] == "LOAD" and kind[1] in ("INP", "WGT"):
            unit = "load"
        assert names[event["tid"]].split()[0] == unit
        assert event["name"].split() == kind[: len(event["name"].split())]


@pytest.mark.parametrize("path", RECORDED[::4], ids=lambda path: path.stem)
def test_slices_of_a_track_do_not_overlap_and_arrows_go_forward(path: Path, tmp_path: Path) -> None:
    recorded = Program.load(path)
    vta = machine(recorded.config, recorded.dram_before)
    result = vta.run(recorded.insns, record=True)
    write_trace(tmp_path / "t.json", recorded.insns, result, recorded.config)
    events = read(tmp_path / "t.json")
    spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            assert event["dur"] > 0
            spans[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for track in spans.values():
        track.sort()
        assert all(end <= start for (_, end), (start, _) in zip(track, track[1:], strict=False))
    begins = {event["id"]: event for event in events if event["ph"] == "s"}
    arrows = [event for event in events if event["ph"] == "f"]
    assert all(begins[event["id"]]["ts"] < event["ts"] for event in arrows)
    left = sum(vta.tokens.values())
    assert len(begins) == len(arrows) + left
    for event in (*begins.values(), *arrows):
        assert any(start <= event["ts"] < end for start, end in spans[event["tid"]])


def test_a_unit_that_waits_for_a_token_shows_it(tmp_path: Path) -> None:
    vta = machine(CONFIG, np.zeros(1 << 16, np.uint8))
    load = Load(memory=Memory.INP, dram_base=1 << 8, y_size=1, x_size=99, push_next=True)
    insns = encode_stream([load, Gemm(pop_prev=True), Finish()], CONFIG)
    result = vta.run(insns, record=True)
    assert result.starts is not None
    write_trace(tmp_path / "t.json", insns, result, CONFIG)
    events = read(tmp_path / "t.json")
    [wait] = [event for event in events if event["name"] == "wait"]
    assert wait["args"] == {"token": "load->compute"}
    assert tracks(events)[wait["tid"]] == "compute"
    assert (wait["ts"], wait["ts"] + wait["dur"]) == (0, result.starts[1])


def test_runs_follow_each_other_and_pass_tokens_on(tmp_path: Path) -> None:
    vta = machine(CONFIG, np.zeros(1 << 16, np.uint8))
    one = encode_stream([Store(push_prev=True), Finish()], CONFIG)
    two = encode_stream([Gemm(pop_next=True), Gemm(), Finish()], CONFIG)
    first, second = vta.run(one, record=True), vta.run(two, record=True)
    assert first.cycles is not None
    assert second.cycles is not None
    assert second.starts is not None
    runs = [Run(one, first, [("a", 0)]), Run(two, second, [("b", 0), ("c", 1)])]
    write_traces(tmp_path / "t.json", runs, CONFIG)
    events = read(tmp_path / "t.json")
    [arrow] = [event for event in events if event["ph"] == "f"]
    assert arrow["ts"] == first.cycles + second.starts[0]
    layers = [event for event in events if tracks(events).get(event.get("tid", -1)) == "layers"]
    spans = {event["name"]: (event["ts"], event["dur"]) for event in layers if event["ph"] == "X"}
    assert list(spans) == ["a", "b", "c"]
    assert spans["a"] == (0, first.cycles)
    assert spans["b"][0] == first.cycles
    assert sum(duration for _, duration in spans.values()) == first.cycles + second.cycles


def test_a_run_that_was_not_recorded_is_refused_and_nothing_written(tmp_path: Path) -> None:
    vta = machine(CONFIG, np.zeros(0, np.uint8))
    insns = encode_stream([Finish()], CONFIG)
    good = Run(insns, vta.run(insns, record=True))
    for bad in (vta.run(insns), vta.run(insns, timing=False)):
        with pytest.raises(ValueError, match="run 1 has no starts and ends; run with timing=True"):
            write_traces(tmp_path / "t.json", [good, replace(good, result=bad)], CONFIG)
    assert not list(tmp_path.iterdir())
