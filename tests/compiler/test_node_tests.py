"""The node tests of the onnx package: those that pass, on the reference and as native code."""

import importlib.util
from pathlib import Path
from types import ModuleType

import onnx
import pytest
from vtakit.compiler.cpu.build import build_native
from vtakit.compiler.graph import Graph
from vtakit.runtime.native.program import NativeSession

from .node_tests import CLAIMED, Arrays, Unmet, node_tests, reference, run

DOCS = Path(__file__).parents[2] / "docs"

ORDINARY = [
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "ConvInteger",
    "ConvTranspose", "DepthToSpace", "DequantizeLinear", "Div", "Elu", "Exp", "Flatten", "GRU",
    "Gather", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "GroupNormalization",
    "HardSigmoid", "HardSwish", "InstanceNormalization", "LRN", "LSTM", "LayerNormalization",
    "LeakyRelu", "LogSoftmax", "LpPool", "MatMul", "MatMulInteger", "Max", "MaxPool", "Mean",
    "Min", "Mul", "PRelu", "Pad", "Pow", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "RNN",
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize",
    "Selu", "Shape", "Sigmoid", "Slice", "Softmax", "Softplus", "SpaceToDepth", "Split", "Sqrt",
    "Squeeze", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Unsqueeze", "Upsample", "Where",
]  # fmt: skip
"""Operators that ordinary networks of images, sound and tables are made of."""


def native(graph: Graph, inputs: Arrays) -> Arrays:
    """Compile a graph for this CPU and run it."""
    with NativeSession(build_native(graph), 1) as session:
        return session.run(dict(inputs))


def script() -> ModuleType:
    """Return docs/operators.py as a module."""
    spec = importlib.util.spec_from_file_location("operators_page", DOCS / "operators.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_operators_is_as_the_script_writes_it() -> None:
    page = (DOCS / "operators.md").read_text()
    if f"version {onnx.__version__}," not in page:
        pytest.skip(f"the page is of another version of onnx than {onnx.__version__}")
    assert page == script().page()


@pytest.mark.parametrize("operator", ORDINARY)
def test_what_ordinary_networks_use_passes_but_for_types_that_there_are_none_of(
    operator: str, tmp_path: Path
) -> None:
    unmet: dict[str, str] = {}
    tests = node_tests()[operator]
    for test in tests:
        try:
            run(test, reference, tmp_path)
        except Unmet as reason:
            if not reason.type_only:
                unmet[test.name] = str(reason)
    assert tests
    assert not unmet


def check_native(operator: str, folder: Path, every: int) -> None:
    """Check that each n-th test which passes on the reference passes as native code."""
    for test in node_tests()[operator][::every]:
        try:
            run(test, reference, folder)
        except Unmet:
            continue
        run(test, native, folder)


@pytest.mark.parametrize("operator", CLAIMED)
def test_native_code_passes_what_the_reference_does_in_a_sample(
    operator: str, tmp_path: Path
) -> None:
    check_native(operator, tmp_path, 7)


@pytest.mark.slow
@pytest.mark.parametrize("operator", CLAIMED)
def test_native_code_passes_what_the_reference_does(operator: str, tmp_path: Path) -> None:
    check_native(operator, tmp_path, 1)
