"""From a model file to the integer graph that everything is compiled from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .graph import Graph, GraphError
from .importers.onnx_model import read
from .passes.fold import fold
from .passes.qdq import from_qdq, is_quantized
from .passes.quantize import quantize, random_samples

RANDOM_SAMPLES = 4
"""Samples that a float model is calibrated on when the user gives none."""


@dataclass(frozen=True, eq=False)
class Network:
    """A model as it was given and as integers.

    `was_float` says that it was quantized here, with calibration samples.
    """

    source: Graph
    integers: Graph
    was_float: bool


def load_network(
    path: str | Path,
    *,
    calibration: Mapping[str, NDArray[Any]] | None = None,
    batch: int | None = None,
    seed: int = 0,
) -> Network:
    """Read an ONNX file and return it as integers.

    Parameters
    ----------
    path : str or Path
    calibration : mapping of input name to array
        Samples for a float model, stacked on the first axis; random ones, from the seed, without.
    batch : int
        The batch size of a model that leaves it open.
    seed : int
    """
    source = fold(read(path, batch=batch))
    if is_quantized(source):
        return Network(source, fold(from_qdq(source)), was_float=False)
    if calibration is None:
        samples = random_samples(source, RANDOM_SAMPLES, seed)
    else:
        samples = split_samples(source, calibration)
    return Network(source, quantize(source, samples), was_float=True)


def split_samples(
    graph: Graph, stacked: Mapping[str, NDArray[Any]]
) -> list[dict[str, NDArray[Any]]]:
    """Return samples of the inputs' shapes from arrays that stack them on the first axis.

    Raises
    ------
    GraphError
        For an input that is missing, or whose array does not stack whole samples.
    """
    pieces: dict[str, list[NDArray[Any]]] = {}
    for value in graph.inputs:
        if value.name not in stacked:
            given = ", ".join(stacked) or "nothing"
            raise GraphError(
                f"calibration samples of input {value.name!r} are missing; has {given}"
            )
        array = stacked[value.name]
        each = value.shape[0] if value.shape else 1
        fits = array.ndim == len(value.shape) and array.shape[1:] == value.shape[1:]
        if not fits or len(array) < each:
            raise GraphError(
                f"calibration samples of input {value.name!r} are {array.dtype} {array.shape}; "
                f"they must be (samples, {', '.join(map(str, value.shape[1:]))})"
            )
        typed = array.astype(value.dtype.numpy)
        count = len(array) // each
        pieces[value.name] = [typed[i * each : (i + 1) * each] for i in range(count)]
    count = min(map(len, pieces.values()), default=0)
    return [{name: arrays[i] for name, arrays in pieces.items()} for i in range(count)]
