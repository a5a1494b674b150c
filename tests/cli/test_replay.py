"""cli.replay: recorded programs on the simulator's engines."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtakit.isa import source
from vtakit.isa.program import COUNTERS, Program
from vtakit.isa.source import assemble

RECORDED = sorted((Path(__file__).parents[1] / "data" / "conformance").glob("*.npz"))
ENGINES = pytest.mark.parametrize("engine", ["sim", "functional"])

ADD = """
.config tiny
LOAD UOP dram_base=@kernel y_size=1 x_size=1 x_stride=1
LOAD ACC dram_base=@x y_size=1 x_size=1 x_stride=1
ALU ADD uop_end=1 iter_out=1 iter_in=1 use_imm imm=1 push_next
STORE OUT dram_base=@y y_size=1 x_size=1 x_stride=1 pop_prev push_prev
FINISH pop_next
.dram 0x1000
kernel: UOP
.align 16
x: .int32 1 2 3 -4
y: .fill 4
.expect @y
.int8 2 3 4 -3
"""
COUNTED = {name: 0 for name in COUNTERS} | {
    "acc_load_nbytes": 16,
    "uop_load_nbytes": 4,
    "out_store_nbytes": 4,
    "alu_counter": 1,
}


@pytest.fixture
def add(tmp_path: Path) -> Path:
    """A program file whose results and counters are recorded."""
    path = tmp_path / "add.npz"
    replace(assemble(ADD), counters=COUNTED).save(path)
    return path


def rows(ran: Any) -> list[dict[str, Any]]:
    return json.loads(ran.out)["programs"]


@ENGINES
def test_every_recorded_program_gives_its_results(vtakit: Any, engine: str) -> None:
    ran = vtakit("replay", *RECORDED, "--engine", engine, "--json")
    assert ran.status == 0, ran.err
    found = rows(ran)
    assert [row["name"] for row in found] == [path.stem for path in RECORDED]
    for row in found:
        assert row["match"] is True, row
        assert row["counters_match"] is True, row
        assert row["error"] is None
        assert (row["cycles"] is None) == (engine == "functional")


@ENGINES
def test_a_program_that_records_nothing_matches_nothing(
    vtakit: Any, add: Path, engine: str
) -> None:
    replace(Program.load(add), dram_after=None, counters=None).save(add)
    ran = vtakit("replay", add, "--engine", engine, "--json")
    assert ran.status == 0
    (row,) = rows(ran)
    assert row["match"] is None
    assert row["counters_match"] is None
    assert row["counters"].items() >= COUNTED.items()
    assert "not recorded" in vtakit("replay", add, "--engine", engine).out


@ENGINES
def test_a_difference_in_memory_is_shown_and_ends_with_1(
    vtakit: Any, add: Path, engine: str
) -> None:
    program = Program.load(add)
    assert program.dram_after is not None
    program.dram_after[0x1021:0x1023] = 9
    program.save(add)
    ran = vtakit("replay", add, "--engine", engine, "--json")
    assert ran.status == 1
    (row,) = rows(ran)
    assert row["match"] is False
    assert row["counters_match"] is True
    assert row["difference"] == {"address": 0x1021, "expected": 9, "found": 3, "bytes": 2}
    table = vtakit("replay", add, "--engine", engine)
    assert table.status == 1
    assert "differ: byte 0x1021 is 3, not 9 (2 bytes in all)" in table.out


def test_a_difference_in_counters_ends_with_1(vtakit: Any, add: Path) -> None:
    replace(Program.load(add), counters=COUNTED | {"alu_counter": 2}).save(add)
    ran = vtakit("replay", add, "--json")
    assert ran.status == 1
    assert rows(ran)[0]["counters_match"] is False


def test_timing_gives_first_and_last_cycle_of_each_instruction(vtakit: Any, add: Path) -> None:
    (row,) = rows(vtakit("replay", add, "--timing", "--json"))
    spans = row["instructions"]
    assert len(spans) == len(Program.load(add).insns)
    assert all(0 <= start < end <= row["cycles"] for start, end in spans)
    assert max(end for _, end in spans) == row["cycles"]
    store, alu = spans[3], spans[2]
    assert store[0] >= alu[1], "STORE pops the token that ALU pushes at its end"


def test_memory_latency_costs_cycles(vtakit: Any, add: Path) -> None:
    cycles = [
        rows(vtakit("replay", add, "--memory-latency", latency, "--json"))[0]["cycles"]
        for latency in (1, 50, 100)
    ]
    assert cycles[0] < cycles[1] < cycles[2]


@ENGINES
def test_save_writes_programs_with_what_they_left(
    vtakit: Any, add: Path, tmp_path: Path, engine: str
) -> None:
    program = Program.load(add)
    assert program.dram_after is not None
    replace(program, dram_after=None, counters=None).save(add)
    out = tmp_path / "new" / "folder"
    assert vtakit("replay", add, "--engine", engine, "--save", out).status == 0
    saved = Program.load(out / "add.npz")
    assert saved == program
    assert [path.name for path in out.iterdir()] == ["add.npz"]
    with np.load(out / "add.npz") as archive:
        np.testing.assert_array_equal(archive["dram_after"], program.dram_after)


def test_trace_writes_a_timeline(vtakit: Any, add: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    assert vtakit("replay", add, "--trace", path).status == 0
    assert json.loads(path.read_text())["traceEvents"]


def test_the_manuals_example_does_what_it_says(vtakit: Any, tmp_path: Path) -> None:
    text = source.__doc__ or ""
    (tmp_path / "a.s").write_text(text[text.index("    ;") : text.index("Instructions make")])
    assert vtakit("asm", tmp_path / "a.s").status == 0
    assert rows(vtakit("replay", tmp_path / "a.npz", "--json"))[0]["match"] is True


@ENGINES
def test_programs_beside_a_bad_one_run_and_the_status_is_2(
    vtakit: Any, add: Path, tmp_path: Path, engine: str
) -> None:
    short = tmp_path / "short.npz"
    short.write_bytes(add.read_bytes()[:200])
    stuck = tmp_path / "stuck.npz"
    assemble("FINISH pop_prev").save(stuck)
    unknown = tmp_path / "unknown.npz"
    assemble("WORD 7\nFINISH").save(unknown)
    paths = [short, stuck, unknown, add]
    ran = vtakit("replay", *paths, "--engine", engine, "--json")
    assert ran.status == 2
    lines = ran.err.splitlines()
    assert lines[0].startswith(f"vtakit replay: {short}: is no .npz file")
    assert lines[1].startswith(f"vtakit replay: {stuck}: ")
    assert "FINISH pop_prev" in lines[1]
    assert lines[2].startswith(f"vtakit replay: {unknown}: instruction 0: WORD 0x")
    assert "opcode is 7" in lines[2]
    found = rows(ran)
    assert [bool(row["error"]) for row in found] == [True, True, True, False]
    assert found[3]["match"] is True
    assert vtakit("replay", *paths, "--engine", engine).status == 2


def test_wrong_options_are_one_line(vtakit: Any, add: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin" / "add.npz"
    twin.parent.mkdir()
    Program.load(add).save(twin)
    cases = {
        ("--engine", "cpu"): "--engine 'cpu' does not exist; known are sim, functional, rtl",
        ("--wave", "t.vcd"): "--wave needs --engine rtl",
        ("--seed", 1): "--seed needs --engine rtl",
        ("--engine", "rtl", "--wave", "t.txt"): "a waveform is FILE.fst or FILE.vcd, and t.txt is",
        (twin, "--engine", "rtl", "--wave", "t.vcd"): "--wave shows one program and there are 2",
        ("--engine", "smi"): "--engine 'smi' does not exist; did you mean 'sim'?",
        ("--engine", "functional", "--timing"): "--timing needs --engine sim; functional has no",
        ("--engine", "functional", "--memory-latency", 3): "--memory-latency needs --engine sim",
        (twin, "--trace", "t.json"): "--trace shows one program and there are 2",
        (twin, "--save", tmp_path / "out"): f"--save would write add.npz twice, for {add} and for",
        ("--save", add): f"{add}: File exists",
    }
    for words, message in cases.items():
        ran = vtakit("replay", add, *words)
        assert ran.status == 2, words
        assert ran.err.startswith(f"vtakit replay: {message}"), ran.err
        assert ran.err.count("\n") == 1
