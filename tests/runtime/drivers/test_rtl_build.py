"""The compiled hardware: made once, whole or not at all, and tools that are missing are named."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from vtakit.isa.config import PRESETS, Config
from vtakit.runtime.cache import cache_folder
from vtakit.runtime.drivers import rtl_build
from vtakit.runtime.drivers.device import DeviceError
from vtakit.runtime.drivers.rtl_build import LIBRARY, Waves, build, versions, waves_for

ROOT = Path(__file__).parents[3]
TINY = PRESETS["tiny"]
LEAST = Config(
    block_in=2,
    block_out=2,
    uop_buffer_bytes=64,
    inp_buffer_bytes=32,
    wgt_buffer_bytes=64,
    acc_buffer_bytes=128,
    bus_bits=32,
)
"""A machine that is compiled soon, for tests that compile one each time."""


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; what is in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vtakit" / "rtl"


def test_a_machine_is_compiled_once() -> None:
    said: list[str] = []
    first = build(TINY)
    assert build(TINY, say=said.append) == first
    assert first.name == LIBRARY
    assert not said


def test_what_it_depends_on_gives_another() -> None:
    others = [
        replace(TINY, bus_bits=128),
        replace(TINY, command_queue_depth=7),
        PRESETS["default"],
    ]
    tools = rtl_build._Tools.find()
    keys = {rtl_build._key(config, Waves.NONE, tools) for config in (TINY, *others)}
    keys.add(rtl_build._key(TINY, Waves.VCD, tools))
    assert len(keys) == 5


def test_versions_name_the_tools() -> None:
    for tool in ("amaranth", "verilator"):
        assert tool in versions()


@pytest.mark.parametrize("tool", ["CXX", "make"])
def test_a_missing_tool_is_named(
    tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    if tool == "CXX":
        monkeypatch.setenv("CXX", "no-such-compiler")
        message = "the rtl engine needs no-such-compiler, which is not on PATH: apt install g++"
    else:
        monkeypatch.setenv("CXX", sys.executable)
        monkeypatch.setenv("PATH", str(tmp_path))
        message = "the rtl engine needs make, which is not on PATH: apt install make"
    with pytest.raises(DeviceError, match=message):
        build(TINY)
    assert not own_cache.exists() or not list(own_cache.iterdir())


def test_a_tool_that_fails_is_quoted_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\necho 'broken: error: out of ink' >&2\nexit 3\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(DeviceError, match=r"Verilator failed \(status 2\): .*; all of it: .*log"):
        build(LEAST)
    assert {path.suffix for path in own_cache.iterdir()} == {".lock", ".log"}
    assert "out of ink" in (own_cache / "failed.log").read_text()


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DeviceError, match=r"cannot compile the hardware: .*file"):
        build(TINY)


def _build_least(folder: str) -> str:
    os.environ["XDG_CACHE_HOME"] = folder
    said: list[str] = []
    return f"{build(LEAST, say=said.append)} {len(said)}"


def test_processes_that_want_the_same_wait_for_one(own_cache: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.map(_build_least, [str(own_cache.parents[1])] * 3)
    paths, said = zip(*(line.rsplit(" ", 1) for line in found), strict=True)
    assert len(set(paths)) == 1
    assert sorted(said) == ["0", "0", "1"]
    assert Path(paths[0]).exists()


def test_one_that_is_killed_leaves_the_next_to_make_it(own_cache: Path) -> None:
    script = (
        "from tests.runtime.drivers.test_rtl_build import LEAST\n"
        "from vtakit.runtime.drivers.rtl_build import build\n"
        "build(LEAST, say=lambda line: print(line, flush=True))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests' / '.root'}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("compiling the hardware of 1x2x2, 32-bit bus")
    time.sleep(2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not list(own_cache.glob(f"*/{LIBRARY}"))
    assert build(LEAST).exists()
    assert not list(own_cache.glob("*.part"))


def test_waveforms_are_vcd_or_fst() -> None:
    assert waves_for(None) is Waves.NONE
    assert waves_for(Path("a.vcd")) is Waves.VCD
    assert waves_for(Path("a.fst")) is Waves.FST
    with pytest.raises(DeviceError, match=r"a waveform is FILE.fst or FILE.vcd, and a.txt is nei"):
        waves_for(Path("a.txt"))


def test_a_lock_is_one_file_in_the_folder(own_cache: Path) -> None:
    assert cache_folder("rtl") == own_cache
