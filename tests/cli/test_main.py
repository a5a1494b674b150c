"""cli.main: subcommands, and how errors end a command."""

import json
import os
import re
import signal
import subprocess
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from vtakit.cli import main as cli
from vtakit.cli.main import BAD_INPUT, BUG, INTERRUPTED, READER_LEFT, SUBCOMMANDS
from vtakit.isa.config import ConfigError
from vtakit.isa.registers import ErrorCode
from vtakit.sim.errors import DeadlockError

from .conftest import ROOT, heed_interrupts

NAMES = [row.name for row in SUBCOMMANDS]


def test_help_lists_every_subcommand(vtakit: Any) -> None:
    for words in ((), ("--help",), ("-h",)):
        ran = vtakit(*words)
        assert ran.status == 0
        for name in NAMES:
            assert re.search(rf"^\W*{name}\b", ran.out, re.MULTILINE), name


@pytest.mark.parametrize("name", NAMES)
def test_every_subcommand_has_help_with_an_example(vtakit: Any, name: str) -> None:
    ran = vtakit(name, "--help")
    assert ran.status == 0
    assert "--json" in ran.out
    assert "Example:" in ran.out


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("run", "compare")])
def test_the_example_of_a_help_works(name: str, shell: dict[str, str]) -> None:
    Path("examples").symlink_to(ROOT / "examples")
    function = getattr(import_module(f"vtakit.cli.{name}"), name)
    (example,) = re.findall(r"Example: (.*)", function.__doc__)
    subprocess.run(["sh", "-ec", example], env=shell, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("repaly",), "vtakit: 'repaly' is no subcommand; did you mean 'replay'?"),
        (("--quiet",), "vtakit: No such option: --quiet"),
        (("doctor", "--jason"), "vtakit doctor: No such option: --jason"),
        (("doctor", "extra"), "vtakit doctor: Got unexpected extra argument"),
        (("disasm",), "vtakit disasm: Missing argument 'PROGRAM.npz'"),
        (("replay", "x.npz", "--memory-latency", "-1"), "vtakit replay: Invalid value for '--mem"),
    ],
)
def test_a_wrong_command_line_is_one_line(vtakit: Any, words: list[str], message: str) -> None:
    ran = vtakit(*words)
    assert ran.status == BAD_INPUT
    assert ran.out == ""
    assert ran.err.startswith(message)
    assert ran.err.count("\n") == 1


def _fail(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def doctor() -> None:
        raise error

    monkeypatch.setattr("vtakit.cli.doctor.doctor", doctor)


ERRORS: dict[str, tuple[BaseException, int, str]] = {
    "a layer's": (ConfigError("batch is 3"), BAD_INPUT, "vtakit doctor: batch is 3\n"),
    "with line breaks": (
        DeadlockError("a\n  b", code=ErrorCode.DEADLOCK),
        BAD_INPUT,
        "vtakit doctor: a b\n",
    ),
    "a file's": (
        PermissionError(13, "Permission denied", "out.npz"),
        BAD_INPUT,
        "vtakit doctor: out.npz: Permission denied\n",
    ),
    "a missing package's": (
        ModuleNotFoundError("No module named 'onnx'", name="onnx"),
        BAD_INPUT,
        "vtakit doctor: needs the Python package onnx; vtakit doctor says how to get it\n",
    ),
    "memory": (MemoryError(), BAD_INPUT, "vtakit doctor: this machine has too little memory"),
    "interrupt": (KeyboardInterrupt(), INTERRUPTED, "vtakit doctor: interrupted\n"),
    "closed pipe": (BrokenPipeError(32, "Broken pipe"), READER_LEFT, ""),
    "a bug": (
        KeyError("x"),
        BUG,
        "vtakit doctor: this is a bug of vtakit's: KeyError: 'x' (cli/test_main.py:",
    ),
}


@pytest.mark.parametrize(("error", "status", "message"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_one_line_and_a_status(
    vtakit: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    message: str,
) -> None:
    monkeypatch.delenv(cli.DEBUG_VARIABLE, raising=False)
    monkeypatch.setattr(cli.os, "dup2", lambda *_: None)  # the test's own output stays open
    monkeypatch.setattr("sys.stdout.fileno", lambda: 1)
    _fail(monkeypatch, error)
    ran = vtakit("doctor")
    assert ran.status == status
    assert ran.err.startswith(message)
    assert ran.err.count("\n") == bool(message)


def test_a_traceback_shows_when_asked_for(vtakit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "1")
    _fail(monkeypatch, KeyError("x"))
    ran = vtakit("doctor")
    assert ran.status == BUG
    assert ran.err.startswith("Traceback")
    assert "raise error" in ran.err


def test_a_reader_that_leaves_is_no_error(shell: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "long.s").write_text("FINISH\n" * 20000)
    subprocess.run(["vtakit", "asm", "long.s"], env=shell, check=True, capture_output=True)
    ran = subprocess.run(
        ["sh", "-c", "{ vtakit disasm long.npz; echo $? >&2; } | head -n 1"],
        env=shell,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == ".config default\n"
    assert ran.stderr == f"{READER_LEFT}\n"


def test_an_interrupt_is_one_line(shell: dict[str, str]) -> None:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        ["vtakit", "asm", "-", "-o", "x.npz"],
        env=shell,
        stdin=reading,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    os.write(writing, b"FINISH\n")
    deadline = time.monotonic() + 30
    while not _waits_for_input(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    os.close(reading)
    os.close(writing)
    assert process.returncode == INTERRUPTED
    assert err == "vtakit asm: interrupted\n"
    assert not Path("x.npz").exists()


def _waits_for_input(pid: int) -> bool:
    channel = Path(f"/proc/{pid}/wchan")
    if not channel.exists():
        pytest.skip("needs /proc, to know when the command waits")
    return "pipe" in channel.read_text()


def test_json_is_one_document_on_standard_output(vtakit: Any) -> None:
    ran = vtakit("doctor", "--json")
    assert ran.status == 0
    assert json.loads(ran.out)["engines"][0]["name"] == "sim"
