"""Native programs kept in the user's cache, by what they were compiled from."""

import functools
import hashlib
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ...runtime.cache import cache_folder
from ...runtime.native import programfile
from ...runtime.native.errors import NativeError
from ...runtime.native.jit import Cpu, this_cpu
from ...runtime.native.program import NativeProgram
from ..graph import Graph

KEPT = 64
"""Programs that the cache holds; the ones not used for longest go first."""


def cached_native(graph: Graph, cpu: Cpu | None = None) -> NativeProgram:
    """Return a graph compiled for a CPU, from the user's cache where it was compiled before.

    What cannot be read there is compiled again, and where nothing can be written nothing is kept.
    """
    cpu = cpu or this_cpu()
    try:
        folder = cache_folder("native")
    except OSError:
        return _built(graph, cpu)
    path = folder / f"{_key(graph, cpu)}.zip"
    with suppress(NativeError):
        program = programfile.load(path)
        with suppress(OSError):
            path.touch()
        return program
    program = _built(graph, cpu)
    with suppress(NativeError):
        programfile.save(program, path)
    _trim(folder)
    return program


def _built(graph: Graph, cpu: Cpu) -> NativeProgram:
    from .build import build_native  # which loads LLVM

    return build_native(graph, cpu)


def _key(graph: Graph, cpu: Cpu) -> str:
    digest = hashlib.sha256(_compiler())
    digest.update(f"{cpu}\n{graph}".encode())
    for array in graph.constants.values():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@functools.cache
def _compiler() -> bytes:
    """Return a digest of all that decides what code a graph becomes."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256(version("llvmlite").encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def _trim(folder: Path) -> None:
    """Remove the programs that were not used for longest."""
    with suppress(OSError):
        programs = sorted(folder.glob("*.zip"), key=lambda path: path.stat().st_mtime)
        for path in programs[:-KEPT]:
            path.unlink(missing_ok=True)
