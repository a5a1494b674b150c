"""Quantization by ONNX Runtime: close to float, the same on every CPU, reproducible."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import zoo
from files import ExampleError
from onnx import TensorProto, numpy_helper
from quantize import DEFAULT, Activations, Scheme, main, quantize

Run = Callable[..., dict[str, np.ndarray]]

SCHEMES = [
    DEFAULT,
    Scheme(Activations.INT8),
    Scheme(per_channel=False),
    Scheme(Activations.INT8, per_channel=False),
]


def weights_and_scales(model: onnx.ModelProto) -> list[tuple[np.ndarray, np.ndarray]]:
    """Quantized weights and their scales, of every layer that has some."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {output: node for node in model.graph.node for output in node.output}
    found = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            quantized, scale, zero = (constants[name] for name in producers[node.input[1]].input)
            assert quantized.data_type == TensorProto.INT8
            assert not numpy_helper.to_array(zero).any()
            found.append((numpy_helper.to_array(quantized), numpy_helper.to_array(scale)))
    return found


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        *((name, scheme) for name in ("lenet5", "mlp", "resnet8") for scheme in SCHEMES),
        ("resnet18", DEFAULT),
        ("mobilenetv2", DEFAULT),
    ],
)
def test_quantized_networks_agree_with_float(name: str, scheme: Scheme, run: Run) -> None:
    model = zoo.build(name)
    quantized = quantize(model, zoo.samples(name, 4), scheme)
    onnx.checker.check_model(quantized)
    unseen = zoo.samples(name, 4, seed=7)
    expected, got = run(model, unseen)["output"], run(quantized, unseen)["output"]
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(got, axis=1)
    assert ((expected * got).sum(axis=1) / lengths > 0.95).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_decides_types_and_scales(scheme: Scheme) -> None:
    model = quantize(zoo.build("lenet5"), zoo.samples("lenet5", 2), scheme)
    for weights, scale in weights_and_scales(model):
        assert np.abs(weights.astype(int)).max() <= 64
        assert scale.size == (len(weights) if scheme.per_channel else 1)
    constants = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    activations = {
        constants[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"
    }
    int8 = scheme.activations is Activations.INT8
    assert activations == {TensorProto.INT8 if int8 else TensorProto.UINT8}


def test_full_range_uses_all_eight_bits_of_the_weights() -> None:
    model = quantize(zoo.build("mlp"), zoo.samples("mlp", 2), Scheme(full_range=True))
    assert all(np.abs(weights.astype(int)).max() == 127 for weights, _ in weights_and_scales(model))


def test_onnx_runtime_is_exact_with_seven_bit_weights() -> None:
    ort = pytest.importorskip("onnxruntime")
    model = quantize(zoo.build("lenet5"), zoo.samples("lenet5", 4)).SerializeToString()
    results = []
    for precise in "01":
        options = ort.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", precise)
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        pictures = zoo.samples("lenet5", 6, seed=9)["input"]
        results.append([session.run(None, {"input": picture[None]})[0] for picture in pictures])
    np.testing.assert_array_equal(*results)


def test_quantizing_twice_gives_the_same_model_and_leaves_the_float_one_alone() -> None:
    model = zoo.build("resnet8")
    before = model.SerializeToString(deterministic=True)
    first, second = (quantize(model, zoo.samples("resnet8", 2)) for _ in range(2))
    assert first == second
    assert model.SerializeToString(deterministic=True) == before


def test_the_zoo_command_quantizes_with_the_pictures_it_can_write(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    arguments = ["lenet5", "-o", str(path), "--quantized", "--count", "3", "--seed", "1"]
    assert zoo.main([*arguments, "--per-tensor", "--activations", "int8"]) == 0
    scheme = Scheme(Activations.INT8, per_channel=False)
    assert onnx.load(path) == quantize(zoo.build("lenet5", 1), zoo.samples("lenet5", 3, 1), scheme)


def test_the_command_quantizes_a_file(tmp_path: Path) -> None:
    model, samples, quantized = (tmp_path / name for name in ("m.onnx", "s.npz", "q.onnx"))
    zoo.main(["mlp", "-o", str(model), "--samples", str(samples), "--count", "2"])
    assert main([str(model), "-c", str(samples), "-o", str(quantized)]) == 0
    assert onnx.load(quantized) == quantize(zoo.build("mlp"), zoo.samples("mlp", 2))


def test_files_that_cannot_be_read_end_with_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, samples, quantized = (tmp_path / name for name in ("m.onnx", "s.npz", "q.onnx"))
    zoo.main(["mlp", "-o", str(model), "--samples", str(samples)])
    single_array = io.BytesIO()
    np.save(single_array, np.zeros((2, 784), np.float32))
    good_model, good_samples = model.read_bytes(), samples.read_bytes()
    for bad_model, bad_samples in [
        (b"not a model", good_samples),
        (good_model[: len(good_model) // 2], good_samples),
        (good_model, b"not an archive"),
        (good_model, good_samples[: len(good_samples) // 2]),
        (good_model, b"\x93NUMPY\x01\x00"),
        (good_model, single_array.getvalue()),
    ]:
        model.write_bytes(bad_model)
        samples.write_bytes(bad_samples)
        assert main([str(model), "-c", str(samples), "-o", str(quantized)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("quantize.py: cannot read "), error
        assert error.count("\n") == 1
        assert not quantized.exists()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({}, "samples are called nothing; the model's inputs are input"),
        ({"x": np.zeros((2, 784), np.float32)}, "samples are called x; the model's inputs are inp"),
        ({"input": np.zeros((2, 28, 28), np.float32)}, "the model takes .1, 784."),
        ({"input": np.zeros((0, 784), np.float32)}, "need at least one"),
    ],
)
def test_samples_that_do_not_fit_are_refused(samples: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ExampleError, match=message):
        quantize(zoo.build("mlp"), samples)


def test_a_missing_onnx_runtime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)
    with pytest.raises(ExampleError, match="pip install onnxruntime"):
        quantize(zoo.build("mlp"), zoo.samples("mlp", 1))
