"""What compiled networks are kept under: a digest of all that decides what a compiler makes."""

import functools
import hashlib
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .graph import Graph


def key(graph: Graph, *settings: object) -> str:
    """Return a name for what a graph becomes with some settings, which it holds as text.

    It changes with the graph, its constants, the settings, this package's sources and the library
    that writes machine code.
    """
    digest = hashlib.sha256(_sources())
    digest.update("\n".join(map(str, (*settings, graph))).encode())
    for array in graph.constants.values():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@functools.cache
def _sources() -> bytes:
    """Return a digest of the package and of what compiles with it."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256(version("llvmlite").encode())
    for folder in ("compiler", "isa", "runtime", "sim"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.digest()
