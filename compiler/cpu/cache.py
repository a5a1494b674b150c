"""Native programs kept in the user's cache, by what they were compiled from."""

from contextlib import suppress

from ...runtime.cache import cache_folder, trim
from ...runtime.native import programfile
from ...runtime.native.errors import NativeError
from ...runtime.native.jit import Cpu, this_cpu
from ...runtime.native.program import NativeProgram
from ..graph import Graph
from ..keys import key

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
    path = folder / f"{key(graph, cpu)}.zip"
    with suppress(NativeError):
        program = programfile.load(path)
        with suppress(OSError):
            path.touch()
        return program
    program = _built(graph, cpu)
    with suppress(NativeError):
        programfile.save(program, path)
    trim(folder, "*.zip", KEPT)
    return program


def _built(graph: Graph, cpu: Cpu) -> NativeProgram:
    from .build import build_native  # which loads LLVM

    return build_native(graph, cpu)
