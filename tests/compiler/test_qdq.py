"""Models quantized by ONNX Runtime: integer graphs whose results are ONNX Runtime's own.

ONNX Runtime's u8s8 kernels saturate at 16 bits on CPUs without VNNI; `run_onnx` asks for exact ones
(`session.x64quantprecision`), so that 8-bit weights are compared as well as 7-bit ones.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from vtakit.compiler.graph import DType, Graph
from vtakit.compiler.importers.onnx_model import read
from vtakit.compiler.ops.linear import Conv2d, Dense
from vtakit.compiler.ops.quantize import DequantizeLinear, QuantizeLinear
from vtakit.compiler.passes.fold import fold
from vtakit.compiler.passes.qdq import from_qdq, is_quantized
from vtakit.compiler.reference import evaluate, outputs

from .onnx_models import ModelBuilder, run_onnx

Make = Callable[[ModelBuilder, str], str]
INT8, UINT8 = QuantType.QInt8, QuantType.QUInt8
SCHEMES: dict[str, dict[str, Any]] = {
    "uint8, per channel": {"activation_type": UINT8, "weight_type": INT8, "per_channel": True},
    "int8, per channel": {"activation_type": INT8, "weight_type": INT8, "per_channel": True},
    "int8, per tensor": {"activation_type": INT8, "weight_type": INT8},
    "uint8, 7 bits": {"activation_type": UINT8, "weight_type": INT8, "reduce_range": True},
    "uint8 weights": {"activation_type": UINT8, "weight_type": UINT8},
    "symmetric": {
        "activation_type": INT8, "weight_type": INT8,
        "extra_options": {"ActivationSymmetric": True},
    },
}  # fmt: skip


class Samples(CalibrationDataReader):
    def __init__(self, shape: tuple[int, ...]):
        rng = np.random.default_rng(1)
        self.samples = iter({"x": rng.standard_normal(shape, np.float32)} for _ in range(16))

    def get_next(self) -> Any:
        return next(self.samples, None)


def quantized(
    folder: Path,
    make: Make,
    shape: tuple[int, ...],
    scheme: str,
    seed: int = 0,
    form: QuantFormat = QuantFormat.QDQ,
) -> Path:
    """Return the quantized model of a network, as `quantize_static` writes it."""
    net = ModelBuilder(seed)
    net.save(folder / "float.onnx", make(net, net.input("x", shape)))
    path = folder / f"{form.name}.onnx"
    quantize_static(
        str(folder / "float.onnx"), str(path), Samples(shape), quant_format=form,
        **SCHEMES[scheme],
    )  # fmt: skip
    return path


def last_place(path: Path) -> float:
    """Return the scale of the model's output."""
    model = onnx.load(path)
    scales = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    node = next(n for n in model.graph.node if n.output[0] == model.graph.output[0].name)
    return float(scales[node.input[1]])


def _images(net: ModelBuilder, x: str) -> str:
    y = net.add("Relu", net.conv(x, 3, 8))
    y = net.add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = net.add("Relu", net.conv(y, 8, 12))
    y = net.add("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    y = net.add("Relu", net.dense(net.add("Flatten", y), 12 * 9, 24))
    return net.dense(y, 24, 10)


def _residual(net: ModelBuilder, x: str) -> str:
    y = net.add("Relu", net.conv(x, 3, 8))
    z = net.conv(net.add("Relu", net.conv(y, 8, 8, strides=[2, 2])), 8, 8)
    y = net.add("Relu", net.add("Add", z, net.conv(y, 8, 8, 1, strides=[2, 2])))
    return net.dense(net.add("Flatten", net.add("GlobalAveragePool", y)), 8, 10)


def _mobile(net: ModelBuilder, x: str) -> str:
    zero, six = net.weight(np.float32(0)), net.weight(np.float32(6))
    y = net.add("Clip", net.conv(x, 3, 12, strides=[2, 2]), zero, six)
    y = net.add("Clip", net.conv(y, 12, 12, group=12), zero, six)
    y = net.conv(y, 12, 12, 1)
    return net.dense(net.add("Flatten", net.add("GlobalAveragePool", y)), 12, 10)


def _perceptron(net: ModelBuilder, x: str) -> str:
    y = net.add("Relu", net.dense(x, 100, 64))
    y = net.add("Relu", net.add("MatMul", y, net.normal(64, 32, spread=0.2)))
    return net.dense(y, 32, 10)


def _transposed(net: ModelBuilder, x: str) -> str:
    y = net.add("Relu", net.conv(x, 3, 8, strides=[2, 2]))
    weights, bias = net.normal(8, 6, 4, 4, spread=0.2), net.normal(6)
    y = net.add("ConvTranspose", y, weights, bias, strides=[2, 2], pads=[1, 1, 1, 1])
    y = net.add("Relu", net.conv(net.add("Relu", y), 6, 4, strides=[3, 3]))
    return net.dense(net.add("Flatten", y), 64, 10)


def _sequence(net: ModelBuilder, x: str) -> str:
    y = net.add("Relu", net.add("Conv", x, net.normal(8, 3, 5), net.normal(8), pads=[2, 2]))
    y = net.add("Relu", net.add("Conv", y, net.normal(8, 8, 3), net.normal(8), pads=[1, 1]))
    y = net.add("MaxPool", y, kernel_shape=[2], strides=[2])
    weights, bias = net.normal(8, 4, 4), net.normal(4)
    y = net.add("Relu", net.add("ConvTranspose", y, weights, bias, strides=[2], pads=[1, 1]))
    return net.dense(net.add("Flatten", y), 96, 10)


IMAGE = (1, 3, 12, 12)
NETWORKS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "images": (_images, IMAGE),
    "residual": (_residual, IMAGE),
    "mobile": (_mobile, IMAGE),
    "perceptron": (_perceptron, (1, 100)),
    "transposed": (_transposed, IMAGE),
    "sequence": (_sequence, (1, 3, 24)),
}


def integer_nodes(graph: Graph) -> bool:
    """Whether nothing but quantization itself is in float."""
    return all(
        node.output.dtype is not DType.FLOAT32 or isinstance(node.op, DequantizeLinear)
        for node in graph.nodes
    )


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["images", "residual", "mobile", "perceptron"])
def test_both_forms_of_a_quantized_network_become_the_same_integers(
    name: str, scheme: str, tmp_path: Path
) -> None:
    make, shape = NETWORKS[name]  # QOperator leaves transposed convolutions in float
    rng = np.random.default_rng(2)
    samples = [{"x": rng.standard_normal(shape, np.float32)} for _ in range(8)]
    graphs: list[Graph] = []
    for form in (QuantFormat.QDQ, QuantFormat.QOperator):
        path = quantized(tmp_path, make, shape, scheme, form=form)
        graphs.append(from_qdq(fold(read(path)))[0].verify())
    first, second = graphs
    if scheme != "symmetric":  # of which QOperator leaves Relu, and what moves, to float
        kinds = [sorted(type(node.op).__name__ for node in graph.nodes) for graph in graphs]
        assert kinds[0] == kinds[1]
    for x in samples:
        (ours,), (theirs,) = outputs(first, x).values(), outputs(second, x).values()
        np.testing.assert_array_equal(ours, theirs)


def _activations(net: ModelBuilder, x: str) -> str:
    y = net.add("LeakyRelu", net.conv(x, 3, 8), alpha=0.1)
    z = net.add("Sigmoid", net.conv(y, 8, 8))
    y = net.add("Concat", net.add("Add", net.add("Mul", y, z), y), z, axis=1)
    y = net.add("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = net.dense(net.add("Flatten", net.add("GlobalAveragePool", y)), 16, 10)
    return net.add("Softmax", y, axis=-1)


def test_every_layer_that_is_quantized_as_one_operator_is_onnx_runtimes(tmp_path: Path) -> None:
    scheme = "uint8, per channel"
    path = quantized(tmp_path, _activations, IMAGE, scheme, form=QuantFormat.QOperator)
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert {
        "QLinearConv", "QLinearLeakyRelu", "QLinearSigmoid", "QLinearMul", "QLinearAdd",
        "QLinearConcat", "QLinearAveragePool", "QLinearGlobalAveragePool", "QGemm",
        "QLinearSoftmax",
    } <= kinds  # fmt: skip
    graph = from_qdq(fold(read(path)))[0].verify()
    unit = last_place(path)
    rng = np.random.default_rng(2)
    for _ in range(20):
        x = {"x": rng.standard_normal(IMAGE, np.float32)}
        (theirs,) = run_onnx(path, x)
        (ours,) = outputs(graph, x).values()
        assert np.abs(ours - theirs).max() <= 1.001 * unit


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_onnx_runtimes(name: str, scheme: str, tmp_path: Path) -> None:
    """At most one unit of the last place apart, and the same class, in 60 pictures."""
    make, shape = NETWORKS[name]
    path = quantized(tmp_path, make, shape, scheme)
    graph = fold(read(path))
    assert is_quantized(graph)
    integers = from_qdq(graph)[0].verify()
    assert integer_nodes(integers)
    assert sum(isinstance(node.op, DequantizeLinear) for node in integers.nodes) == 1
    rng = np.random.default_rng(2)
    (out,) = integers.outputs
    unit = last_place(path)
    apart: list[np.ndarray] = []
    for _ in range(60):
        x = {"x": rng.standard_normal(shape, np.float32)}
        (theirs,) = run_onnx(path, x)
        ours = outputs(integers, x)[out.name]
        apart.append(np.rint(np.abs(ours - theirs) / unit))
        top = np.sort(theirs[0])
        if top[-1] - top[-2] > 1.5 * unit:
            assert ours.argmax() == theirs.argmax()
    distances = np.concatenate(apart)
    assert (distances <= 1).mean() >= 0.999
    assert (distances == 0).mean() >= 0.97


@pytest.mark.parametrize("scheme", ["uint8, per channel", "int8, per tensor"])
def test_every_layer_alone_is_onnx_runtimes(scheme: str, tmp_path: Path) -> None:
    """Given ONNX Runtime's own int8 inputs, nearly every element of a layer is the same."""
    path = quantized(tmp_path, _residual, IMAGE, scheme)
    integers = from_qdq(fold(read(path)))[0]
    model = onnx.load(path)
    quantizers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    for node in quantizers:
        model.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    x = {"x": np.random.default_rng(5).standard_normal(IMAGE, np.float32)}
    arrays = run_onnx(model, x, fused=False)[1:]
    shift = 128 if arrays[0].dtype == np.uint8 else 0
    theirs = {
        f"{node.input[0]}.int8": (array.astype(np.int16) - shift).astype(np.int8)
        for node, array in zip(quantizers, arrays, strict=True)
    }
    values: dict[Any, np.ndarray] = {**integers.constants, integers.inputs[0]: x["x"]}
    same = total = 0
    for node in integers.nodes:
        (array,) = node.op.evaluate(*(values[value] for value in node.inputs))
        expected = theirs.get(node.output.name)
        if expected is not None:
            assert np.abs(array.astype(int) - expected).max() <= 1, node.layer
            same, total = same + int((array == expected).sum()), total + array.size
            array = expected
        values[node.output] = array
    assert total > 2000
    assert same >= 0.998 * total


def test_averages_round_halves_as_onnx_runtime_does(tmp_path: Path) -> None:
    """A quarter of all averages of four integers of one scale lie half way between two."""

    def make(net: ModelBuilder, x: str) -> str:
        y = net.add("Relu", net.conv(x, 3, 8, 1))
        return net.add("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])

    path = quantized(tmp_path, make, (1, 3, 32, 32), "uint8, per channel")
    integers = from_qdq(fold(read(path)))[0]
    x = {"x": np.random.default_rng(5).standard_normal((1, 3, 32, 32), np.float32)}
    (theirs,) = run_onnx(path, x)
    np.testing.assert_array_equal(outputs(integers, x)[integers.outputs[0].name], theirs)


def handmade(dtype: Any, x_zero: int, y_zero: int) -> tuple[ModelBuilder, Callable[..., str]]:
    """Return a model to add to, and what quantizes and dequantizes a value in it."""
    net = ModelBuilder()

    def qdq(x: str, scale: float, zero: int = x_zero, kind: Any = dtype) -> str:
        parts = net.weight(np.float32(scale)), net.weight(np.asarray(zero, kind))
        return net.add("DequantizeLinear", net.add("QuantizeLinear", x, *parts), *parts)

    return net, qdq


def check_against_onnx(net: ModelBuilder, y: str, path: Path, unit: float, **inputs: Any) -> Graph:
    """Compare with ONNX Runtime, layers unfused, and return the integer graph."""
    integers = from_qdq(fold(read(net.save(path, y))))[0].verify()
    (theirs,) = run_onnx(path, inputs, fused=False)
    (ours,) = outputs(integers, inputs).values()
    assert ours.dtype == theirs.dtype
    assert np.abs(ours.astype(np.float64) - theirs).max() <= 1.01 * unit
    assert (np.abs(ours.astype(np.float64) - theirs) < 0.5 * unit).mean() > 0.97
    return integers


X = np.random.default_rng(3).standard_normal((2, 4, 6, 6), np.float32)


@pytest.mark.parametrize(("zero_point", "parts"), [(128, 1), (100, 2), (131, 2), (0, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_uint8_weights_of_any_zero_point_are_integers(
    zero_point: int, parts: int, groups: int, tmp_path: Path
) -> None:
    """Those that do not fit in int8 are split in parts, which see the input as often."""
    net, qdq = handmade(np.uint8, 120, 0)
    integers = net.random.integers(0, 256, (6, 4 // groups, 3, 3)).astype(np.uint8)
    integers[0, 0, 0] = [0, 255, 255]
    scale, zero = net.weight(np.float32(0.01)), net.weight(np.uint8(zero_point))
    w = net.add("DequantizeLinear", net.weight(integers), scale, zero)
    bias = net.weight(net.random.integers(-2000, 2000, 6).astype(np.int32))
    b = net.add("DequantizeLinear", bias, net.weight(np.float32(0.02 * 0.01)))
    x = qdq(net.input("x", X.shape), 0.02)
    y = qdq(net.add("Conv", x, w, b, pads=[1, 1, 1, 1], group=groups), 0.1)
    graph = check_against_onnx(net, y, tmp_path / "net.onnx", 0.1, x=X)
    assert integer_nodes(graph)
    convs = [node for node in graph.nodes if isinstance(node.op, Conv2d)]
    assert sum(node.inputs[0].shape[1] for node in convs) == 4 * parts
    for node in convs:
        assert isinstance(node.op, Conv2d)
        assert node.op.pad_value == 120 - 128


def test_a_matrix_with_a_scale_for_each_column_is_a_dense_layer(tmp_path: Path) -> None:
    net, qdq = handmade(np.int8, -7, 0)
    integers = net.weight(net.random.integers(-127, 128, (36, 5)).astype(np.int8))
    scales = net.weight(net.random.uniform(0.001, 0.02, 5).astype(np.float32))
    w = net.add("DequantizeLinear", integers, scales, net.weight(np.zeros(5, np.int8)), axis=1)
    x = qdq(net.input("x", (3, 36)), 0.03)
    y = qdq(net.add("MatMul", x, w), 0.05)
    data = np.random.default_rng(0).standard_normal((3, 36), np.float32)
    graph = check_against_onnx(net, y, tmp_path / "net.onnx", 0.05, x=data)
    assert any(isinstance(node.op, Dense) for node in graph.nodes)
    assert integer_nodes(graph)


def test_pieces_of_different_scales_are_joined_as_integers(tmp_path: Path) -> None:
    net, qdq = handmade(np.uint8, 128, 0)
    x = net.input("x", X.shape)
    y = qdq(net.add("Concat", qdq(x, 0.02, 100), qdq(x, 0.0317), axis=1), 0.04, 110)
    graph = check_against_onnx(net, y, tmp_path / "net.onnx", 0.04, x=X)
    assert integer_nodes(graph)


def test_a_second_quantization_is_a_requantization(tmp_path: Path) -> None:
    net, qdq = handmade(np.int8, 3, 0)
    y = qdq(net.add("Relu", qdq(net.input("x", X.shape), 0.02)), 0.031, -128)
    graph = check_against_onnx(net, y, tmp_path / "net.onnx", 0.031, x=X)
    assert integer_nodes(graph)


def test_an_operator_without_integer_form_runs_between_its_own_quantizations(
    tmp_path: Path,
) -> None:
    net, qdq = handmade(np.uint8, 128, 0)
    y = qdq(net.add("Sigmoid", qdq(net.input("x", X.shape), 0.02)), 1 / 256, 0)
    graph = check_against_onnx(net, y, tmp_path / "net.onnx", 1 / 256, x=X)
    kinds = [type(node.op).__name__ for node in graph.nodes]
    assert kinds == [
        "QuantizeLinear", "DequantizeLinear", "Unary", "QuantizeLinear", "DequantizeLinear",
    ]  # fmt: skip


def test_a_layer_that_is_not_quantized_stays_float(tmp_path: Path) -> None:
    net, qdq = handmade(np.uint8, 128, 0)
    y = qdq(net.conv(qdq(net.input("x", X.shape), 0.02), 4, 3), 0.03)
    graph = check_against_onnx(net, y, tmp_path / "net.onnx", 0.03, x=X)
    assert any(node.output.dtype is DType.FLOAT32 for node in graph.nodes
               if isinstance(node.op, Conv2d))  # fmt: skip


def test_quantized_inputs_and_outputs_keep_their_types(tmp_path: Path) -> None:
    net, qdq = handmade(np.uint8, 128, 0)
    scale, zero = net.weight(np.float32(0.02)), net.weight(np.uint8(117))
    real = net.add("DequantizeLinear", net.input("x", X.shape, np.uint8), scale, zero)
    pooled = net.add("MaxPool", real, kernel_shape=[2, 2])
    y = net.add("QuantizeLinear", pooled, scale, zero)
    x = np.random.default_rng(0).integers(0, 256, X.shape).astype(np.uint8)
    graph = check_against_onnx(net, y, tmp_path / "net.onnx", 0.1, x=x)
    assert graph.inputs[0].dtype is graph.outputs[0].dtype is DType.UINT8
    assert not any(isinstance(node.op, QuantizeLinear) for node in graph.nodes)
    del qdq


def test_no_value_overflows(tmp_path: Path) -> None:
    """On inputs at the extremes, 32-bit results are what 64 bits give."""
    path = quantized(tmp_path, _residual, IMAGE, "uint8, per channel")
    integers = from_qdq(fold(read(path)))[0]
    rng = np.random.default_rng(0)
    for _ in range(4):
        x = {"x": rng.choice(np.asarray([-1e9, 1e9, 0], np.float32), IMAGE)}
        values = evaluate(integers, x)
        for node in integers.nodes:
            if node.output.dtype is DType.INT32 and not isinstance(node.op, Conv2d | Dense):
                wide = [values[value].astype(np.int64) for value in node.inputs]
                if type(node.op).__name__ not in ("Cast", "SumPool2d"):
                    exact = node.op.evaluate(*wide)[0]
                    np.testing.assert_array_equal(values[node.output], exact, str(node))
