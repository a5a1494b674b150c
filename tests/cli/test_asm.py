"""cli.asm and cli.disasm: text to a program file and back."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from vtakit.isa.config import PRESETS
from vtakit.isa.manual import tables
from vtakit.isa.program import Program

TEXT = '.note "n"\nLOAD UOP dram_base=@k x_size=1 y_size=1\nFINISH\n.dram 0x1000\nk: UOP dst=1\n'


def test_text_and_program_turn_into_each_other(vtakit: Any, tmp_path: Path) -> None:
    source, again = tmp_path / "a.s", tmp_path / "b.s"
    source.write_text(TEXT)
    ran = vtakit("asm", source)
    assert ran.status == 0
    assert ran.out == f"{tmp_path / 'a.npz'}: 2 instructions, 4100 bytes of DRAM\n"
    assert vtakit("disasm", tmp_path / "a.npz", "-o", again).out == ""
    assert vtakit("disasm", tmp_path / "a.npz").out == again.read_text()
    vtakit("asm", again, "-o", tmp_path / "c.npz")
    assert Program.load(tmp_path / "c.npz") == Program.load(tmp_path / "a.npz")


def test_json_tells_what_was_made(vtakit: Any, tmp_path: Path) -> None:
    (tmp_path / "a.s").write_text(TEXT)
    made = json.loads(vtakit("asm", tmp_path / "a.s", "--config", "small", "--json").out)
    assert made["program"] == str(tmp_path / "a.npz")
    assert made["config"] == PRESETS["small"].to_json()
    assert (made["instructions"], made["dram_bytes"]) == (2, 0x1004)
    shown = json.loads(vtakit("disasm", tmp_path / "a.npz", "--json").out)
    assert shown["instructions"] == ["LOAD UOP dram_base=0x400 y_size=1 x_size=1", "FINISH"]
    assert shown["note"] == "n"
    assert "UOP dst=1" in shown["text"]


def test_text_may_come_from_standard_input(
    vtakit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("FINISH\nFOO\n"))
    ran = vtakit("asm", "-", "-o", tmp_path / "a.npz")
    assert ran.status == 2
    assert ran.err.startswith("vtakit asm: standard input:2:1: 'FOO' is no instruction")
    monkeypatch.setattr("sys.stdin", io.StringIO("FINISH\n"))
    assert vtakit("asm", "-", "-o", tmp_path / "a.npz").status == 0
    assert len(Program.load(tmp_path / "a.npz").insns) == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_the_manual_is_that_of_the_machine(vtakit: Any, preset: str) -> None:
    text = vtakit("asm", "--manual", "--config", preset).out
    assert text.endswith(tables(PRESETS[preset]))
    assert json.loads(vtakit("asm", "--manual", "--config", preset, "--json").out)["manual"] == text


def test_bad_input_is_one_line(vtakit: Any, tmp_path: Path) -> None:
    source = tmp_path / "a.s"
    source.write_text("LOAD IMP")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "text.npz").write_text("FINISH")
    cases = {
        ("asm", source): f"{source}:1:6: LOAD has no field 'IMP'; did you mean 'INP'?",
        ("asm",): "needs a FILE of program text, or - for standard input",
        ("asm", "-"): "needs -o PROGRAM.npz, since standard input has no name",
        ("asm", tmp_path / "no.s"): f"{tmp_path / 'no.s'}: No such file or directory",
        ("asm", tmp_path / "binary"): f"{tmp_path / 'binary'} is no text; `vtakit disasm` makes",
        ("asm", tmp_path / "text.npz"): "would write over its own input",
        ("asm", source, "--config", "tny"): "'tny' is neither a preset (default, tiny,",
        ("disasm", source): f"{source}: is no .npz file, or one that was cut short",
        ("disasm", tmp_path / "no.npz"): f"{tmp_path / 'no.npz'}: cannot be read: No such file",
    }
    for words, message in cases.items():
        ran = vtakit(*words)
        assert ran.status == 2, words
        assert ran.err.startswith(f"vtakit {words[0]}: {message}"), ran.err
        assert ran.err.count("\n") == 1
        assert ran.out == ""
    assert not (tmp_path / "a.npz").exists()


def test_a_target_that_cannot_be_written_is_named(vtakit: Any, tmp_path: Path) -> None:
    (tmp_path / "a.s").write_text("FINISH")
    target = tmp_path / "missing" / "a.npz"
    ran = vtakit("asm", tmp_path / "a.s", "-o", target)
    assert (ran.status, ran.err) == (2, f"vtakit asm: {target}: No such file or directory\n")
