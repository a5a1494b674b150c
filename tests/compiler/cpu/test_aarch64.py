"""Code for AArch64 under qemu: operators and whole networks give what the reference does."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vtakit.compiler.check import check_outputs, rounded_outputs
from vtakit.compiler.cpu.build import build_native
from vtakit.compiler.cpu.targets import target
from vtakit.compiler.passes.quantize import random_samples
from vtakit.compiler.reference import outputs

from ..networks import KINDS, graph
from ..operators import OPERATORS, SPECIAL, Case, arrays_of, compare, graph_of
from .aarch64 import Emulated, require_tools

CPUS = {"aarch64": "cortex-a53", "aarch64+dotprod": "neoverse-n1"}
"""A CPU of qemu's for each target, which has no more than it must."""


@pytest.fixture(autouse=True)
def _tools() -> None:
    require_tools()


def check(case: Case, name: str, folder: Path, threads: int) -> None:
    """Compile a graph for a target, run it on random inputs, and compare with the reference."""
    inputs, wanted = arrays_of(case)
    program = build_native(case[0], target(name))
    compare(Emulated(program, folder).run(inputs, threads, CPUS[name]), wanted)


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("name", CPUS)
@given(data=st.data(), threads=st.sampled_from([1, 2]))
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_graphs_give_what_the_reference_does(
    name: str, kind: str, tmp_path: Path, data: st.DataObject, threads: int
) -> None:
    check(data.draw(OPERATORS[kind]), name, tmp_path, threads)


@pytest.mark.parametrize("special", SPECIAL)
def test_special_graphs_give_what_the_reference_does(special: str, tmp_path: Path) -> None:
    check((graph_of(SPECIAL[special]), 0), "aarch64", tmp_path, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("network", ["digits", "lenet5", "resnet8"])
@pytest.mark.parametrize("name", CPUS)
def test_whole_networks_give_what_the_reference_does(
    name: str, network: str, kind: str, tmp_path: Path
) -> None:
    found = graph(network, kind, tmp_path)
    program = Emulated(build_native(found, target(name)), tmp_path)
    (inputs,) = random_samples(found, 1, 1)
    wanted = outputs(found, inputs)
    for threads in (1, 2):
        made = program.run(inputs, threads, CPUS[name])
        assert check_outputs(made, wanted, rounded_outputs(found)).equal
    assert all(np.isfinite(array).all() for array in wanted.values())


def test_dot_products_are_used_where_there_are_some(tmp_path: Path) -> None:
    found = graph("digits", "int8", tmp_path)
    program = Emulated(build_native(found, target("aarch64+dotprod")), tmp_path)
    (inputs,) = random_samples(found, 1, 1)
    with pytest.raises(Exception, match="SIGILL|died"):
        program.run(inputs, 1, CPUS["aarch64"])
