"""The zoo: networks that are valid, reproducible, and worth running."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import zoo
from files import ExampleError

NAMES = sorted(zoo.NETWORKS)
LARGE = {"mobilenetv2", "resnet18"}
LARGEST = {"mobilenetv1", "resnet34", "resnet50", "squeezenet", "unet", "yolo-tiny"}
EVERY = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LARGEST else []) for name in NAMES],
)
Run = Callable[..., dict[str, np.ndarray]]


def outputs_of_every_layer(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose every value is an output."""
    copy = onnx.shape_inference.infer_shapes(model)
    copy.graph.output.extend(copy.graph.value_info)
    return copy


@pytest.mark.parametrize("seed", [0, 1])
@EVERY
def test_activations_stay_in_range_and_alive(name: str, seed: int, run: Run) -> None:
    model = zoo.build(name, seed)
    count = 3 if name in LARGE | LARGEST else 24
    values = run(outputs_of_every_layer(model), zoo.samples(name, count, seed))
    for node in model.graph.node:
        value = values[node.output[0]]
        assert np.isfinite(value).all(), node.name
        if node.op_type != "Softmax":
            assert 0.05 < value.std() < 20, (node.name, value.std())
        if node.op_type in ("Relu", "Clip"):
            assert 0.2 < np.mean(value > 0) < 0.99, node.name
            alive = (value > 0).any(axis=tuple(i for i in range(value.ndim) if i != 1))
            assert alive.mean() > 0.9, node.name


@EVERY
def test_results_depend_on_the_picture(name: str, run: Run) -> None:
    scores = run(zoo.build(name), zoo.samples(name, 12))["output"]
    scores = scores.reshape(len(scores), -1)
    assert scores.std(axis=0).mean() > 0.01 * scores.std()
    if scores.shape[1] > 2:
        assert len({tuple(row.argsort()) for row in scores}) > 1, "the order of the results differs"


@EVERY
def test_a_seed_gives_the_same_bytes_and_another_seed_does_not(name: str) -> None:
    first = zoo.build(name, 3).SerializeToString(deterministic=True)
    assert first == zoo.build(name, 3).SerializeToString(deterministic=True)
    assert first != zoo.build(name, 4).SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("name", "parameters", "layers"),
    [
        # torchvision.models: 11,689,512 and 3,504,872 learned parameters.
        ("resnet18", 11_689_512, {"Conv": 20, "BatchNormalization": 20, "Add": 8, "Gemm": 1}),
        ("mobilenetv2", 3_504_872, {"Conv": 52, "BatchNormalization": 52, "Add": 10, "Gemm": 1}),
        ("resnet34", 21_797_672, {"Conv": 36, "BatchNormalization": 36, "Add": 16, "Gemm": 1}),
        ("resnet50", 25_557_032, {"Conv": 53, "BatchNormalization": 53, "Add": 16, "Gemm": 1}),
        ("squeezenet", 1_235_496, {"Conv": 26, "MaxPool": 3, "Concat": 8}),
        # Howard et al., table 8: 4.2 million.
        ("mobilenetv1", 4_231_976, {"Conv": 27, "BatchNormalization": 27, "Gemm": 1}),
        # pytorch/examples: 3,576,704; darknet's file of weights has 8,858,734, statistics included.
        ("dcgan", 3_576_704, {"ConvTranspose": 5, "BatchNormalization": 4, "Tanh": 1}),
        ("yolo-tiny", 8_858_734 - 2 * 3_184, {"Conv": 13, "LeakyRelu": 11, "Resize": 1}),
        ("unet", 7_763_074, {"Conv": 19, "ConvTranspose": 4, "Concat": 4}),
        # mlcommons/tiny, of Keras: 24,908, 221,794 and 269,992 with running statistics.
        ("ds-cnn", 24_908 - 1_152, {"Conv": 9, "BatchNormalization": 9}),
        ("mobilenetv1-0.25", 221_794 - 5_472, {"Conv": 27, "BatchNormalization": 27}),
        ("autoencoder", 269_992 - 2_064, {"Gemm": 10, "BatchNormalization": 9}),
        # mlcommons/tiny: Keras counts 78,666, of which 480 are running statistics.
        ("resnet8", 78_666 - 480, {"Conv": 9, "BatchNormalization": 7, "Add": 3, "Softmax": 1}),
        ("lenet5", 61_706, {"Conv": 2, "AveragePool": 2, "Gemm": 3}),
        ("mlp", 235_146, {"Gemm": 3}),
    ],
)
def test_networks_have_the_published_number_of_layers_and_parameters(
    name: str, parameters: int, layers: dict[str, int]
) -> None:
    graph = zoo.build(name).graph
    other = ("running", "scales")
    learned = [
        w for w in graph.initializer if w.dims and not w.name.split(".")[-1].startswith(other)
    ]
    assert sum(int(np.prod(weight.dims)) for weight in learned) == parameters
    counts = Counter(node.op_type for node in graph.node)
    assert {op: counts[op] for op in layers} == layers


def test_pictures_are_normalised_smooth_and_seeded() -> None:
    (pictures,) = zoo.samples("resnet8", 5, seed=2).values()
    assert pictures.shape == (5, 3, 32, 32)
    assert pictures.dtype == np.float32
    np.testing.assert_allclose(pictures.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(pictures.std(axis=(1, 2, 3)), 1, atol=1e-5)
    assert np.mean(pictures[..., 1:] * pictures[..., :-1]) > 0.6
    np.testing.assert_array_equal(pictures, zoo.samples("resnet8", 5, seed=2)["input"])
    assert not np.array_equal(pictures, zoo.samples("resnet8", 5, seed=3)["input"])


def test_the_command_writes_the_network_and_its_samples(tmp_path: Path) -> None:
    model, samples = tmp_path / "net.onnx", tmp_path / "samples.npz"
    arguments = ["mlp", "-o", str(model), "--seed", "5", "--samples", str(samples), "--count", "3"]
    assert zoo.main(arguments) == 0
    assert onnx.load(model) == zoo.build("mlp", 5)
    with np.load(samples) as arrays:
        np.testing.assert_array_equal(arrays["input"], zoo.samples("mlp", 3, 5)["input"])
    assert sorted(tmp_path.iterdir()) == [model, samples]
    before = samples.read_bytes()
    assert zoo.main(arguments) == 0
    assert samples.read_bytes() == before


def test_the_command_lists_its_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo.main(["--list"]) == 0
    assert capsys.readouterr().out.split() == NAMES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["resnet19", "-o", "x.onnx"],
            "no network is called 'resnet19'; there are autoencoder, dcgan",
        ),
        (["mlp"], "give a NAME and -o FILE.onnx"),
        (["mlp", "-o", "no/such/folder/x.onnx"], "there is no folder no/such/folder"),
        (["mlp", "-o", "x.onnx", "--count", "0"], "the count is at least 1"),
    ],
)
def test_bad_arguments_end_with_one_line_and_status_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert zoo.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_unknown_network_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ExampleError, match="no network is called 'vgg'; there are .*resnet18"):
        zoo.build("vgg")
