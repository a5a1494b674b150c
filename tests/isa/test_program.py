"""isa.program: program files out and in, and what is refused."""

import contextlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.program import Program, ProgramFileError
from vtakit.isa.source import assemble

RECORDED = sorted((Path(__file__).parents[1] / "data" / "conformance").glob("*.npz"))

TEXT = """
.config tiny
.note "two instructions"
.tags ["a", "b"]
.info {"most": 3}
.counters {"uop_load_nbytes": 4}
LOAD UOP dram_base=@uops x_size=1 y_size=1
FINISH
.dram 0x1000
uops: UOP dst=1
.expect 0x1000
.hex ff
"""


def _entries(**changes: Any) -> dict[str, Any]:
    entries = {
        "config": json.dumps(Config().to_vta_json()),
        "insns": np.zeros((2, 16), np.uint8),
        "dram_before": np.zeros(64, np.uint8),
        **changes,
    }
    return {name: entry for name, entry in entries.items() if entry is not None}


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_a_program_survives_its_file(tmp_path: Path, config: Config) -> None:
    whole = replace(assemble(TEXT), config=config)
    bare = Program(whole.config, whole.insns, whole.dram_before)
    for program in (whole, bare):
        program.save(tmp_path / "p.npz")
        assert Program.load(tmp_path / "p.npz") == program
    assert whole != bare


def test_a_config_beyond_the_originals_keys_survives_too(tmp_path: Path) -> None:
    config = replace(PRESETS["small"], bus_bits=128, token_queue_depth=7, acc_read_ports=2)
    program = replace(assemble(TEXT), config=config)
    program.save(tmp_path / "p.npz")
    assert Program.load(tmp_path / "p.npz").config == config


def test_a_plain_config_is_written_with_the_originals_keys(tmp_path: Path) -> None:
    assemble(TEXT).save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as archive:
        assert json.loads(str(archive["config"]))["LOG_BLOCK"] == 2


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_programs_load(path: Path) -> None:
    program = Program.load(path)
    assert program.note
    assert program.counters is not None
    assert program.dram_after is not None


def test_equality_looks_at_everything() -> None:
    program = assemble(TEXT)
    assert program == assemble(TEXT)
    assert program != "a program"
    other = program.dram_before.copy()
    other[0] = 1
    for changed in (
        replace(program, config=PRESETS["small"]),
        replace(program, insns=program.insns[:1]),
        replace(program, dram_before=other),
        replace(program, dram_after=other),
        replace(program, dram_after=None),
        replace(program, counters=None),
        replace(program, note="other"),
        replace(program, tags=()),
        replace(program, info={}),
    ):
        assert changed != program


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no insns": (
        {"insns": None},
        "has no 'insns' and is no program; of one's keys it has config, ",
    ),
    "no config": ({"config": None}, "has no 'config'"),
    "config no text": ({"config": np.zeros(3)}, "config is float64 (3,); it must be one string"),
    "config no JSON": ({"config": "{"}, "config is not JSON"),
    "config no object": ({"config": "[]"}, "config is []; it must be a JSON object"),
    "impossible config": ({"config": '{"batch": 3}'}, "config: batch is 3; it must be a power of"),
    "unknown key": ({"config": '{"LOG_BLOK": 4}'}, "did you mean 'LOG_BLOCK'?"),
    "wide insns": ({"insns": np.zeros((2, 16), np.uint32)}, "insns is uint32 (2, 16); it must be"),
    "flat insns": (
        {"insns": np.zeros(32, np.uint8)},
        "insns is uint8 (32,); it must be uint8 with",
    ),
    "short insns": ({"insns": np.zeros((4, 8), np.uint8)}, "insns is uint8 (4, 8); an instruction"),
    "DRAM of words": (
        {"dram_before": np.zeros(4, "<u4")},
        "dram_before is uint32 (4,); it must be",
    ),
    "other size": (
        {"dram_after": np.zeros(32, np.uint8)},
        "dram_after has 32 bytes and dram_before 64; they must be the same piece of memory",
    ),
    "counters no number": (
        {"counters": '{"gemm_counter": "1"}'},
        "gemm_counter is '1'; it must be",
    ),
    "counters a list": ({"counters": "[1]"}, "counters is [1]; it must be a JSON object"),
    "tags a word": ({"tags": '"x"'}, "tags is 'x'; it must be a JSON list"),
    "pickled": ({"insns": np.array([None])}, "'insns' in it is damaged (Object arrays cannot be"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_contents_that_make_no_program_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "p.npz"
    np.savez(path, **_entries(**changes))
    with pytest.raises(ProgramFileError) as caught:
        Program.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_files_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    with pytest.raises(ProgramFileError, match="cannot be read: No such file"):
        Program.load(path)
    with pytest.raises(ProgramFileError, match="cannot be read: Is a directory"):
        Program.load(tmp_path)
    for contents in (b"", b"text", b"PK\x03\x04"):
        path.write_bytes(contents)
        with pytest.raises(ProgramFileError, match="is no .npz file, or one that was cut short"):
            Program.load(path)
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ProgramFileError, match="is no .npz file"):
        Program.load(tmp_path / "array.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ProgramFileError, match="of one's keys it has none"):
        Program.load(path)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_never_a_crash(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "p.npz"
    program = assemble(TEXT)
    program.save(path)
    contents = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(contents[: data.draw(st.integers(0, len(contents)))])
    with contextlib.suppress(ProgramFileError):
        Program.load(path)


def test_saving_leaves_the_old_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.npz"
    program = assemble(TEXT)
    program.save(path)

    def fail(stream: Any, **arrays: Any) -> None:
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(KeyboardInterrupt):
        replace(program, note="new").save(path)
    monkeypatch.undo()
    assert Program.load(path) == program
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError) as caught:
        program.save(tmp_path / "missing" / "p.npz")
    assert caught.value.filename == str(tmp_path / "missing" / "p.npz")
