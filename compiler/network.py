"""From a model file to the integer graph that everything is compiled from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import Graph, GraphError
from .importers.onnx_model import read
from .passes.fold import fold
from .passes.qdq import from_qdq, is_quantized
from .passes.qdq_exact import Agreement
from .passes.quantize import quantize, random_samples

RANDOM_SAMPLES = 4
"""Samples that a float model is calibrated on when the user gives none."""


@dataclass(frozen=True, eq=False)
class Network:
    """A model as it was given and as integers.

    `was_float` says that it was quantized here, with calibration samples. Of others, `agreements`
    say how far the integer layers give ONNX Runtime's results.
    """

    source: Graph
    integers: Graph
    was_float: bool
    agreements: tuple[Agreement, ...] = ()


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

    Raises
    ------
    ModelError
        For a file that cannot be read or holds what is not supported.
    GraphError
        For what cannot be made of integers, and for calibration samples that do not fit.
    """
    source = fold(read(path, batch=batch))
    was_float = not is_quantized(source)
    samples: list[dict[str, NDArray[Any]]] = []
    if was_float and calibration is not None:
        samples = split_samples(source, calibration)
    elif was_float:
        samples = random_samples(source, RANDOM_SAMPLES, seed)
    try:
        if was_float:
            return Network(source, quantize(source, samples), was_float)
        integers, agreements = from_qdq(source)
        return Network(source, fold(integers), was_float, agreements)
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from None


def load_float(path: str | Path, *, batch: int | None = None) -> Graph:
    """Read the ONNX file of a float model, and return it as it is.

    Raises
    ------
    ModelError
        For a file that cannot be read or holds what is not supported.
    GraphError
        For a model that is quantized.
    """
    source = fold(read(path, batch=batch))
    if is_quantized(source):
        raise GraphError(
            f"{path}: the model is quantized, and has no version in float32; run its integers"
        )
    return source


def split_samples(
    graph: Graph, stacked: Mapping[str, NDArray[Any]]
) -> list[dict[str, NDArray[Any]]]:
    """Return samples of the inputs' shapes from arrays that stack them on the first axis.

    Raises
    ------
    GraphError
        For an input that is missing, or whose array does not stack whole samples of finite numbers.
    """
    pieces: dict[str, list[NDArray[Any]]] = {}
    for value in graph.inputs:
        what = f"calibration samples of input {value.name!r}"
        if value.name not in stacked:
            given = ", ".join(stacked) or "no array"
            raise GraphError(f"{what} are missing; what is given has {given}")
        array = stacked[value.name]
        each = value.shape[0] if value.shape else 1
        fits = array.ndim == max(len(value.shape), 1) and array.shape[1:] == value.shape[1:]
        if not fits or len(array) < each or array.dtype.kind not in "biuf":
            shape = ", ".join(["samples", *map(str, value.shape[1:])])
            raise GraphError(
                f"{what} are {array.dtype} {array.shape}; they must be numbers ({shape}), "
                f"{each} or more of them"
            )
        with np.errstate(over="ignore"):
            typed = array.astype(value.dtype.numpy)
        if not np.isfinite(typed).all():
            raise GraphError(f"{what} hold a NaN or an infinity; give finite numbers")
        pieces[value.name] = [
            typed[i * each : (i + 1) * each].reshape(value.shape) for i in range(len(array) // each)
        ]
    count = min(map(len, pieces.values()), default=0)
    return [{name: arrays[i] for name, arrays in pieces.items()} for i in range(count)]
