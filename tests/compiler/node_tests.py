"""The node tests of the onnx package: one model of one operator each, its inputs and its outputs.

A test passes when our importer reads its model and what we compute is what the test expects, as
near as the test says. Inputs that the importer needs to know at compile time (shapes, axes, scales)
become initializers; `constants` says which those were.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases
from vtakit.compiler.graph import Graph
from vtakit.compiler.importers.onnx_model import read
from vtakit.compiler.importers.onnx_node import ModelError
from vtakit.compiler.importers.onnx_operators import CONSTANT_ONLY, OPERATORS
from vtakit.compiler.importers.onnx_types import held_in, type_name
from vtakit.compiler.reference import outputs

Array = NDArray[Any]
Arrays = Mapping[str, Array]
BackEnd = Callable[[Graph, Arrays], Arrays]

CLAIMED = sorted({*OPERATORS, *CONSTANT_ONLY})
"""The operators whose tests we run."""


@dataclass(frozen=True)
class NodeTest:
    """One test: `inputs` and `outputs` are in the order of the model's."""

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    rtol: float
    atol: float

    def __str__(self) -> str:
        return self.name


@cache
def node_tests() -> dict[str, tuple[NodeTest, ...]]:
    """Return all tests of every operator of ONNX, by operator; of those that we claim maybe none.

    A test whose operator is written out as its ONNX function counts as one of the operator.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package: it computes infinities
        cases = collect_testcases(None)
    models = [(case, case.model) for case in cases if case.model is not None]
    of_name = {case.name: model.graph.node[0].op_type for case, model in models}
    found: dict[str, list[NodeTest]] = {name: [] for name in CLAIMED}
    for case, model in models:
        base = case.name.partition("_expanded")[0]  # the test of the operator itself
        operator = of_name.get(base) or of_name[case.name]
        domains = {entry.domain for entry in model.opset_import}
        if domains - {"", "ai.onnx"}:
            continue
        for given, wanted in case.data_sets or ():
            found.setdefault(operator, []).append(
                NodeTest(case.name, operator, model, tuple(given), tuple(wanted),
                         case.rtol, case.atol)
            )  # fmt: skip
    return {name: tuple(tests) for name, tests in found.items()}


class Unmet(Exception):
    """Why a test does not pass, in few words; `type_only` if for a type that we have not."""

    def __init__(self, reason: str, *, type_only: bool = False):
        self.type_only = type_only
        super().__init__(reason)


def reference(graph: Graph, inputs: Arrays) -> Arrays:
    """Run a graph in NumPy."""
    return outputs(graph, dict(inputs))


def run(test: NodeTest, back_end: BackEnd, folder: Path) -> tuple[str, ...]:
    """Run a test, and return the names of the inputs that had to be constants.

    Raises
    ------
    Unmet
        When the test does not pass.
    """
    _check_types(test)
    given = zip(test.model.graph.input, test.inputs, strict=True)
    arrays = {kind.name: _array(kind, item) for kind, item in given}
    graph, constants = _imported(test, arrays, folder)
    results = back_end(graph, {value.name: arrays[value.name] for value in graph.inputs})
    for item, wanted in zip(test.model.graph.output, test.outputs, strict=True):
        _compare(test, results[item.name], _array(item, wanted))
    return constants


def _array(kind: Any, item: Any) -> Array:
    """Return a tensor as an array, in what holds its type; a few tests hold them as ONNX does."""
    array = numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else np.asarray(item)
    dtype = held_in(kind.type.tensor_type.elem_type)
    assert dtype is not None
    return array.astype(dtype.numpy, copy=False)


def _check_types(test: NodeTest) -> None:
    for item in [*test.model.graph.input, *test.model.graph.output]:
        kind = item.type.WhichOneof("value")
        if kind != "tensor_type":
            name = (kind or "no type").removesuffix("_type").replace("_", " ")
            raise Unmet(name, type_only=True)
        number = item.type.tensor_type.elem_type
        if held_in(number) is None:
            raise Unmet(type_name(number), type_only=True)


_NEEDED = re.compile(r"its (?P<what>.+) (?P<name>\S+) is computed while the network runs")


def _imported(test: NodeTest, arrays: Arrays, folder: Path) -> tuple[Graph, tuple[str, ...]]:
    """Return the graph of a model, and the inputs which had to be constants for that."""
    constants: list[str] = []
    path = folder / "model.onnx"
    while True:
        model = onnx.ModelProto()
        model.CopyFrom(test.model)
        open_inputs = [item for item in model.graph.input if item.name not in constants]
        del model.graph.input[:]
        model.graph.input.extend(open_inputs)
        model.graph.initializer.extend(_initializer(test, arrays, name) for name in constants)
        for item in open_inputs:  # some tests leave extents open that their data fixes
            item.type.tensor_type.shape.ClearField("dim")
            for extent in arrays[item.name].shape:
                item.type.tensor_type.shape.dim.add().dim_value = extent
        del model.graph.input[:]
        model.graph.input.extend(open_inputs)
        onnx.save(model, path)
        try:
            return read(path), tuple(constants)
        except ModelError as error:
            message = str(error)
        needed = _NEEDED.search(message)
        more = _sources(model, needed["name"]) if needed else []
        more = [name for name in more if name in arrays and name not in constants]
        if not more:
            reason = _short(message, path)
            raise Unmet(reason)
        constants.extend(more)


def _initializer(test: NodeTest, arrays: Arrays, name: str) -> onnx.TensorProto:
    """Return an input of a test as a constant of its model."""
    for item, given in zip(test.model.graph.input, test.inputs, strict=True):
        if item.name == name and isinstance(given, onnx.TensorProto):
            tensor = onnx.TensorProto()
            tensor.CopyFrom(given)
            tensor.name = name
            return tensor
    return numpy_helper.from_array(arrays[name], name)


def _sources(model: onnx.ModelProto, name: str) -> list[str]:
    """Return the graph inputs that a value is computed from."""
    makers = {output: node for node in model.graph.node for output in node.output}
    if name not in makers:
        return [name]
    found = [_sources(model, source) for source in makers[name].input if source]
    return sorted({name for names in found for name in names})


def _short(message: str, path: Path) -> str:
    message = message.removeprefix(f"{path}: ")
    return re.sub(r"^(\S+) node \S+: ", r"", message)


def _compare(test: NodeTest, found: Array, wanted: Array) -> None:
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        raise Unmet(f"gives {found.dtype}{found.shape} in place of {wanted.dtype}{wanted.shape}")
    if not np.allclose(found, wanted, rtol=test.rtol, atol=test.atol, equal_nan=True):
        raise Unmet("other numbers")
