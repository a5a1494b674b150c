"""What commands that take a network share: its arrays from files, and how near results are."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from .options import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ..compiler.graph import Graph
    from ..isa.config import Config


def load_arrays(path: Path, option: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of the .npz file that an option names.

    Raises
    ------
    UsageError
        When it cannot be read or holds anything else.
    """
    import tokenize
    import zlib
    from zipfile import BadZipFile

    import numpy as np

    damage = (
        BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        TypeError,  # a .npy file
        RuntimeError,  # zipfile, for an encrypted entry or an unknown compression
        SyntaxError,  # NumPy, for the header of an array
        tokenize.TokenError,
    )
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror or error}") from None
    except damage:
        raise UsageError(
            f"{option} {path} is no .npz file of plain arrays, or one that was cut short"
        ) from None


def network_inputs(source: Graph, path: Path | None, seed: int) -> dict[str, NDArray[Any]]:
    """Return arrays for the inputs of a model as given: from a file, or random ones from the seed.

    Raises
    ------
    UsageError
        When the file does not hold what the network takes.
    """
    from ..compiler.graph import GraphError
    from ..compiler.passes.quantize import random_samples
    from ..compiler.reference import check_inputs

    if path is None:
        return random_samples(source, 1, seed)[0]
    arrays = load_arrays(path, "--inputs")
    try:
        check_inputs(source, arrays)
    except GraphError as error:
        raise UsageError(f"--inputs {path}: {error}") from None
    return arrays


def prepare_simulator(machine: Config, engine: str) -> None:
    """Run nothing, with cycles and, unless `engine` counts them, without: LLVM compiles it then.

    What the search asks is always the cycle model.
    """
    from ..isa.instructions import Finish
    from ..isa.stream import encode_stream
    from ..sim.machine import Machine

    nothing = encode_stream([Finish()], machine)
    for timing in sorted({True, engine == "sim"}):
        Machine(machine).run(nothing, timing=timing)


def closeness(
    results: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]
) -> tuple[float, float]:
    """Return the cosine between all outputs together, and their largest difference.

    `results` may hold more outputs than `expected`. Where a value is not finite, neither is what is
    returned.
    """
    import numpy as np

    one, other = (
        np.concatenate([np.asarray(arrays[name]).ravel().astype(np.float64) for name in expected])
        for arrays in (results, expected)
    )
    with np.errstate(invalid="ignore", over="ignore"):
        norm = float(np.linalg.norm(one) * np.linalg.norm(other))
        cosine = float(one @ other / norm) if norm else float(np.array_equal(one, other))
        return cosine, float(np.abs(one - other).max(initial=0.0))


def finite(value: float) -> float | None:
    """Return the value, or None for what JSON has no name for."""
    return value if isfinite(value) else None


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held so far."""
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss * 1024
