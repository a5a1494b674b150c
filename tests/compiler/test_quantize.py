"""Quantization of float graphs: close to float, integers throughout, no overflow, deterministic."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.graph import DType, Graph, GraphError, Node, Value
from vtakit.compiler.importers.onnx_model import read
from vtakit.compiler.ops.elementwise import Add, Cast, Maximum, Minimum, Mul
from vtakit.compiler.ops.linear import Conv2d, Dense
from vtakit.compiler.ops.pool import MaxPool2d, SumPool2d
from vtakit.compiler.ops.quantize import DequantizeLinear, QuantizeLinear
from vtakit.compiler.passes.fold import fold
from vtakit.compiler.passes.quantize import quantize, random_samples
from vtakit.compiler.passes.quantize_calibrate import BINS, Calibration, Histogram
from vtakit.compiler.reference import evaluate, outputs

from .onnx_models import ModelBuilder
from .random_networks import float_networks

Make = Callable[[ModelBuilder, str], str]
SHAPE = (1, 4, 8, 8)


def relative_error(graph: Graph, integers: Graph, samples: int = 4) -> float:
    """Return the root mean square error of the outputs over that of the outputs themselves."""
    wrong, whole = 0.0, 0.0
    for inputs in random_samples(graph, samples, 77):
        expected, actual = outputs(graph, inputs), outputs(integers, inputs)
        assert list(expected) == list(actual)
        for name, array in expected.items():
            assert actual[name].dtype == array.dtype
            wrong += float(np.square(actual[name] - array.astype(np.float64)).sum())
            whole += float(np.square(array.astype(np.float64)).sum())
    return (wrong / max(whole, 1e-30)) ** 0.5


def quantized(
    tmp_path: Path, make: Make, shape: tuple[int, ...] = SHAPE, seed: int = 0
) -> tuple[Graph, Graph]:
    """Return a network as float and as integers."""
    net = ModelBuilder(seed)
    y = make(net, net.input("x", shape))
    graph = fold(read(net.save(tmp_path / "net.onnx", y)))
    return graph, quantize(graph, random_samples(graph, 16, 5)).verify()


def kinds(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]


def float_nodes(graph: Graph) -> list[Node]:
    """Return the nodes that compute in float: all but quantization itself."""
    return [
        node
        for node in graph.nodes
        if node.output.dtype is DType.FLOAT32 and not isinstance(node.op, DequantizeLinear)
    ]


def _residual(net: ModelBuilder, x: str) -> str:
    y = net.add("Relu", net.batch_norm(net.conv(x, 4, 4), 4))
    return net.add("Relu", net.add("Add", net.batch_norm(net.conv(y, 4, 4), 4), x))


def _downsampled(net: ModelBuilder, x: str) -> str:
    y = net.conv(net.add("Relu", net.conv(x, 4, 6, strides=[2, 2])), 6, 6)
    shortcut = net.conv(x, 4, 6, 1, strides=[2, 2])
    return net.add("Relu", net.add("Add", y, shortcut))


def _inverted(net: ModelBuilder, x: str) -> str:
    six = net.weight(np.float32(6))
    zero = net.weight(np.float32(0))
    y = net.add("Clip", net.batch_norm(net.conv(x, 4, 12, 1), 12), zero, six)
    y = net.add("Clip", net.conv(y, 12, 12, group=12), zero, six)
    return net.add("Add", net.conv(y, 12, 4, 1), x)


def _head(net: ModelBuilder, x: str) -> str:
    y = net.add("GlobalAveragePool", net.add("Relu", net.conv(x, 4, 16)))
    return net.dense(net.add("Flatten", y), 16, 10)


def _excited(net: ModelBuilder, x: str) -> str:
    y = net.add("Relu", net.conv(x, 4, 8))
    gate = net.add("HardSigmoid", net.conv(net.add("GlobalAveragePool", y), 8, 8, 1))
    return net.add("Mul", y, gate)


def _dense_block(net: ModelBuilder, x: str) -> str:
    y = net.add("Concat", x, net.add("Relu", net.conv(x, 4, 4)), axis=1)
    y = net.add("Concat", y, net.add("Relu", net.conv(y, 8, 4)), axis=1)
    return net.conv(y, 12, 5)


def _preactivated(net: ModelBuilder, x: str) -> str:
    y = net.conv(net.add("Relu", net.batch_norm(x, 4)), 4, 4)
    return net.add("Add", net.conv(net.add("Relu", net.batch_norm(y, 4)), 4, 4), x)


def _average(net: ModelBuilder, x: str) -> str:
    y = net.conv(x, 4, 4)
    return net.add("AveragePool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


def _flat(net: ModelBuilder, x: str) -> str:
    y = net.add("MaxPool", net.add("Relu", net.conv(x, 4, 8)), kernel_shape=[2, 2], strides=[2, 2])
    y = net.add("Relu", net.dense(net.add("Flatten", y), 128, 20))
    return net.add("MatMul", y, net.normal(20, 5, spread=0.3))


INTEGER: dict[str, tuple[Make, float]] = {
    "convolution": (lambda net, x: net.conv(x, 4, 6), 0.02),
    "strided": (lambda net, x: net.conv(x, 4, 6, 5, strides=[2, 3], pads=[1, 2, 0, 1]), 0.02),
    "dilated": (lambda net, x: net.conv(x, 4, 6, dilations=[2, 2]), 0.02),
    "grouped": (lambda net, x: net.conv(x, 4, 6, group=2), 0.02),
    "residual": (_residual, 0.02),
    "downsampled": (_downsampled, 0.03),
    "inverted residual": (_inverted, 0.03),
    "head": (_head, 0.03),
    "excited": (_excited, 0.03),
    "dense block": (_dense_block, 0.03),
    "preactivated": (_preactivated, 0.04),
    "padded average": (_average, 0.03),
    "flattened": (_flat, 0.03),
    "two inputs of one": (lambda net, x: net.add("Add", x, x), 0.01),
    "difference": (lambda net, x: net.add("Sub", net.conv(x, 4, 4), x), 0.02),
    "difference from it": (lambda net, x: net.add("Sub", x, net.conv(x, 4, 4)), 0.02),
    "product": (lambda net, x: net.add("Mul", net.conv(x, 4, 4), x), 0.03),
    "square": (lambda net, x: net.add("Mul", x, x), 0.03),
    "leaky": (lambda net, x: net.add("LeakyRelu", net.conv(x, 4, 4), alpha=0.1), 0.02),
    "affine of negative factor": (
        lambda net, x: net.add("Add", net.add("Mul", x, net.normal(4, 1, 1)), net.normal(4, 1, 1)),
        0.02,
    ),
    "padded with a number": (
        lambda net, x: net.conv(
            net.add("Pad", net.conv(x, 4, 4), net.weight(np.asarray([0, 0, 1, 1] * 2)),
                    net.weight(np.float32(0.7))), 4, 4),
        0.03,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", INTEGER)
def test_layers_become_integers_close_to_float(name: str, tmp_path: Path) -> None:
    make, tolerance = INTEGER[name]
    graph, integers = quantized(tmp_path, make)
    assert not float_nodes(integers)
    assert relative_error(graph, integers) < tolerance


FLOAT_INSIDE: dict[str, tuple[Make, set[str]]] = {
    "softmax": (lambda net, x: net.add("Softmax", _head(net, x)), {"Softmax"}),
    "gate": (
        lambda net, x: net.conv(
            net.add("Mul", y := net.conv(x, 4, 4), net.add("Sigmoid", y)), 4, 3),
        {"Unary", "Mul"},
    ),
    "products of tensors": (
        lambda net, x: net.conv(net.add("MatMul", net.conv(x, 4, 4), x), 4, 3), {"MatMul"}
    ),
    "division by a tensor": (
        lambda net, x: net.add("Div", net.conv(x, 4, 4), net.add("Exp", x)), {"Unary", "Div"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOAT_INSIDE)
def test_an_operator_without_integer_form_runs_in_float(name: str, tmp_path: Path) -> None:
    make, expected = FLOAT_INSIDE[name]
    graph, integers = quantized(tmp_path, make)
    assert {type(node.op).__name__ for node in float_nodes(integers)} == expected
    assert any(isinstance(node.op, Conv2d | Dense) for node in integers.nodes)
    assert relative_error(graph, integers) < 0.06


def test_a_residual_block_is_two_chains_without_rounding_between(tmp_path: Path) -> None:
    """Convolution and addition are one chain, and Relu is its lower bound."""
    _, integers = quantized(tmp_path, _residual)
    by_layer: dict[str, list[str]] = {}
    for node in integers.nodes:
        by_layer.setdefault(node.layer, []).append(type(node.op).__name__)
    assert list(by_layer) == ["x", "conv0", "conv3", "relu6"]
    assert by_layer["x"] == ["QuantizeLinear"]
    assert by_layer["conv0"][0] == by_layer["conv3"][0] == "Conv2d"
    assert by_layer["conv3"].count("Cast") == 2  # the residual's, and the last
    assert by_layer["conv3"][-3:] == ["Maximum", "Minimum", "Cast"]
    assert by_layer["relu6"] == ["DequantizeLinear"]
    low = next(
        integers.constants[node.inputs[1]]
        for node in integers.nodes
        if node.layer == "conv3" and isinstance(node.op, Maximum)
    )
    assert low == 0


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.3, 0.9])
def test_a_leaky_relu_is_part_of_the_layer_before_it(alpha: float, tmp_path: Path) -> None:
    """And no less exact: what is below zero is rounded twice, once at a finer scale."""
    graph, integers = quantized(
        tmp_path, lambda net, x: net.add("LeakyRelu", net.conv(x, 4, 8), alpha=alpha)
    )
    kinds = [type(node.op).__name__ for node in integers.nodes]
    assert kinds.count("Cast") == 1, "int8 is made once"
    assert not float_nodes(integers)
    _, plain = quantized(tmp_path, lambda net, x: net.conv(x, 4, 8))
    assert len(integers.nodes) <= len(plain.nodes) + 4  # multiply, round, shift, choose
    assert relative_error(graph, integers) < 0.02


@pytest.mark.parametrize("alpha", [0.0, -0.5, 1.0, 2.0, 0.001])
def test_other_slopes_are_right_as_well(alpha: float, tmp_path: Path) -> None:
    graph, integers = quantized(
        tmp_path, lambda net, x: net.add("LeakyRelu", net.conv(x, 4, 8), alpha=alpha)
    )
    assert relative_error(graph, integers) < 0.03


def test_moving_data_keeps_the_quantization(tmp_path: Path) -> None:
    _, integers = quantized(tmp_path, _dense_block)
    for node in integers.nodes:
        if isinstance(node.op, MaxPool2d) or type(node.op).__name__ == "Concat":
            assert {value.dtype for value in (*node.inputs, node.output)} == {DType.INT8}


def test_constants_are_scalars_or_along_channels(tmp_path: Path) -> None:
    for make in (_residual, _flat, _head):
        _, integers = quantized(tmp_path, make)
        for node in integers.nodes:
            if not isinstance(node.op, Add | Mul | Maximum | Minimum):
                continue
            for value in node.inputs:
                if value in integers.constants:
                    along = node.output.shape[1:2] + (1,) * (len(node.output.shape) - 2)
                    assert value.shape in ((), along), str(node)


def test_quantization_is_deterministic(tmp_path: Path) -> None:
    first, second = (quantized(tmp_path, _residual)[1] for _ in range(2))
    assert str(first) == str(second)
    pairs = zip(first.constants.values(), second.constants.values(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def wide(node: Node, values: dict[Value, np.ndarray]) -> np.ndarray:
    """Return a node's result from 64-bit integers, exact: sums go through float64."""
    arrays = [values[value] for value in node.inputs]
    match node.op:
        case Conv2d() | Dense() | SumPool2d():
            exact = [array.astype(np.float64) for array in arrays]
            return node.op.evaluate(*exact)[0].astype(np.int64)
        case Cast():
            return arrays[0].astype(np.int64)
        case _:
            return node.op.evaluate(*(array.astype(np.int64) for array in arrays))[0]


def check_no_overflow(integers: Graph, seed: int) -> None:
    """On inputs at the extremes of int8, 64-bit arithmetic gives what 32-bit arithmetic gives."""
    rng = np.random.default_rng(seed)
    values: dict[Value, np.ndarray] = dict(integers.constants)
    for value in integers.inputs:
        values[value] = np.zeros(value.shape, value.dtype.numpy)
    for node in integers.nodes:
        if isinstance(node.op, QuantizeLinear):
            choice = rng.choice(np.asarray([-128, 127, 0], np.int8), node.output.shape)
            values[node.output] = (
                choice if seed % 3 else np.full_like(choice, (-128, 127)[seed % 2])
            )
        elif node.output.dtype in (DType.INT8, DType.INT32):
            exact = wide(node, values)
            (values[node.output],) = node.op.evaluate(*(values[value] for value in node.inputs))
            np.testing.assert_array_equal(values[node.output], exact, err_msg=str(node))
        else:
            (values[node.output],) = node.op.evaluate(*(values[value] for value in node.inputs))


@settings(max_examples=40, deadline=None)
@given(float_networks(), st.integers(0, 5))
def test_random_networks_are_close_to_float_and_never_overflow(graph: Graph, seed: int) -> None:
    samples = random_samples(graph, 4, 1)
    folded = fold(graph)
    integers = quantize(folded, samples)
    assert not float_nodes(integers)
    check_no_overflow(integers, seed)
    wrong = whole = 0.0
    for inputs in samples:  # those it was calibrated on: others may be clipped
        expected, actual = outputs(graph, inputs), outputs(integers, inputs)
        for name, array in expected.items():
            wrong += float(np.square(array - actual[name]).mean())
            whole += float(np.square(array).max())
    assert wrong <= 0.06**2 * whole + 1e-12


@pytest.mark.parametrize("name", ["convolution", "residual", "inverted residual", "flattened"])
def test_networks_never_overflow(name: str, tmp_path: Path) -> None:
    _, integers = quantized(tmp_path, INTEGER[name][0])
    for seed in range(6):
        check_no_overflow(integers, seed)


def _extreme(net: ModelBuilder, x: str) -> str:
    """Filters of zeros, tiny ones with a huge bias, huge ones, all in one layer."""
    w = net.random.standard_normal((6, 4, 3, 3)).astype(np.float32)
    w *= np.asarray([0, 1e-12, 1e-3, 1, 1e3, 0], np.float32).reshape(-1, 1, 1, 1)
    b = np.asarray([3e3, 5e3, -0.5, 0, 100, 0], np.float32)
    return net.add("Conv", x, net.weight(w), net.weight(b), pads=[1, 1, 1, 1])


def test_layers_of_any_range_are_quantized(tmp_path: Path) -> None:
    graph, integers = quantized(tmp_path, _extreme)
    assert not float_nodes(integers)
    assert relative_error(graph, integers) < 0.02
    for seed in range(6):
        check_no_overflow(integers, seed)


def test_a_network_that_is_zero_stays_zero(tmp_path: Path) -> None:
    def zeros(net: ModelBuilder, x: str) -> str:
        return net.add("Relu", net.add("Conv", x, net.weight(np.zeros((3, 4, 1, 1), np.float32))))

    graph, integers = quantized(tmp_path, zeros)
    inputs = random_samples(graph, 1, 0)[0]
    for array in outputs(integers, inputs).values():
        assert not array.any()


def test_an_average_in_padding_has_an_integer_form(tmp_path: Path) -> None:
    _, integers = quantized(tmp_path, _average)
    assert "SumPool2d" in kinds(integers)


def test_calibration_needs_samples_of_the_inputs(tmp_path: Path) -> None:
    net = ModelBuilder()
    y = net.conv(net.input("x", SHAPE), 4, 2)
    graph = read(net.save(tmp_path / "net.onnx", y))
    with pytest.raises(GraphError, match="net cannot be quantized without samples"):
        quantize(graph, [])
    with pytest.raises(GraphError, match="input x is missing"):
        quantize(graph, [{}])


def test_outliers_are_clipped_where_that_lessens_the_error() -> None:
    histogram = Histogram()
    values = np.random.default_rng(0).standard_normal(100_000)
    histogram.add(values)
    histogram.add(np.asarray([12.0]))
    assert histogram.scale(Calibration.MAX) == pytest.approx(12 / 127)
    scale = histogram.scale(Calibration.MSE)

    def error(scale: float) -> float:
        return float(np.square(np.rint(values / scale).clip(-127, 127) * scale - values).sum())

    assert scale < 0.7 * 12 / 127
    assert error(scale) < error(12 / 127)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_histogram_counts_everything_in_any_order(magnitudes: list[float]) -> None:
    one, parts = Histogram(), Histogram()
    one.add(np.asarray(magnitudes))
    for value in magnitudes:
        part = Histogram()
        part.add(np.asarray([value, np.nan, np.inf]))
        parts.merge(part)
    assert one.counts.sum() == parts.counts.sum() == len(magnitudes)
    assert one.largest == parts.largest == max(magnitudes)
    assert round(one.largest / one.width) < BINS
    assert one.scale(Calibration.MAX) >= max(magnitudes) / 127


def test_both_calibrations_give_small_errors(tmp_path: Path) -> None:
    graph, _ = quantized(tmp_path, _flat)
    samples = random_samples(graph, 16, 5)
    for method in Calibration:
        assert relative_error(graph, quantize(graph, samples, calibration=method)) < 0.04


def test_every_layer_is_compared_with_float_at_its_own_scale(tmp_path: Path) -> None:
    """Each int8 value, dequantized, is within a few steps of the float value of its name."""
    graph, integers = quantized(tmp_path, _flat)
    inputs = random_samples(graph, 1, 9)[0]
    real = {value.name: array for value, array in evaluate(graph, inputs).items()}
    compared = 0
    for value, array in evaluate(integers, inputs).items():
        expected = real.get(value.name.removesuffix(".int8"))
        if value.dtype is DType.INT8 and expected is not None and value.name.endswith("out.int8"):
            steps = array.astype(np.float64)
            scale = float((steps * expected).sum() / np.square(steps).sum())
            assert np.abs(steps * scale - expected).max() < 6 * scale, value.name
            compared += 1
    assert compared >= 5


def test_few_values_leave_room_for_greater_ones() -> None:
    few, many = Histogram(), Histogram()
    few.add(np.asarray([1.0, -1.0, 0.9]))
    many.add(np.resize(np.asarray([1.0, -1.0, 0.9]), 600))
    assert few.scale(Calibration.MAX) > 3.8 / 127
    assert many.scale(Calibration.MAX) == 1 / 127
