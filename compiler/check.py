"""Checking results, of layers on the device and of outputs, against the NumPy evaluation."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ..runtime.host.layout import unpack_tiles
from ..runtime.module import Array
from ..runtime.session import RunReport, Session
from .build import Compiled
from .graph import DType, Graph, Node, Value
from .ops.elementwise import Pow, Unary
from .ops.linear import Conv2d, Dense, MatMul
from .ops.pool import SumPool2d
from .ops.reduce import Reduce, Softmax
from .passes.pack import Packed
from .reference import evaluate

ROUNDED = (Conv2d, Dense, MatMul, SumPool2d, Reduce, Softmax, Unary, Pow)
"""Operators whose float results depend on who computes them: on the order of a sum, or on whose
`exp` it is."""

FLOAT_TOLERANCE = 1e-5
"""How far such results may be apart, as a share of the largest number of an output."""


@dataclass(frozen=True)
class Check:
    """Whether results are equal, and where they differ most.

    `layers` are the names of the layers on VTA, and of the outputs, whose results differ, in order.
    """

    equal: bool
    max_abs_difference: float
    layers: tuple[str, ...]
    compared: int


def check_run(
    compiled: Compiled, session: Session, report: RunReport, inputs: Mapping[str, Array]
) -> Check:
    """Compare the run that `session` has just done with the independent evaluation.

    Every layer on VTA and every output of the network is compared, element by element. What the
    host makes int8 of floats that are rounded may be one off; what reads it is held against what
    it should make of that. The module must have been built with `keep`, so that device memory still
    holds what each layer wrote.
    """
    graph = compiled.graph
    layers = [layer for layer in compiled.layers if layer.device == "vta"]
    narrowed = _narrowed(graph, compiled.packed, {layer.value for layer in layers})
    made = {value: _on_device(compiled, session, value) for value in narrowed}
    expected = evaluate(graph, inputs, made)
    worst = 0.0
    wrong: list[str] = []
    for value, name in narrowed.items():
        difference = _difference(made[value], expected[value])
        worst = max(worst, difference)
        if difference > 1:
            wrong.append(name)
    for layer in layers:
        value = _in_memory(compiled.packed[layer.value])
        found = _on_device(compiled, session, value)
        difference = _difference(found, expected[value])
        worst = max(worst, difference)
        if difference:
            wrong.append(layer.name)
    wanted = {value.name: expected[value] for value in graph.outputs}
    ends = check_outputs(report.outputs, wanted, rounded_outputs(graph))
    worst = max(worst, ends.max_abs_difference)
    wrong += ends.layers
    return Check(not wrong, worst, tuple(wrong), len(layers))


def _in_memory(packed: Packed) -> Value:
    """Return what memory holds of a layer's result: the larger image where pixels are repeated."""
    whole = packed.whole if packed.is_repeated else None
    return packed.value if whole is None else whole.value


def _on_device(compiled: Compiled, session: Session, value: Value) -> Array:
    packed = compiled.packed[value]
    tiles = session.read(packed.value.name).view(np.int8)
    return unpack_tiles(tiles, shape=value.shape, halo=packed.halo)


def _narrowed(
    graph: Graph, packed: Collection[Value], on_vta: Collection[Value]
) -> dict[Value, str]:
    """Return what the host makes int8 for VTA of floats that are rounded, and the layers' names."""
    rounded: set[Value] = set()
    narrowed: dict[Value, str] = {}
    for node in graph.nodes:
        if not _rounds(node, rounded):
            continue
        for value in node.outputs:
            if value in on_vta:
                continue
            if value in packed:
                narrowed[value] = node.layer
            else:
                rounded.add(value)
    return narrowed


def _rounds(node: Node, rounded: Collection[Value]) -> bool:
    """Return whether a node's results are rounded, by itself or because of what it reads."""
    own = isinstance(node.op, ROUNDED) and node.outputs[0].dtype is DType.FLOAT32
    return own or any(value in rounded for value in node.inputs)


def rounded_outputs(graph: Graph) -> frozenset[str]:
    """Return the names of the float outputs that an operator of `ROUNDED` has a part in."""
    rounded: set[Value] = set()
    for node in graph.nodes:
        if _rounds(node, rounded):
            rounded.update(node.outputs)
    outputs = (value for value in graph.outputs if value.dtype is DType.FLOAT32)
    return frozenset(value.name for value in outputs if value in rounded)


def check_outputs(
    found: Mapping[str, Array], expected: Mapping[str, Array], rounded: Collection[str] = ()
) -> Check:
    """Compare outputs by name: bit for bit, or within tolerance where they are rounded.

    `layers` are the names of the outputs that differ, and `compared` is how many there are.
    """
    worst = 0.0
    wrong: list[str] = []
    for name, array in expected.items():
        difference = _difference(found[name], array)
        worst = max(worst, difference)
        if difference > (FLOAT_TOLERANCE * _largest(array) if name in rounded else 0.0):
            wrong.append(name)
    return Check(not wrong, worst, tuple(wrong), len(expected))


def _largest(array: Array) -> float:
    """Return the largest magnitude of the finite numbers."""
    numbers = np.abs(array.astype(np.float64))
    return float(numbers[np.isfinite(numbers)].max(initial=0.0))


def _difference(found: Array, expected: Array) -> float:
    """Return the largest difference; of what cannot be subtracted, infinity."""
    if found.shape != expected.shape:
        return float("inf")
    one, other = found.astype(np.float64), expected.astype(np.float64)
    equal = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        difference = np.where(equal, 0.0, np.abs(one - other))
    return float(np.where(np.isnan(difference), np.inf, difference).max(initial=0.0))
