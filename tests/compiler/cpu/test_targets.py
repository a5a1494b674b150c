"""Code for CPUs with fewer instructions than this one, run here; and the names of CPUs."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.cpu.build import build_native
from vtakit.compiler.cpu.intrinsics import dot, fma
from vtakit.compiler.cpu.targets import BASES, FEATURES, TargetError, target
from vtakit.runtime.native.errors import NativeError
from vtakit.runtime.native.jit import this_cpu
from vtakit.runtime.native.program import NativeSession

from ..operators import OPERATORS, arrays_of, compare

INSTRUCTIONS = {
    "x86-64": ("pmaddwd", "multiply_add"),
    "x86-64-v2": ("pmaddwd", "multiply_add"),
    "x86-64-v3": ("pmaddwd256", "fma"),
    "x86-64-v3+avxvnni": ("vpdpbusd256", "fma"),
    "x86-64-v4": ("pmaddwd512", "fma"),
    "x86-64-v4+avx512vnni": ("vpdpbusd", "fma"),
    "aarch64": ("bytewise", "fma"),
    "aarch64+dotprod": ("sdot", "fma"),
}
"""Of each target: what adds up products of int8, and of float32."""


def runs_here(name: str) -> bool:
    """Whether this CPU has all that code for a target may use."""
    cpu, here = target(name), this_cpu()
    wanted = set(cpu.features.split(",")) - {""}
    return cpu.architecture == here.architecture and wanted <= set(here.features.split(","))


HERE = [name for name in INSTRUCTIONS if runs_here(name)]


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_each_target_has_instructions_of_its_own(name: str) -> None:
    cpu = target(name)
    assert (dot(cpu).name, fma(cpu).name) == INSTRUCTIONS[name]


@pytest.mark.parametrize("name", HERE)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_code_for_lesser_cpus_gives_the_same_here(name: str, data: st.DataObject) -> None:
    kinds = ("convolutions", "pooling and dense layers", "as ONNX Runtime quantizes")
    case = data.draw(st.one_of(*[OPERATORS[kind] for kind in kinds]))
    inputs, wanted = arrays_of(case)
    with NativeSession(build_native(case[0], target(name))) as session:
        compare(session.run(inputs), wanted)


@pytest.mark.parametrize("name", sorted(set(INSTRUCTIONS) - set(HERE)))
@given(data=st.data())
@settings(max_examples=1, deadline=None)
def test_code_for_other_cpus_is_not_run(name: str, data: st.DataObject) -> None:
    graph, _ = data.draw(OPERATORS["convolutions"])
    with pytest.raises(NativeError, match="native code is for "):
        NativeSession(build_native(graph, target(name)))


def test_native_is_this_cpu() -> None:
    assert target("native") == this_cpu()


def test_every_feature_that_is_offered_changes_code() -> None:
    for base, (architecture, _, own) in BASES.items():
        for feature, needed in FEATURES[architecture].items():
            if set(needed) <= set(own):
                assert dot(target(f"{base}+{feature}")) != dot(target(base)), (base, feature)


@pytest.mark.parametrize(("name", "said"), [
    ("x86-64-v5", "target 'x86-64-v5': there is no CPU 'x86-64-v5'; did you mean 'x86-64-v4'?"),
    ("z80", "target 'z80': there is no CPU 'z80'; known are native, x86-64, x86-64-v2, x86-64-v3, "
            "x86-64-v4, aarch64"),
    ("aarch64+sve", "target 'aarch64+sve': aarch64 has no feature 'sve' that changes code; there "
                    "are dotprod"),
    ("x86-64+avx512vnni", "target 'x86-64+avx512vnni': avx512vnni needs x86-64-v4 or above"),
])  # fmt: skip
def test_a_name_that_is_none_is_explained(name: str, said: str) -> None:
    with pytest.raises(TargetError) as error:
        target(name)
    assert str(error.value) == said


def test_a_target_is_a_value() -> None:
    found: Any = target("aarch64+dotprod")
    assert found.triple == "aarch64-unknown-linux-gnu"
    assert found.features == "+neon,+dotprod"
