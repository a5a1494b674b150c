"""NVIDIA's assembler: from PTX to the code of a GPU."""

import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Assembled:
    """What a kernel takes of a GPU: registers and bytes of each thread, bytes of a block."""

    registers: int
    spilled_bytes: int
    shared_bytes: int


def ptxas() -> Path:
    """Return the assembler, from PyPI; skip the test where it is not installed."""
    try:
        found = [file for file in files("nvidia-cuda-nvcc") or [] if file.name == "ptxas"]
    except PackageNotFoundError:
        found = []
    if not found:
        pytest.skip("no ptxas: pip install nvidia-cuda-nvcc")
    return Path(str(found[0].locate()))


def assemble(ptx: str, architecture: str) -> dict[str, Assembled]:
    """Assemble PTX for a GPU such as sm_90; return what each kernel takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.ptx"
        path.write_text(ptx)
        words = [str(ptxas()), "-v", f"-arch={architecture}", "-o", f"{path}.cubin", str(path)]
        ran = subprocess.run(words, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
    found: dict[str, Assembled] = {}
    name, spilled = "", 0
    for line in ran.stderr.splitlines():
        if "Compiling entry function" in line:
            name = line.split("'")[1]
        elif "bytes spill stores" in line:
            spilled = int(line.split("bytes stack frame, ")[1].split()[0])
        elif "Used" in line:
            words = line.replace(",", "").split()
            shared = int(words[words.index("smem") - 2]) if "smem" in words else 0
            found[name] = Assembled(int(words[words.index("Used") + 1]), spilled, shared)
    return found
