"""The onnx package's own tests of operators: which of them pass, and why others do not."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from vtakit.compiler.cpu.build import build_native
from vtakit.compiler.graph import Graph, GraphError
from vtakit.compiler.importers.onnx_model import read
from vtakit.compiler.importers.onnx_node import ModelError
from vtakit.compiler.reference import outputs
from vtakit.runtime.native.program import NativeSession

Arrays = Mapping[str, NDArray[Any]]
Engine = Callable[[Graph, Arrays], Arrays]


@dataclass(frozen=True)
class Outcome:
    """What became of a test; `problem` is one line, empty where it passed."""

    operator: str
    test: str
    problem: str


@cache
def cases() -> list[Any]:
    """Return the tests of operators, those of operators written as functions left out."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    return [case for case in found if case.kind == "node" and "_expanded" not in case.name]


def operator_of(case: Any) -> str:
    """Return the operator that a test is of; constants beside it do not count."""
    kinds = [node.op_type for node in case.model.graph.node]
    return next((kind for kind in kinds if kind != "Constant"), kinds[0])


def on_numpy(graph: Graph, inputs: Arrays) -> Arrays:
    """Evaluate a graph by the reference."""
    return outputs(graph, inputs)


def on_llvm(graph: Graph, inputs: Arrays) -> Arrays:
    """Evaluate a graph by code for this CPU."""
    with NativeSession(build_native(graph)) as session:
        return {name: array.copy() for name, array in session.run(inputs).items()}


def outcome(case: Any, folder: Path, engine: Engine = on_numpy) -> Outcome:
    """Run a test; its results have to be within the tolerance that it has itself."""
    name = case.name.removeprefix("test_")
    return Outcome(operator_of(case), name, _problem(case, folder, engine))


def _problem(case: Any, folder: Path, engine: Engine) -> str:
    given, wanted = (_arrays(items) for items in case.data_sets[0])
    if given is None or wanted is None:
        return "its inputs or outputs are no tensors"
    try:
        graph, inputs = _imported(case, given, folder)
        found = engine(graph, inputs)
    except (ModelError, GraphError) as error:
        return _without_place(str(error))
    for item, array in zip(case.model.graph.output, wanted, strict=True):
        made = found[item.name]
        if made.shape != array.shape or made.dtype != array.dtype:
            return f"WRONG: {made.dtype}{made.shape}, and not {array.dtype}{array.shape}"
        if not np.allclose(made, array, case.rtol, case.atol, equal_nan=True):
            return "WRONG: other numbers"
    return ""


def _arrays(items: Sequence[Any]) -> list[NDArray[Any]] | None:
    """Return tensors as arrays; None where some are lists of tensors, or missing."""
    found = [
        numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else item
        for item in items
    ]
    if not all(isinstance(item, np.ndarray | np.generic) for item in found):
        return None
    return [np.asarray(item) for item in found]


def _imported(case: Any, given: Sequence[NDArray[Any]], folder: Path) -> tuple[Graph, Arrays]:
    """Return a test's graph and inputs; all but the first, or all, are constants if need be."""
    for kept in (len(given), 1, 0):
        try:
            return _read(case, given, folder, kept)
        except ModelError as error:
            if kept == 0 or "it has to be a constant" not in str(error):
                raise
    raise AssertionError(case.name)


def _read(
    case: Any, given: Sequence[NDArray[Any]], folder: Path, kept: int
) -> tuple[Graph, Arrays]:
    """Return a test's graph, of which the first inputs are `kept` as such, and those."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    arrays = dict(zip((item.name for item in model.graph.input), given, strict=True))
    for item in list(model.graph.input)[kept:]:
        array = arrays.pop(item.name)
        model.graph.initializer.append(numpy_helper.from_array(array, item.name))
        model.graph.input.remove(item)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return read(path), arrays


def _without_place(message: str) -> str:
    """Return what an error says after the file and the node."""
    _, _, said = message.partition(".onnx: ")
    head, _, rest = said.partition(": ")
    return rest if " node " in head else said or message
