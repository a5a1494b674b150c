"""Every operator as PTX gives what its NumPy kernel gives, on an interpreter of PTX."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.cuda.build import build_cuda
from vtakit.runtime.cuda.session import CudaSession

from ..operators import OPERATORS, SPECIAL, Case, arrays_of, compare, graph_of
from .assembler import assemble
from .ptx_gpu import PtxGpu


def check(case: Case) -> None:
    """Compile a graph, assemble it, run it on random inputs, and compare with the reference."""
    inputs, wanted = arrays_of(case)
    program = build_cuda(case[0])
    assert set(assemble(program.ptx, "sm_80")) == {one.function for one in program.launches}
    with CudaSession(program, PtxGpu(case[1])) as session:
        compare(session.run(inputs), wanted)


@pytest.mark.parametrize("name", OPERATORS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_random_graphs_give_what_the_reference_does(name: str, data: st.DataObject) -> None:
    check(data.draw(OPERATORS[name]))


@pytest.mark.parametrize("name", SPECIAL)
def test_special_graphs_give_what_the_reference_does(name: str) -> None:
    check((graph_of(SPECIAL[name]), 0))
