"""Checking a run: every layer's result on the device against the NumPy evaluation of the graph."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..runtime.host.layout import unpack_tiles
from ..runtime.module import Array
from ..runtime.session import RunReport, Session
from .build import Compiled
from .reference import evaluate


@dataclass(frozen=True)
class Check:
    """Whether results are equal, and where they differ most.

    `layers` are the names of the layers on VTA whose results differ, in order.
    """

    equal: bool
    max_abs_difference: float
    layers: tuple[str, ...]
    compared: int


def check_run(
    compiled: Compiled, session: Session, report: RunReport, inputs: Mapping[str, Array]
) -> Check:
    """Compare the run that `session` has just done with the independent evaluation.

    Every layer on VTA and every output of the network is compared, element by element. The module
    must have been built with `keep`, so that device memory still holds what each layer wrote.
    """
    expected = evaluate(compiled.graph, inputs)
    worst = 0.0
    wrong: list[str] = []
    compared = 0
    for layer in compiled.layers:
        if layer.device != "vta":
            continue
        packed = compiled.packed[layer.value]
        tiles = session.read(packed.value.name).view(np.int8)
        found = unpack_tiles(tiles, shape=layer.value.shape, halo=packed.halo)
        difference = _difference(found, expected[layer.value])
        compared += 1
        if difference:
            wrong.append(layer.name)
            worst = max(worst, difference)
    for value in compiled.graph.outputs:
        difference = _difference(report.outputs[value.name], expected[value])
        if difference:
            wrong.append(value.name)
            worst = max(worst, difference)
    return Check(not wrong, worst, tuple(wrong), compared)


def _difference(found: Array, expected: Array) -> float:
    """Return the largest difference; of what cannot be subtracted, infinity."""
    if found.shape != expected.shape:
        return float("inf")
    one, other = found.astype(np.float64), expected.astype(np.float64)
    equal = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        difference = np.where(equal, 0.0, np.abs(one - other))
    return float(np.where(np.isnan(difference), np.inf, difference).max(initial=0.0))
