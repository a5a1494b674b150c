"""Programs for AArch64, linked by a cross compiler and run under qemu's user mode."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from vtakit.runtime.native.memory import view
from vtakit.runtime.native.program import NativeArray, NativeProgram

Array = NDArray[Any]

TOOLS = {
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "qemu-aarch64": "qemu-user",
}
"""Programs, and the packages of Debian that have them."""


def require_tools() -> None:
    """Skip a test where something is missing."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"AArch64 needs: apt install {' '.join(missing)}")


class Emulated:
    """A program for AArch64, linked once, run under qemu as often as wanted.

    Parameters
    ----------
    program : NativeProgram
    folder : Path
    """

    def __init__(self, program: NativeProgram, folder: Path) -> None:
        self.program = program
        code, main = folder / "network.o", Path(__file__).with_name("aarch64_main.c")
        code.write_bytes(program.code.object_code)
        self.constants = folder / "constants.bin"
        self.constants.write_bytes(program.constants)
        self.main = folder / "main"
        words = ["-static", "-O1", "-Wall", "-Werror", "-o", str(self.main)]
        subprocess.run(
            ["aarch64-linux-gnu-gcc", *words, str(main), str(code), "-lm", "-pthread"], check=True
        )

    def run(self, inputs: Mapping[str, Array], threads: int, cpu: str) -> dict[str, Array]:
        """Run the program on a CPU that qemu knows; return its outputs."""
        arena = np.full(max(self.program.arena_bytes, 1), 0xA5, np.uint8)
        for item in self.program.inputs:
            np.copyto(_view(arena, item), inputs[item.name])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "arena.bin"
            path.write_bytes(arena.tobytes())
            subprocess.run(
                ["qemu-aarch64", "-cpu", cpu, str(self.main)]
                + [str(path), str(self.constants), str(threads)],
                check=True,
                env={"PATH": os.environ["PATH"]},
            )
            arena = np.frombuffer(path.read_bytes(), np.uint8)
        return {item.name: _view(arena, item) for item in self.program.outputs}


def _view(arena: NDArray[np.uint8], item: NativeArray) -> Array:
    return view(arena, item.offset, np.dtype(item.dtype), item.shape)
