"""Folding: the graph computes the same with fewer nodes, and each rule does what it says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from vtakit.compiler.graph import DType, Graph, Value
from vtakit.compiler.importers.onnx_model import read
from vtakit.compiler.ops.pool import MaxPool2d
from vtakit.compiler.passes.fold import along_channels, fold
from vtakit.compiler.passes.quantize import random_samples
from vtakit.compiler.reference import outputs

from .onnx_models import ModelBuilder
from .random_networks import float_networks

Make = Callable[[ModelBuilder, str], str]


def kinds(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]


def check_same(graph: Graph, folded: Graph) -> None:
    """The outputs, names included, are the same up to the order of float operations."""
    inputs = random_samples(graph, 1, 3)[0]
    before, after = outputs(graph, inputs), outputs(folded, inputs)
    assert list(before) == list(after)
    for name, array in before.items():
        scale = max(float(np.abs(array).max()), 1.0)
        np.testing.assert_allclose(after[name], array, rtol=1e-4, atol=1e-5 * scale)


def number(net: ModelBuilder, *values: float) -> str:
    return net.weight(np.asarray(values, np.float32).reshape(-1, 1, 1))


def _pad(net: ModelBuilder, x: str, value: float = 0.0) -> str:
    pads = net.weight(np.asarray([0, 0, 1, 2, 0, 0, 1, 0], np.int64))
    return net.add("Pad", x, pads, net.weight(np.float32(value)))


def _shapes(net: ModelBuilder, x: str, *shapes: list[int]) -> str:
    for shape in shapes:
        x = net.add("Reshape", x, net.weight(np.asarray(shape, np.int64)))
    return x


RULES: dict[str, tuple[Make, list[str]]] = {
    "batch normalisation": (
        lambda net, x: net.batch_norm(net.conv(x, 4, 6), 6), ["Conv2d", "Add"]
    ),
    "batch normalisation without bias": (
        lambda net, x: net.batch_norm(net.add("Conv", x, net.normal(6, 4, 1, 1)), 6),
        ["Conv2d", "Add"],
    ),
    "batch normalisation of groups": (
        lambda net, x: net.batch_norm(net.conv(x, 4, 6, group=2), 6), ["Conv2d", "Add"]
    ),
    "batch normalisation alone": (lambda net, x: net.batch_norm(x, 4), ["Mul", "Add"]),
    "scaled input": (
        lambda net, x: net.conv(net.add("Mul", x, number(net, 1, 2, 3, 4)), 4, 2),
        ["Conv2d", "Add"],
    ),
    "scaled input of groups stays": (
        lambda net, x: net.conv(net.add("Mul", x, number(net, 1, 2, 3, 4)), 4, 2, group=2),
        ["Mul", "Conv2d", "Add"],
    ),
    "dense layer scaled": (
        lambda net, x: net.add("Mul", net.dense(_shapes(net, x, [1, 144]), 144, 3),
                               net.weight(np.asarray([1, 2, 3], np.float32))),
        ["Reshape", "Dense", "Add"],
    ),
    "identities": (
        lambda net, x: net.add("Add", net.add("Mul", net.add("Identity", net.add("Dropout", x)),
                                              number(net, 1)), number(net, 0)),
        ["Reshape"],  # the output has another name than the input
    ),
    "sums": (
        lambda net, x: net.add("Sub", net.add("Add", x, number(net, 3)), number(net, 1, 2, 3, 4)),
        ["Add"],
    ),
    "products": (
        lambda net, x: net.add("Div", net.add("Mul", x, number(net, 3)), number(net, 1, 2, 3, 4)),
        ["Mul"],
    ),
    "constant first": (
        lambda net, x: net.add("Add", number(net, 1), net.add("Add", x, number(net, 2))), ["Add"]
    ),
    "padding": (
        lambda net, x: net.add("Conv", _pad(net, x), net.normal(2, 4, 3, 3)), ["Conv2d"]
    ),
    "padding with ones stays": (
        lambda net, x: net.add("Conv", _pad(net, x, 1), net.normal(2, 4, 3, 3)), ["Pad", "Conv2d"]
    ),
    "padding of an average": (
        lambda net, x: net.add("AveragePool", _pad(net, x), kernel_shape=[3, 3]),
        ["SumPool2d", "Mul"],
    ),
    "padding of a maximum": (
        lambda net, x: net.add("MaxPool", _pad(net, net.add("Relu", x)), kernel_shape=[3, 3]),
        ["Maximum", "MaxPool2d"],
    ),
    "padding of a maximum of anything stays": (
        lambda net, x: net.add("MaxPool", _pad(net, x), kernel_shape=[3, 3]), ["Pad", "MaxPool2d"]
    ),
    "windows in the padding stay": (
        lambda net, x: net.add("MaxPool", _pad(net, net.add("Relu", x)), kernel_shape=[1, 1]),
        ["Maximum", "Pad", "MaxPool2d"],
    ),
    "rectified maximum": (
        lambda net, x: net.add("Relu", net.add("MaxPool", net.conv(x, 4, 2), kernel_shape=[2, 2])),
        ["Conv2d", "Add", "Maximum", "MaxPool2d"],
    ),
    "shapes": (lambda net, x: _shapes(net, x, [4, 36], [36, 4], [2, 72]), ["Reshape"]),
    "sequences are images": (
        lambda net, x: net.add(
            "Relu", net.batch_norm(net.add("Conv", _shapes(net, x, [4, 4, 9]),
                                           net.normal(6, 4, 3), net.normal(6)), 6)),
        ["Reshape", "Conv2d", "Add", "Maximum", "Reshape"],
    ),
    "reshaped otherwise stays": (
        lambda net, x: net.add("Relu", _shapes(net, x, [4, 36])), ["Reshape", "Maximum"]
    ),
    "transposes": (
        lambda net, x: net.add("Transpose", net.add("Transpose", x, perm=[0, 2, 3, 1]),
                               perm=[0, 3, 1, 2]),
        ["Reshape"],
    ),
    "the same twice": (
        lambda net, x: net.add("Mul", net.add("Sigmoid", x), net.add("Sigmoid", x)),
        ["Unary", "Mul"],
    ),
    "shared sum stays": (
        lambda net, x: net.add("Mul", net.add("Mul", a := net.add("Add", x, number(net, 1)),
                                              number(net, 2)), a),
        ["Add", "Mul", "Mul"],
    ),
    "growing sum stays": (
        lambda net, x: net.add("Add", net.add("GlobalAveragePool", x), net.normal(1, 1, 3, 3)),
        ["SumPool2d", "Mul", "Add"],
    ),
    "integer sums stay": (
        lambda net, x: net.add("Cast", net.add("Add", net.add("Cast", x, to=6),
                                               net.weight(np.int32(3))), to=1),
        ["Cast", "Add", "Cast"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str, tmp_path: Path) -> None:
    make, expected = RULES[rule]
    net = ModelBuilder()
    y = make(net, net.input("x", (1, 4, 6, 6)))
    graph = read(net.save(tmp_path / "net.onnx", y))
    folded = fold(graph)
    assert kinds(folded) == expected
    check_same(graph, folded)
    assert kinds(fold(folded)) == expected


def test_a_merged_padding_is_that_of_the_pad(tmp_path: Path) -> None:
    net = ModelBuilder()
    x = net.add("Relu", net.input("x", (1, 4, 6, 6)))
    y = net.add("MaxPool", _pad(net, x), kernel_shape=[3, 3], strides=[2, 2])
    folded = fold(read(net.save(tmp_path / "net.onnx", y)))
    assert folded.nodes[-1].op == MaxPool2d((3, 3), (2, 2), (1, 2, 1, 0))


def test_what_others_read_is_not_taken_in(tmp_path: Path) -> None:
    net = ModelBuilder()
    a = net.conv(net.input("x", (1, 4, 6, 6)), 4, 6)
    y = net.batch_norm(a, 6)
    graph = read(net.save(tmp_path / "net.onnx", y, a))
    folded = fold(graph)
    assert kinds(folded) == ["Conv2d", "Add", "Mul", "Add"]
    check_same(graph, folded)


def test_quantized_constants_stay(tmp_path: Path) -> None:
    net = ModelBuilder()
    scale = net.weight(np.float32(0.1))
    w = net.add("DequantizeLinear", net.weight(np.ones((2, 4, 1, 1), np.int8)), scale)
    y = net.add("Conv", net.input("x", (1, 4, 6, 6)), w)
    assert kinds(fold(read(net.save(tmp_path / "n.onnx", y)))) == ["DequantizeLinear", "Conv2d"]


@settings(max_examples=40, deadline=None)
@given(float_networks())
def test_random_networks_compute_the_same(graph: Graph) -> None:
    folded = fold(graph)
    assert len(folded.nodes) <= len(graph.nodes)
    check_same(graph, folded)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), 1), ((1, 1), 1), ((4, 1, 1), 4), ((1, 4, 1, 1), 4), ((6,), None), ((2, 1, 1, 1), None)],
)
def test_constants_along_channels(shape: tuple[int, ...], expected: int | None) -> None:
    along = along_channels(np.ones(shape), Value("x", (2, 4, 6, 6), DType.FLOAT32))
    assert (None if along is None else along.size) == expected
