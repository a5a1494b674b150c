"""The node tests of the onnx package as PTX, on an interpreter of PTX: two of each operator."""

from pathlib import Path

import numpy as np
import pytest
from vtakit.compiler.cuda.build import build_cuda
from vtakit.compiler.graph import Graph
from vtakit.runtime.cuda.session import CudaSession

from ..node_tests import CLAIMED, Arrays, NodeTest, Unmet, node_tests, reference, run
from .ptx_gpu import PtxGpu


def ptx(graph: Graph, inputs: Arrays) -> Arrays:
    """Compile a graph for a GPU and run it on the interpreter."""
    with CudaSession(build_cuda(graph), PtxGpu(0)) as session:
        return session.run(dict(inputs))


def elements(test: NodeTest) -> int:
    """How many elements a test's inputs and outputs have."""
    return sum(np.asarray(array).size for array in (*test.inputs, *test.outputs))


@pytest.mark.parametrize("operator", CLAIMED)
def test_ptx_passes_what_the_reference_does(operator: str, tmp_path: Path) -> None:
    passed = 0
    for test in sorted(node_tests()[operator], key=elements):
        try:
            run(test, reference, tmp_path)
        except Unmet:
            continue
        run(test, ptx, tmp_path)
        passed += 1
        if passed == 2:
            break
