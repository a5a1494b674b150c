"""Runs Python code, or vtakit's command, in a process whose NVIDIA driver is a fake.

    python -m tests.runtime.cuda.fake_driver LIBRARY vtakit run MODEL.onnx --engine cuda
    python -m tests.runtime.cuda.fake_driver LIBRARY python "code"

`fake_driver.c` is the driver; kernels are computed by the interpreter of PTX.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[3]
ILLEGAL_ADDRESS = 700


def built(folder: Path) -> Path:
    """Compile the driver, with the system's C compiler, into a folder; return the library."""
    library = folder / "libcuda.so.1"
    source = Path(__file__).with_suffix(".c")
    words = [
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-Wl,-soname,{library.name}",
    ]
    subprocess.run(
        [os.environ.get("CC", "cc"), *words, "-o", str(library), str(source), "-ldl"], check=True
    )
    return library


def run(
    library: Path, *words: object, settings: Mapping[str, str] | None = None, check: bool = True
) -> "subprocess.CompletedProcess[str]":
    """Run `vtakit ...` or `python CODE` with the fake driver, whose GPU has these settings."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / ".root")])
    return subprocess.run(
        [sys.executable, "-m", "tests.runtime.cuda.fake_driver", str(library), *map(str, words)],
        env={
            **os.environ,
            "PYTHONPATH": paths,
            **{f"FAKE_CUDA_{k}": v for k, v in (settings or {}).items()},
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=check,
    )


def install(path: str) -> None:
    """Load the driver before anyone looks for one, and compute what is launched."""
    from tests.compiler.cuda.ptx_memory import Memory
    from tests.compiler.cuda.ptx_module import Kernel, kernels
    from tests.compiler.cuda.ptx_threads import Threads

    library = ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
    library.fake_pool.restype = ctypes.POINTER(ctypes.c_uint8)
    library.fake_first.restype = ctypes.c_uint64
    first = library.fake_first()
    pool = np.ctypeslib.as_array(library.fake_pool(), (1 << 30,))
    known: dict[bytes, dict[str, Kernel]] = {}
    random = np.random.default_rng(0)

    def compute(ptx: bytes, name: bytes, blocks: int, threads: int, values: Any, count: int) -> int:
        begins, sizes = ((ctypes.c_uint64 * 4096)() for _ in range(2))
        many = library.fake_blocks(begins, sizes)
        memory = Memory()
        memory.bytes = pool
        memory.allocated = dict(sorted((begins[i] - first, sizes[i]) for i in range(many)))
        kernel = known.setdefault(ptx, kernels(ptx.decode()))[name.decode()]
        places = [values[i] - first for i in range(count)]
        try:
            Threads(kernel, blocks, threads, places, memory, int(random.integers(1 << 30))).run()
        except AssertionError as error:
            print(f"GPU: {error}", file=sys.stderr)
            return ILLEGAL_ADDRESS
        return 0

    kind = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint,
        ctypes.POINTER(ctypes.c_uint64), ctypes.c_int,
    )  # fmt: skip
    install.callback = kind(compute)  # type: ignore[attr-defined]  # which must live on
    library.fake_compute(install.callback)  # type: ignore[attr-defined]


def main() -> None:
    """Do what the command line says."""
    path, what, *words = sys.argv[1:]
    install(path)
    if what == "python":
        exec(compile(words[0], "code", "exec"), {"__name__": "__main__"})
        return
    from vtakit.cli.main import main as command

    sys.argv = ["vtakit", *words]
    command()


if __name__ == "__main__":
    main()
