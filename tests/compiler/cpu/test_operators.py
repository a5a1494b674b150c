"""Every operator as native code gives what its NumPy kernel gives; with one thread and with two."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.cpu.build import build_native
from vtakit.runtime.native.program import NativeSession

from ..operators import OPERATORS, SPECIAL, Case, arrays_of, compare, graph_of


def check(case: Case) -> None:
    """Compile a graph, run it on random inputs, and compare with the reference."""
    inputs, wanted = arrays_of(case)
    program = build_native(case[0])
    for threads in (1, 2):
        with NativeSession(program, threads) as session:
            compare(session.run(inputs), wanted)


@pytest.mark.parametrize("name", OPERATORS)
@given(data=st.data())
@settings(max_examples=45, deadline=None)
def test_random_graphs_give_what_the_reference_does(name: str, data: st.DataObject) -> None:
    check(data.draw(OPERATORS[name]))


@pytest.mark.parametrize("name", SPECIAL)
def test_special_graphs_give_what_the_reference_does(name: str) -> None:
    check((graph_of(SPECIAL[name]), 0))
