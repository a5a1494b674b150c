"""compiler.network: a model file to the integers that are compiled, and its samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtakit.compiler.builder import GraphBuilder
from vtakit.compiler.graph import DType, Graph, GraphError
from vtakit.compiler.importers.onnx_node import ModelError
from vtakit.compiler.network import RANDOM_SAMPLES, load_network, split_samples
from vtakit.compiler.ops.elementwise import Maximum
from vtakit.compiler.ops.quantize import QuantizeLinear

onnx = pytest.importorskip("onnx")


def inputs(*shapes: tuple[int, ...], dtype: DType = DType.FLOAT32) -> Graph:
    builder = GraphBuilder("inputs")
    zero = builder.constant(np.zeros((), dtype.numpy), "zero")
    given = [builder.input(f"x{i}", shape, dtype) for i, shape in enumerate(shapes)]
    return builder.build([builder.add(Maximum(), x, zero, layer="relu") for x in given])


def test_samples_are_cut_into_the_shapes_of_the_inputs() -> None:
    graph = inputs((2, 3), (1, 4))
    one, other = np.arange(15.0).reshape(5, 3), np.arange(16).reshape(4, 4)
    samples = split_samples(graph, {"x0": one, "x1": other, "label": np.arange(5)})
    assert len(samples) == 2, "what is left over of the first input, and of the second, is not used"
    for index, sample in enumerate(samples):
        np.testing.assert_array_equal(sample["x0"], one[2 * index : 2 * index + 2])
        np.testing.assert_array_equal(sample["x1"], other[index : index + 1])
        assert {array.dtype for array in sample.values()} == {np.dtype(np.float32)}


def test_samples_of_a_number_are_stacked_too() -> None:
    samples = split_samples(inputs(()), {"x0": np.array([1, 2, 3])})
    assert [sample["x0"].shape for sample in samples] == [(), (), ()]
    assert [float(sample["x0"]) for sample in samples] == [1, 2, 3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "calibration samples of input 'x0' are missing; what is given has no array"),
        (
            {"images": np.zeros((5, 3))},
            "calibration samples of input 'x0' are missing; what is given has images",
        ),
        (
            {"x0": np.zeros((5, 4))},
            "calibration samples of input 'x0' are float64 (5, 4); they must be numbers "
            "(samples, 3), 2 or more of them",
        ),
        (
            {"x0": np.zeros((1, 3))},
            "calibration samples of input 'x0' are float64 (1, 3); they must be numbers "
            "(samples, 3), 2 or more of them",
        ),
        (
            {"x0": np.full((2, 3), "a")},
            "calibration samples of input 'x0' are <U1 (2, 3); they must be numbers "
            "(samples, 3), 2 or more of them",
        ),
        (
            {"x0": np.full((2, 3), np.nan)},
            "calibration samples of input 'x0' hold a NaN or an infinity; give finite numbers",
        ),
        (
            {"x0": np.full((2, 3), 1e200)},
            "calibration samples of input 'x0' hold a NaN or an infinity; give finite numbers",
        ),
    ],
)
def test_samples_that_do_not_fit_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError) as error:
        split_samples(inputs((2, 3)), given)
    assert str(error.value) == message


def convolution(path: Path) -> Path:
    """Write a float model of one convolution whose batch is open."""
    helper = onnx.helper
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1, 1, 1, 1])],
        "conv",
        [helper.make_tensor_value_info("x", 1, ["N", 3, 6, 6])],
        [helper.make_tensor_value_info("y", 1, ["N", 4, 6, 6])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def types(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]


def scales(graph: Graph) -> list[float]:
    (node,) = (node for node in graph.nodes if isinstance(node.op, QuantizeLinear))
    return graph.constants[node.inputs[1]].ravel().tolist()


def test_a_float_model_becomes_integers_between_its_own_input_and_output(tmp_path: Path) -> None:
    network = load_network(convolution(tmp_path / "c.onnx"), batch=2)
    assert network.was_float
    assert [value.name for value in network.integers.inputs] == ["x"]
    assert network.integers.inputs[0].shape == (2, 3, 6, 6)
    assert types(network.integers)[0] == "QuantizeLinear"
    assert types(network.integers)[-1] == "DequantizeLinear"
    assert "Conv2d" in types(network.source)


def test_calibration_sets_the_scale_and_a_seed_stands_in_for_it(tmp_path: Path) -> None:
    path = convolution(tmp_path / "c.onnx")
    samples = {"x": np.linspace(-5, 2, 8 * 3 * 36, dtype=np.float32).reshape(8, 3, 6, 6)}
    given = load_network(path, batch=1, calibration=samples).integers
    assert scales(given) == pytest.approx([5 / 127], rel=1e-2)
    seeds = [scales(load_network(path, batch=1, seed=seed).integers) for seed in (3, 3, 4)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert RANDOM_SAMPLES > 1


def test_an_open_batch_needs_a_number(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"c\.onnx: input x is \(N, 3, 6, 6\).*give a batch"):
        load_network(convolution(tmp_path / "c.onnx"))
