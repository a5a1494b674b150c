"""runtime.cuda.session: what it writes, launches and refuses, on a GPU that runs PTX on NumPy."""

import numpy as np
import pytest
from vtakit.compiler.builder import GraphBuilder
from vtakit.compiler.cuda.build import build_cuda
from vtakit.compiler.graph import DType
from vtakit.compiler.ops.elementwise import Add
from vtakit.compiler.ops.linear import Conv2d
from vtakit.runtime.cuda.program import CudaError, CudaProgram
from vtakit.runtime.cuda.session import CudaSession

from ...compiler.cuda.ptx_gpu import PtxGpu


@pytest.fixture(scope="module")
def program() -> CudaProgram:
    """a + b, and a convolution of it whose padding is 7."""
    builder = GraphBuilder("sums")
    a, b = (builder.input(name, (1, 4, 3, 3), DType.INT8) for name in "ab")
    both = builder.add(Add(), a, b, layer="add", name="both")
    weights = builder.constant(np.ones((2, 4, 3, 3), np.int8), "w")
    op = Conv2d((1, 1), (1, 1, 1, 1), pad_value=7)
    return build_cuda(builder.build([both, builder.add(op, both, weights, layer="c", name="c")]))


def array(value: int, shape: tuple[int, ...] = (1, 4, 3, 3)) -> np.ndarray:
    return np.full(shape, value, np.int8)


def test_inputs_stay_and_halos_hold_what_they_should_in_every_run(program: CudaProgram) -> None:
    with CudaSession(program, PtxGpu()) as session:
        for value in (1, 2):
            found = session.run({"a": array(value), "b": array(3)})
            np.testing.assert_array_equal(found["both"], array(value + 3))
            assert found["c"][0, 0, 1, 1] == 36 * (value + 3)
            assert found["c"][0, 1, 0, 0] == 16 * (value + 3) + 20 * 7
        session.execute()
        np.testing.assert_array_equal(session.outputs()["both"], array(5))


@pytest.mark.parametrize(("inputs", "said"), [
    ({"a": array(0)}, "input 'b' is missing; it is int8 (1, 4, 3, 3)"),
    ({"a": array(0), "b": array(0), "x": array(0)},
     "there is no input 'x'; the network takes a, b"),
    ({"a": array(0), "b": array(0, (1, 4, 9))},
     "input 'b' is int8 (1, 4, 9); the network takes int8 (1, 4, 3, 3)"),
    ({"a": array(0), "b": array(0).astype(np.float32)},
     "input 'b' is float32 (1, 4, 3, 3); the network takes int8 (1, 4, 3, 3)"),
])  # fmt: skip
def test_inputs_that_do_not_fit_are_refused(
    program: CudaProgram, inputs: dict[str, np.ndarray], said: str
) -> None:
    with CudaSession(program, PtxGpu()) as session, pytest.raises(CudaError) as error:
        session.run(inputs)
    assert str(error.value) == said


def test_all_memory_is_given_back(program: CudaProgram) -> None:
    gpu = PtxGpu()
    session = CudaSession(program, gpu)
    assert len(gpu.memory.allocated) == 2
    session.close()
    session.close()
    assert not gpu.memory.allocated
