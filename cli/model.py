"""What commands that compile a network share: the graph of a file, and where files may go."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .network import load_arrays
from .options import UsageError
from .output import print_line

if TYPE_CHECKING:
    from ..compiler.graph import Graph

PRECISIONS = ("int8", "float32")


def read_graph(
    command: str,
    model: Path,
    precision: str,
    calibration: Path | None,
    batch: int | None,
    seed: int,
) -> tuple[Graph, Graph]:
    """Return the model as it was given, and the graph that is to run: its integers, or itself."""
    from ..compiler.network import load_float, load_network

    samples = load_arrays(calibration, "--calibration") if calibration else None
    if precision == "float32":
        source = load_float(model, batch=batch)
        if samples:
            print_line(f"vtakit {command}: nothing is quantized: --calibration is not used")
        return source, source
    network = load_network(model, calibration=samples, batch=batch, seed=seed)
    if samples and not network.was_float:
        print_line(f"vtakit {command}: {model} is quantized already: --calibration is not used")
    return network.source, network.integers


def check_outputs(given: list[Path], outputs: Mapping[str, Path | None]) -> None:
    """Refuse, before all the work, files that could not be written or that are read."""
    taken = {path.resolve(): str(path) for path in given}
    for option, path in outputs.items():
        if path is None:
            continue
        if path.is_dir():
            raise UsageError(f"{option} {path} is a folder; give the name of a file")
        if not path.parent.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {path.parent}; make it first")
        if not os.access(path.parent, os.W_OK):
            raise UsageError(f"{option} {path}: the folder {path.parent} cannot be written to")
        other = taken.setdefault(path.resolve(), option)
        if other != option:
            raise UsageError(f"{option} {path} would write over {other}; give another name")
