"""cli.rivals.native: our own code for the CPU, in integers and in float."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtakit.cli.rivals import native as module
from vtakit.cli.rivals.cpus import pinned, usable
from vtakit.cli.rivals.native import Native, layer_seconds, native, native_float, opened
from vtakit.cli.rivals.rival import Case, RivalError
from vtakit.compiler.cpu.cache import cached_native
from vtakit.compiler.network import load_network
from vtakit.compiler.passes.quantize import random_samples
from vtakit.compiler.reference import outputs
from vtakit.runtime.native.errors import NativeError

pytest.importorskip("onnx")

ROOT = Path(__file__).parents[3]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
QUANTIZED = ROOT / "examples" / "digits" / "digits_int8.onnx"
LAYERS = ("image", "conv1", "conv2", "pool1", "conv3", "pool2", "dense")
THREADS = [count for count in (1, 2) if count <= max(1, len(usable()))]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMED_SECONDS", 0.0)


def case_of(model: Path, threads: int = 1) -> Case:
    network = load_network(model)
    inputs = random_samples(network.source, 1, 3)[0]
    return Case(model, network, LAYERS, inputs, [], threads, usable()[:threads])


@contextmanager
def prepared(rival: Any) -> Iterator[Native]:
    assert isinstance(rival, Native)
    try:
        rival.prepare()
        yield rival
    finally:
        rival.close()


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("model", [DIGITS, QUANTIZED], ids=["float", "quantized"])
def test_integers_are_those_of_the_reference_however_often_they_run(
    model: Path, threads: int
) -> None:
    case = case_of(model, threads)
    with prepared(native(case)) as rival, pinned(case.cpus[:1]):
        assert (rival.key, rival.arithmetic, rival.exact, rival.ours) == (
            "llvm", "int8", True, True,
        )  # fmt: skip
        for _ in range(3):
            assert rival.run() > 0
        for name, array in outputs(case.network.integers, case.inputs).items():
            np.testing.assert_array_equal(rival.outputs()[name], array)


def test_a_float_model_is_run_in_float_as_well() -> None:
    case = case_of(DIGITS)
    with prepared(native_float(case)) as rival:
        assert (rival.key, rival.arithmetic, rival.exact, rival.ours) == (
            "llvm-float32", "float32", False, True,
        )  # fmt: skip
        rival.run()
        for name, array in outputs(case.network.source, case.inputs).items():
            np.testing.assert_allclose(rival.outputs()[name], array, rtol=1e-5, atol=1e-5)


def test_a_model_that_is_int8_has_no_float() -> None:
    assert native_float(case_of(QUANTIZED)) is None


def test_layers_are_those_of_the_network_and_timing_them_leaves_results_alone() -> None:
    case = case_of(DIGITS)
    with prepared(native(case)) as rival:
        before = rival.outputs()
        layers = rival.layers()
        assert set(layers) == {*LAYERS, ""}
        assert all(seconds > 0 for name, seconds in layers.items() if name.startswith("conv"))
        np.testing.assert_array_equal(rival.outputs()["scores"], before["scores"])


def test_steps_of_one_layer_are_added_up_by_their_medians(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Steps:
        """Two steps of layer a with one of b between; the first run only warms up."""

        class program:
            layers = ("a", "b", "a")

        def __init__(self) -> None:
            self.runs = iter([(90, 90, 90), *[(1, 2, 3)] * 3, (3, 4, 5), (100, 2, 3)])

        def execute(self, *, timed: bool) -> None:
            assert timed
            self.times = np.array(next(self.runs), np.uint64)

    monkeypatch.setattr(module, "TIMED_RUNS", 5)
    clock = iter(range(100))
    monkeypatch.setattr(module, "perf_counter", lambda: float(next(clock)))
    session: Any = Steps()
    cycle = 5 / (3 * 6 + 12 + 105)
    assert layer_seconds(session) == pytest.approx({"a": 4 * cycle, "b": 2 * cycle})


@pytest.mark.skipif(len(usable()) < 2, reason="needs two CPUs")
def test_threads_stay_on_the_cpus_of_the_case_where_the_caller_is_pinned() -> None:
    case = case_of(DIGITS)
    program = cached_native(case.network.integers)
    cpus = usable()[:2]
    with pinned(cpus[:1]), opened(program, 2, cpus) as session:
        session.run(case.inputs)
        assert sorted(session.team._crew.cpus) == sorted(cpus)
        assert session.team._crew.cpus[0] == cpus[0]


def test_where_native_code_cannot_be_loaded_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise NativeError("native code cannot be loaded on sparc")

    monkeypatch.setattr(module, "opened", refuse)
    rival = native(case_of(QUANTIZED))
    with pytest.raises(RivalError, match="cannot be loaded on sparc"):
        rival.prepare()
    rival.close()
