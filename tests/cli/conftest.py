"""The command as a function, and as a program beside a shell."""

import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from vtakit.cli.main import BAD_INPUT, main

ROOT = Path(__file__).parents[2]


class Ran(NamedTuple):
    """What a command line came to."""

    status: int
    out: str
    err: str


Vtakit = Callable[..., Ran]
Refused = Callable[..., str]


@pytest.fixture
def vtakit(capsys: pytest.CaptureFixture[str]) -> Vtakit:
    """Run the command in this process."""

    def run(*words: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Ran(left.value.code, out, err)

    return run


@pytest.fixture
def refused(vtakit: Vtakit) -> Refused:
    """Run a command that must end with 2; return the one line it prints, less the command."""

    def run(*words: object) -> str:
        ran = vtakit(*words)
        assert ran.status == BAD_INPUT, (ran.status, ran.err)
        assert ran.err.count("\n") == 1, ran.err
        name, _, line = ran.err.rstrip("\n").partition(": ")
        assert name == f"vtakit {words[0]}"
        return line

    return run


def heed_interrupts() -> None:
    """In a process that is started: it may have been told to ignore them, with all of pytest."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which a shell in `tmp_path` finds the program `vtakit`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "vtakit"
    script.write_text(
        f"#!/bin/sh\nexec '{sys.executable}' -c 'from vtakit.cli.main import main; main()' \"$@\"\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.chdir(tmp_path)
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "tests" / ".root"),
    }
