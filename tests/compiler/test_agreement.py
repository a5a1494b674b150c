"""Whole networks quantized by `quantize_static`: outputs are those of ONNX Runtime's int8 kernels.

ONNX Runtime runs int8 activations in float where one is read more than once, unless the session
allows it its int8 kernels: so such networks are compared with both uint8 and, asked for, int8.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import zoo
from quantize import Activations, Scheme, quantize
from vtakit.compiler.build import build_module
from vtakit.compiler.check import check_run
from vtakit.compiler.network import Network, load_network, split_samples
from vtakit.compiler.reference import outputs
from vtakit.isa.config import load_config
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.session import Session

SCHEMES = {
    "uint8, per channel": Scheme(Activations.UINT8, True),
    "uint8, per tensor": Scheme(Activations.UINT8, False),
    "int8, per channel": Scheme(Activations.INT8, True),
    "int8, per tensor": Scheme(Activations.INT8, False),
}
RESIDUAL = ("resnet8", "resnet18", "mobilenetv2")
CASES = [
    *((name, scheme, 30) for name in ("mlp", "lenet5", "resnet8") for scheme in SCHEMES),
    *(
        pytest.param(name, scheme, count, marks=pytest.mark.slow)
        for name, count in (("resnet18", 4), ("mobilenetv2", 4))
        for scheme in SCHEMES
    ),
]


def quantized(name: str, scheme: str, folder: Path) -> Path:
    path = folder / f"{name}.onnx"
    samples = zoo.samples(name, zoo.CALIBRATION_SAMPLES)
    onnx.save(quantize(zoo.build(name), samples, SCHEMES[scheme]), path)
    return path


def int8_session(path: Path, allowed: bool) -> ort.InferenceSession:
    """A session with default optimizations; `allowed` are kernels for int8 activations."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if allowed:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def differing(network: Network) -> float:
    """Return the share of sums whose results are known to differ; 1 where a layer has no kernel."""
    known = [item.differing for item in network.agreements if item.differing is not None]
    if len(known) < len(network.agreements):
        return 1.0
    return sum(known) / sum(item.sums for item in network.agreements)


@pytest.mark.parametrize(("name", "scheme", "count"), CASES)
def test_outputs_are_those_of_int8_kernels(
    name: str, scheme: str, count: int, tmp_path: Path
) -> None:
    path = quantized(name, scheme, tmp_path)
    network = load_network(path)
    assert differing(network) < 1e-8
    session = int8_session(path, scheme.startswith("int8") and name in RESIDUAL)
    (value,) = network.integers.outputs
    equal: list[np.ndarray] = []
    for inputs in split_samples(network.source, zoo.samples(name, count, seed=1)):
        (theirs,) = session.run(None, dict(inputs))
        ours = outputs(network.integers, inputs)[value.name]
        equal.append(ours == theirs)
        assert ours.argmax() == np.asarray(theirs).argmax()
    assert np.concatenate(equal).mean() >= 0.999


@pytest.mark.parametrize("name", ["lenet5", "resnet8"])
def test_what_runs_on_vta_is_what_was_compared(name: str, tmp_path: Path) -> None:
    """Chains of several factors, additions and averages, on the simulated machine."""
    network = load_network(quantized(name, "int8, per channel", tmp_path))
    config = load_config("default")
    compiled = build_module(network.integers, config, keep=True, measured=1)
    (inputs,) = split_samples(network.source, zoo.samples(name, 1, seed=3))
    with open_device("sim", config) as device, Session(compiled.module, device) as session:
        check = check_run(compiled, session, session.run(inputs), inputs)
    assert check.equal
    assert check.compared >= 5
