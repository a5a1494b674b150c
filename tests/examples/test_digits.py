"""The digits: gradients that are right, files that train.py made, accuracy that they have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import train
from convnet import Conv, Dense, Flatten, Layer, MaxPool, Relu, learn, predict
from onnx import numpy_helper
from quantize import Activations, Scheme, quantize

HERE = Path(train.__file__).parent
Run = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def data() -> train.Data:
    pytest.importorskip("sklearn")
    return train.load()


@pytest.fixture(scope="module")
def test_set() -> train.Data:
    with np.load(HERE / "test.npz") as arrays:
        return train.Data(arrays["images"], arrays["labels"])


@pytest.fixture(scope="module")
def calibration() -> dict[str, np.ndarray]:
    with np.load(HERE / "calibration.npz") as arrays:
        return dict(arrays)


def accuracy(scores: np.ndarray, data: train.Data) -> float:
    return float(np.mean(scores.argmax(axis=1) == data.labels))


def test_gradients_are_those_of_finite_differences() -> None:
    random = np.random.default_rng(0)
    layers: list[Layer] = [
        Conv(random, 2, 3, kernel=3, pad=1),
        Relu(),
        MaxPool(),
        Conv(random, 3, 4, kernel=3, pad=0),
        Relu(),
        Flatten(),
        Dense(random, 4 * 2 * 2, 5),
    ]
    # In doubles, so that a step can be smaller than the distance to the next kink.
    for layer in layers:
        if isinstance(layer, Conv | Dense):
            layer.use([parameter.astype(np.float64) for parameter in layer.parameters])
    x, labels = random.standard_normal((6, 2, 8, 8)), random.integers(0, 5, 6)
    learn(layers, x, labels)
    gradients = [gradient.copy() for layer in layers for gradient in layer.gradients]
    parameters = [parameter for layer in layers for parameter in layer.parameters]
    assert len(parameters) == 6
    for parameter, gradient in zip(parameters, gradients, strict=True):
        for index in random.integers(0, parameter.size, 10):
            losses = []
            for step in (1e-6, -2e-6):
                parameter.flat[index] += step
                losses.append(learn(layers, x, labels))
            parameter.flat[index] += 1e-6
            slope = (losses[0] - losses[1]) / 2e-6
            assert slope == pytest.approx(gradient.flat[index], rel=1e-4, abs=1e-7)


def test_the_exported_network_computes_what_was_trained(run: Run) -> None:
    random = np.random.default_rng(1)
    network = train.build(random)
    images = random.random((5, 1, 8, 8)).astype(np.float32)
    expected = predict(list(network.values()), images)
    np.testing.assert_allclose(
        run(train.export(network), {"image": images})["scores"], expected, rtol=1e-4, atol=1e-5
    )


def test_the_committed_network_is_the_one_train_builds() -> None:
    built = train.export(train.build(np.random.default_rng(0))).graph
    committed = onnx.load(HERE / "digits.onnx").graph
    assert list(committed.node) == list(built.node)
    assert list(committed.input) == list(built.input)
    assert list(committed.output) == list(built.output)
    shapes = [(tensor.name, tuple(tensor.dims)) for tensor in committed.initializer]
    assert shapes == [(tensor.name, tuple(tensor.dims)) for tensor in built.initializer]
    assert all(np.isfinite(numpy_helper.to_array(tensor)).all() for tensor in committed.initializer)


def test_the_held_back_images_are_those_that_training_leaves_out(
    data: train.Data, test_set: train.Data, calibration: dict[str, np.ndarray]
) -> None:
    test, training = train.split(data, np.random.default_rng(0))
    np.testing.assert_array_equal(test_set.images, test.images)
    np.testing.assert_array_equal(test_set.labels, test.labels)
    np.testing.assert_array_equal(calibration["image"], training.images[: train.CALIBRATION])
    assert len(test) + len(training) == len(data) == 1797
    assert (test_set.images.dtype, test_set.images.shape) == (np.float32, (450, 1, 8, 8))


def test_the_committed_network_reads_98_percent_of_held_back_digits(
    test_set: train.Data, run: Run
) -> None:
    model = onnx.load(HERE / "digits.onnx")
    assert accuracy(run(model, {"image": test_set.images})["scores"], test_set) >= 0.98


def test_the_quantized_network_is_what_quantize_makes_and_loses_at_most_one_percent(
    test_set: train.Data, calibration: dict[str, np.ndarray], run: Run
) -> None:
    model, quantized = (onnx.load(HERE / name) for name in ("digits.onnx", "digits_int8.onnx"))
    samples = {"image": test_set.images}
    again = quantize(model, calibration, Scheme(Activations.INT8))
    assert [node.op_type for node in quantized.graph.node] == [
        node.op_type for node in again.graph.node
    ]
    scores, made = run(quantized, samples)["scores"], run(again, samples)["scores"]
    assert np.mean(scores.argmax(axis=1) == made.argmax(axis=1)) >= 0.99
    assert accuracy(scores, test_set) >= accuracy(run(model, samples)["scores"], test_set) - 0.01


def test_training_writes_its_files_and_learns(
    tmp_path: Path, data: train.Data, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--out", str(tmp_path), "--epochs", "2"]) == 0
    names = ["calibration.npz", "digits.onnx", "test.npz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert "on 450 held-back images" in capsys.readouterr().out
    test, _ = train.split(data, np.random.default_rng(0))
    scores = run(onnx.load(tmp_path / "digits.onnx"), {"image": test.images})["scores"]
    assert accuracy(scores, test) > 0.85
    for name in names[::2]:  # not the bytes, which depend on the compressor's version
        with np.load(tmp_path / name) as written, np.load(HERE / name) as committed:
            assert sorted(written) == sorted(committed)
            for key in written:
                np.testing.assert_array_equal(written[key], committed[key])


@pytest.mark.slow
def test_a_full_training_reaches_the_committed_accuracy(
    tmp_path: Path, test_set: train.Data, run: Run
) -> None:
    pytest.importorskip("sklearn")
    assert train.main(["--out", str(tmp_path)]) == 0
    samples = {"image": test_set.images}
    committed = run(onnx.load(HERE / "digits.onnx"), samples)["scores"]
    trained = run(onnx.load(tmp_path / "digits.onnx"), samples)["scores"]
    assert accuracy(trained, test_set) >= 0.98
    assert np.mean(trained.argmax(axis=1) == committed.argmax(axis=1)) >= 0.98


def test_a_missing_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["--out", "no/such/folder"]) == 2
    assert capsys.readouterr().err == "train.py: there is no folder no/such/folder\n"
