"""cli.rivals.openvino: a rival with the fastest of its settings, and its time by layer."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from vtakit.cli.rivals import openvino, trial
from vtakit.cli.rivals.cpus import usable
from vtakit.cli.rivals.openvino import OpenVino, openvino_as_given, openvino_quantized, owner_of
from vtakit.cli.rivals.ort_int8 import quantize
from vtakit.cli.rivals.rival import OTHER, RivalError

from .test_onnx_runtime import DIGITS, LAYERS, QUANTIZED, ROOT, case_of, expected

ov = pytest.importorskip("openvino")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TRY_SECONDS", 0.0)
    monkeypatch.setattr(trial, "TURN_WARM_SECONDS", 0.0)
    monkeypatch.setattr(trial, "quieten", lambda: None)
    monkeypatch.setattr(openvino, "PROFILE_SECONDS", 0.0)


@pytest.mark.parametrize(
    ("model", "arithmetic"), [(DIGITS, "float32"), (QUANTIZED, "int8")], ids=["float", "int8"]
)
def test_the_model_as_given_gives_what_onnx_runtime_gives(model: Path, arithmetic: str) -> None:
    case = case_of(model)
    rival = openvino_as_given(case)
    rival.prepare()
    assert (rival.key, rival.arithmetic, rival.exact, rival.ours) == (
        "openvino", arithmetic, False, False,
    )  # fmt: skip
    assert rival.name == f"OpenVINO {ov.__version__.partition('-')[0]}"
    assert rival.run() > 0
    for name, array in expected(case).items():
        found = rival.outputs()[name]
        if arithmetic == "float32":
            np.testing.assert_allclose(found, array, rtol=1e-4, atol=1e-4)
        else:
            cosine = float((found * array).sum() / np.linalg.norm(found) / np.linalg.norm(array))
            assert cosine > 0.999
    layers = rival.layers()
    assert {"conv1", "conv2", "conv3", "dense"} <= set(layers) <= {*LAYERS, OTHER}
    assert layers["conv2"] > 0
    rival.close()


RIVAL = """
from pathlib import Path
from vtakit.cli.rivals.cpus import pinned, usable
from vtakit.cli.rivals.openvino import OpenVino
from vtakit.cli.rivals.rival import Case
from vtakit.compiler.network import load_network
from vtakit.compiler.passes.quantize import random_samples

path = Path({path!r})
network = load_network(path)
(inputs,) = random_samples(network.source, 1, 0)
cpus = usable()[:{threads}]
case = Case(path, network, (), inputs, (), {threads}, cpus)
rival = OpenVino("openvino", case, path, "float32")
with pinned(cpus[:1]):
    rival.prepare()
"""

SETTINGS = """
compiled = rival._request.get_compiled_model()
print(compiled.get_property("INFERENCE_NUM_THREADS"))
print(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
print(rival.detail["threads"], rival.detail["streams"], rival.detail["floats"])
"""

SIGNALS = """
import signal
another = OpenVino("another", case, path, "float32")
another.prepare()
for each in (rival, another):
    each.layers()
    each.close()
signal.signal(signal.SIGTERM, lambda number, frame: print(signal.Signals(number).name))
signal.raise_signal(signal.SIGTERM)
"""


def in_its_own_process(code: str, threads: int = 1) -> list[str]:
    """Run code after RIVAL; return the lines it prints. OpenVINO finds out its CPUs once."""
    ran = subprocess.run(
        [sys.executable, "-c", RIVAL.format(path=str(DIGITS), threads=threads) + code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / ".root")},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.splitlines()


@pytest.mark.parametrize("threads", [count for count in (1, 2) if count <= max(1, len(usable()))])
def test_it_computes_in_float32_with_the_threads_it_is_given(threads: int) -> None:
    found = in_its_own_process(SETTINGS, threads)
    assert found == [str(threads), "f32", f"{threads} 1 float32"]


def test_signals_are_handled_when_rivals_have_come_and_gone() -> None:
    assert in_its_own_process(SIGNALS) == ["SIGTERM"]


@pytest.mark.parametrize("signed", [False, True])
def test_it_runs_the_int8_network_that_onnx_runtime_made(signed: bool) -> None:
    case = case_of(DIGITS)
    if signed:
        rival = OpenVino("openvino-int8", case, lambda: quantize(case, signed=True), "int8")
    else:
        made = openvino_quantized(case)
        assert isinstance(made, OpenVino)
        rival = made
    rival.prepare()
    rival.run()
    assert rival.arithmetic == "int8"
    for name, array in expected(case).items():
        found = rival.outputs()[name]
        assert (found != array).any(), "eight bits are not exact"
        cosine = float((found * array).sum() / np.linalg.norm(found) / np.linalg.norm(array))
        assert cosine > 0.999
    kinds = {
        str(node.get_rt_info()["runtimePrecision"].astype(str))
        for node in rival._request.get_compiled_model().get_runtime_model().get_ordered_ops()
        if str(node.get_rt_info()["layerType"].astype(str)) == "Convolution"
    }
    assert kinds <= {"u8", "i8"}, "convolutions are in integers"


def test_a_quantized_model_needs_no_other_version() -> None:
    assert openvino_quantized(case_of(QUANTIZED)) is None


def test_without_openvino_both_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of(DIGITS)
    monkeypatch.setitem(sys.modules, "openvino", None)  # pyright: ignore[reportArgumentType]
    for make in (openvino_as_given, openvino_quantized):
        with pytest.raises(RivalError, match="not installed: pip install openvino"):
            make(case)


def test_a_model_that_it_cannot_run_is_named(tmp_path: Path) -> None:
    case = case_of(DIGITS)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(RivalError, match=r"OpenVINO could not run .*digits\.onnx: "):
        OpenVino("openvino", case, broken, "float32").prepare()


@pytest.mark.parametrize(("names", "layer"), [
    (["conv1/WithoutBiases", "Multiply_8", "conv1"], "conv1"),
    (["Multiply_8", "dense"], "dense"),
    (["conv1_abcd_acdb_dense"], OTHER),
    ([], OTHER),
])  # fmt: skip
def test_an_operator_belongs_to_the_first_layer_in_it(names: list[str], layer: str) -> None:
    assert owner_of(names, {"conv1": "conv1", "dense": "dense"}) == layer
