"""cli.rivals.vta and contest: what the network costs on VTA, and who takes part."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtakit.cli.rivals.contest import CANDIDATES, Candidate, Missing, entered
from vtakit.cli.rivals.rival import RivalError
from vtakit.cli.rivals.vta import cost_of, vta_cost
from vtakit.compiler.build import Compiled, build_module
from vtakit.compiler.network import load_network
from vtakit.compiler.passes.quantize import random_samples
from vtakit.isa.config import PRESETS
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.session import LayerReport, RunReport, Session

from .fakes import FakeRival

ROOT = Path(__file__).parents[3]
DIGITS = ROOT / "examples" / "digits" / "digits_int8.onnx"
NO_CASE: Any = None


@pytest.fixture(scope="module")
def digits() -> tuple[Compiled, dict[str, Any]]:
    pytest.importorskip("onnx")
    network = load_network(DIGITS)
    compiled = build_module(network.integers, PRESETS["default"], measured=1)
    return compiled, random_samples(network.source, 1, 0)[0]


def test_cycles_and_outputs_are_those_of_a_run(digits: tuple[Compiled, dict[str, Any]]) -> None:
    compiled, inputs = digits
    found = vta_cost(compiled, inputs)
    config = compiled.module.config
    with open_device("sim", config) as device, Session(compiled.module, device) as session:
        report = session.run(inputs)
    assert found.cycles == report.cycles
    assert found.layers == {one.layer: one.cycles for one in report.layers if one.on_device}
    assert sum(found.layers.values()) <= found.cycles
    assert set(found.host) == {one.layer for one in report.layers if not one.on_device}
    assert found.host_seconds == pytest.approx(sum(found.host.values()))
    for name, array in report.outputs.items():
        np.testing.assert_array_equal(found.outputs[name], array)


def test_the_hosts_seconds_are_medians_over_the_faster_half_of_runs() -> None:
    def report(pack: float, softmax: float) -> RunReport:
        layers = [
            LayerReport("", False, seconds=pack),
            LayerReport("conv", True, cycles=70),
            LayerReport("softmax", False, seconds=softmax),
        ]
        return RunReport({}, 75, layers, [], [], {}, 1.0)

    runs = [report(1, 31), report(90, 25), report(3, 10), report(80, 80), report(2, 20)]
    found = cost_of(runs)
    assert (found.cycles, found.layers, found.host) == (75, {"conv": 70}, {"": 2, "softmax": 20})
    assert found.host_seconds == 22
    assert cost_of(runs[:1]).host == {"": 1, "softmax": 31}


def test_who_cannot_take_part_is_missing_with_the_reason_on_one_line() -> None:
    refuses, good = FakeRival("b", refusal=RivalError("no\n  such thing")), FakeRival("d")

    def absent(case: object) -> None:
        raise RivalError("not installed")

    said: list[str] = []
    candidates = [
        Candidate("A", absent),
        Candidate("B", lambda case: refuses),
        Candidate("C", lambda case: None),
        Candidate("D", lambda case: good),
    ]
    with entered(NO_CASE, candidates, said.append) as (rivals, missing):
        assert rivals == [good]
        assert missing == [Missing("A", "not installed"), Missing("B", "no such thing")]
        assert not good.closed
    assert said == ["preparing A", "preparing B", "preparing C", "preparing D"]
    assert refuses.closed
    assert good.closed


def test_all_are_closed_when_measuring_is_broken_off() -> None:
    rivals = [FakeRival("a"), FakeRival("b")]
    candidates = [Candidate(one.key, lambda case, one=one: one) for one in rivals]

    def interrupt() -> None:
        with entered(NO_CASE, candidates):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert all(one.closed for one in rivals)


def test_a_bug_in_a_rival_is_no_absence() -> None:
    broken = FakeRival("a", refusal=KeyError("x"))

    def enter() -> None:
        with entered(NO_CASE, [Candidate("A", lambda case: broken)]):
            pass

    with pytest.raises(KeyError):
        enter()


def test_our_own_code_stands_before_the_others() -> None:
    assert [one.title for one in CANDIDATES] == [
        "LLVM",
        "LLVM, float32",
        "CUDA",
        "CUDA, float32",
        "ONNX Runtime",
        "ONNX Runtime, int8",
        "OpenVINO",
        "OpenVINO, int8",
    ]
