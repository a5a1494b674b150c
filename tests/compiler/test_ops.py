"""Operators: their kernels are ONNX Runtime's in float, and exact in integers."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.graph import DType, GraphError, Op, TensorType
from vtakit.compiler.importers.onnx_model import read
from vtakit.compiler.ops.elementwise import (
    Add,
    Binary,
    Cast,
    Maximum,
    Minimum,
    Mul,
    Pow,
    ShiftRight,
    Sub,
    Unary,
)
from vtakit.compiler.ops.linear import Conv2d, Dense, MatMul
from vtakit.compiler.ops.logic import Comparison, Less, Where
from vtakit.compiler.ops.pool import MaxPool2d, SumPool2d
from vtakit.compiler.ops.quantize import DequantizeLinear, QuantizeLinear
from vtakit.compiler.ops.reduce import ArgMax, Reduce, Softmax
from vtakit.compiler.ops.shape import (
    Broadcast,
    Concat,
    Gather,
    Pad,
    Reshape,
    Slice,
    Transpose,
    Unfold,
)
from vtakit.compiler.reference import outputs
from vtakit.runtime.host import registry

from .onnx_models import Arrays, one_node, run_onnx

RANDOM = np.random.default_rng(5)


def floats(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def integers(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int64)


def check(operator: str, inputs: Arrays, constants: Arrays | None = None, **options: Any) -> None:
    """Compare the import of a model of one node with ONNX Runtime."""
    builder, names = one_node(operator, inputs, constants or {}, **options)
    with TemporaryDirectory() as folder:
        graph = read(builder.save(Path(folder) / "one.onnx", *names))
    ours = outputs(graph, inputs)
    assert list(ours) == names
    for name, theirs in zip(names, run_onnx(builder.model(*names), inputs), strict=True):
        assert ours[name].shape == theirs.shape, name
        assert ours[name].dtype == theirs.dtype, name
        np.testing.assert_allclose(ours[name], theirs, rtol=2e-5, atol=2e-5, err_msg=name)


@st.composite
def windows(draw: st.DrawFn, axes: int) -> dict[str, list[int]]:
    """Draw a kernel, strides, dilations, pads of less than the kernel, and an extent that fits."""
    kernel = [draw(st.integers(1, 4)) for _ in range(axes)]
    strides = [draw(st.integers(1, 3)) for _ in range(axes)]
    dilations = [draw(st.integers(1, 2)) for _ in range(axes)]
    pads = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    extents = [s + draw(st.integers(0, 5)) for s in spans]
    return {
        "kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads,
        "extents": extents,
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 2))
def test_conv_is_onnx_runtimes(data: st.DataObject, axes: int) -> None:
    window = data.draw(windows(axes))
    groups = data.draw(st.sampled_from([1, 1, 2, 3]))
    channels, filters = (groups * data.draw(st.integers(1, 3)) for _ in range(2))
    x = floats(data.draw(st.integers(1, 2)), channels, *window["extents"])
    constants = {"w": floats(filters, channels // groups, *window["kernel"])}
    if data.draw(st.booleans()):
        constants["b"] = floats(filters)
    options: dict[str, Any] = {"strides": window["strides"], "group": groups}
    automatic = data.draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if automatic == "NOTSET":
        options |= {"pads": window["pads"], "dilations": window["dilations"]}
    check("Conv", {"x": x}, constants, auto_pad=automatic, **options)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 2), st.booleans(), st.booleans())
def test_pools_are_onnx_runtimes(data: st.DataObject, axes: int, ceil: bool, include: bool) -> None:
    window = data.draw(windows(axes))
    x = floats(2, 3, *window["extents"])
    options: dict[str, Any] = {
        "kernel_shape": window["kernel"], "strides": window["strides"], "pads": window["pads"],
        "ceil_mode": int(ceil),
    }  # fmt: skip
    check("MaxPool", {"x": x}, dilations=window["dilations"], **options)
    check("AveragePool", {"x": x}, count_include_pad=int(include), **options)


@settings(max_examples=25, deadline=None)
@given(st.booleans(), st.booleans(), st.sampled_from([None, (), (1, 4), (4,), (3, 4), (3, 1)]))
def test_gemm_is_onnx_runtimes(trans_a: bool, trans_b: bool, bias: tuple[int, ...] | None) -> None:
    a, b = floats(3, 5), floats(5, 4)
    constants = {"b": b.T.copy() if trans_b else b}
    if bias is not None:
        constants["c"] = floats(*bias)
    options = {"transA": int(trans_a), "transB": int(trans_b), "alpha": 0.5, "beta": 1.5}
    check("Gemm", {"a": a.T.copy() if trans_a else a}, constants, **options)


@pytest.mark.parametrize(
    ("a", "b"),
    [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((4,), (4, 5)), ((4,), (4,)), ((3, 4), (4,)),
     ((2, 3, 4), (2, 4, 5)), ((3, 1, 2, 4), (2, 4, 5)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,))],
)  # fmt: skip
def test_matmul_is_onnx_runtimes(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    check("MatMul", {"a": floats(*a), "b": floats(*b)})
    check("MatMul", {"a": floats(*a)}, {"b": floats(*b)})


X = {"x": floats(2, 3, 4, 5)}
POSITIVE = {"x": np.abs(floats(2, 3, 4)) + 0.1}
ONE = [
    *[(name, X, {}, {}) for name in ("Relu", "Sigmoid", "Tanh", "Neg", "Abs", "Exp", "Floor")],
    *[(name, X, {}, {}) for name in ("Ceil", "Round", "Erf", "Softplus", "HardSwish", "Identity")],
    *[(name, POSITIVE, {}, {}) for name in ("Sqrt", "Log", "Reciprocal")],
    *[(name, X, {"c": floats(3, 1, 1)}, {}) for name in ("Add", "Sub", "Mul", "Div", "PRelu")],
    ("Pow", POSITIVE, {"c": np.float32(1.5)}, {}),
    ("LeakyRelu", X, {}, {"alpha": 0.2}),
    ("LeakyRelu", X, {}, {"alpha": 1.2}),
    ("Elu", X, {}, {"alpha": 0.7}),
    ("HardSigmoid", X, {}, {"alpha": 0.3, "beta": 0.4}),
    ("Gelu", X, {}, {"opset": 20}),
    ("Clip", X, {"low": np.float32(-0.5), "high": np.float32(0.7)}, {}),
    ("Clip", X, {"low": np.float32(0)}, {}),
    ("Clip", X, {}, {"opset": 10, "min": -0.3, "max": 0.4}),
    ("Max", {**X, "y": floats(4, 1)}, {"c": floats(1)}, {}),
    ("Min", {**X, "y": floats(4, 1)}, {}, {}),
    ("Sum", {**X, "y": floats(4, 1)}, {"c": floats(5)}, {}),
    ("Mean", {**X, "y": floats(4, 1)}, {"c": floats(5)}, {}),
    ("Softmax", X, {}, {"axis": 1}),
    ("Softmax", X, {}, {"opset": 11, "axis": 2}),
    ("LogSoftmax", X, {}, {}),
    ("GlobalAveragePool", X, {}, {}),
    ("GlobalMaxPool", X, {}, {}),
    ("GlobalAveragePool", {"x": floats(2, 3, 7)}, {}, {}),
    ("ReduceMean", X, {}, {"axes": [2, 3], "keepdims": 0}),
    ("ReduceMean", X, {}, {"axes": [-1, 1]}),
    ("ReduceMean", X, {"axes": integers(2, 3)}, {"opset": 18}),
    ("ReduceSum", X, {"axes": integers(1)}, {"keepdims": 0}),
    ("ReduceSum", X, {}, {}),
    ("ReduceMax", X, {}, {"axes": [0]}),
    ("ReduceMin", X, {}, {"axes": [-2]}),
    ("ReduceProd", X, {}, {"axes": [-2]}),
    ("ArgMax", X, {}, {"axis": 1}),
    ("ArgMax", X, {}, {"axis": -1, "keepdims": 0}),
    ("Reshape", X, {"shape": integers(0, -1, 2)}, {}),
    ("Flatten", X, {}, {"axis": 2}),
    ("Flatten", X, {}, {"axis": -1}),
    ("Flatten", X, {}, {"axis": 0}),
    ("Squeeze", {"x": floats(1, 3, 1)}, {}, {}),
    ("Squeeze", {"x": floats(1, 3, 1)}, {"axes": integers(-1)}, {}),
    ("Squeeze", {"x": floats(1, 3, 1)}, {}, {"opset": 11, "axes": [0]}),
    ("Unsqueeze", X, {"axes": integers(0, -1)}, {}),
    ("Transpose", X, {}, {"perm": [0, 2, 3, 1]}),
    ("Transpose", X, {}, {}),
    ("Concat", {**X, "y": floats(2, 1, 4, 5)}, {}, {"axis": -3}),
    ("Pad", X, {"pads": integers(0, 0, 1, 2, 0, 0, 3, 0), "v": np.float32(1.5)}, {}),
    ("Pad", X, {"pads": integers(0, 0, -1, 2, 0, 0, -2, -1)}, {}),
    ("Pad", X, {"pads": integers(0, 0, 1, 2, 0, 0, 3, 0)}, {"mode": "reflect"}),
    ("Pad", X, {"pads": integers(0, 0, 1, 2, 0, 0, 3, 0)}, {"mode": "edge"}),
    ("Pad", X, {}, {"opset": 10, "pads": [0, 0, 1, 2, 0, 0, 3, 0], "value": 2.0}),
    ("Slice", X, {"s": integers(1, -1), "e": integers(9, -9), "a": integers(2, -1),
                  "t": integers(2, -2)}, {}),
    ("Slice", X, {}, {"opset": 9, "starts": [1], "ends": [3], "axes": [1]}),
    ("Split", X, {"s": integers(1, 2)}, {"axis": 1, "outputs": 2}),
    ("Split", X, {}, {"axis": 2, "outputs": 2}),
    ("Gather", X, {"i": np.asarray([[0, -1], [2, 1]])}, {"axis": 2}),
    ("Expand", {"x": floats(3, 1)}, {"shape": integers(2, 1, 4)}, {}),
    ("Shape", X, {}, {}),
    ("Cast", X, {}, {"to": 6}),
    ("Cast", {"x": np.arange(-5, 5, dtype=np.int32)}, {}, {"to": 1}),
    ("Add", {"x": np.arange(6, dtype=np.int64)}, {"c": integers(3)}, {}),
    ("Div", {"x": np.arange(-6, 6, dtype=np.int64)}, {"c": integers(4)}, {}),
    ("BatchNormalization", X, {"s": floats(3), "b": floats(3), "m": floats(3),
                               "v": np.abs(floats(3))}, {"epsilon": 0.01}),
    ("Dropout", X, {}, {}),
    ("QuantizeLinear", X, {"s": np.float32(0.013), "z": np.uint8(120)}, {}),
    ("QuantizeLinear", X, {"s": np.float32(0.013)}, {}),
    ("QuantizeLinear", X, {"s": np.abs(floats(5)) / 50, "z": np.arange(5, dtype=np.int8)},
     {"axis": -1}),
    ("DequantizeLinear", {"x": np.arange(12, dtype=np.uint8).reshape(3, 4)},
     {"s": np.asarray([0.5], np.float32), "z": np.asarray([3], np.uint8)}, {}),
    ("DequantizeLinear", {"x": np.arange(12, dtype=np.int32).reshape(3, 4)},
     {"s": np.asarray([0.5, 2, 3], np.float32)}, {"axis": 0}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "inputs", "constants", "options"),
    ONE,
    ids=[f"{index}-{case[0]}" for index, case in enumerate(ONE)],
)
def test_operator_is_onnx_runtimes(
    operator: str, inputs: Arrays, constants: Arrays, options: dict[str, Any]
) -> None:
    check(operator, inputs, constants, **options)


def plain_conv(x: np.ndarray, w: np.ndarray, op: Conv2d) -> np.ndarray:
    """Convolve by the definition, in Python's integers, and keep the low 32 bits."""
    top, left, bottom, right = op.pads
    around = ((0, 0), (0, 0), (top, bottom), (left, right))
    x = np.pad(x.astype(object), around, constant_values=op.pad_value)
    (kind,) = op.infer(
        [TensorType(tuple(a.shape), DType.INT8) for a in (x[:, :, top : x.shape[2] - bottom,
                                                            left : x.shape[3] - right], w)]
    )  # fmt: skip
    out = np.zeros(kind.shape, object)
    per_group = w.shape[0] // op.groups
    for n, o, i, j in np.ndindex(*kind.shape):
        first = o // per_group * w.shape[1]
        for c, ky, kx in np.ndindex(*w.shape[1:]):
            row, column = i * op.strides[0] + ky * op.dilations[0], j * op.strides[1]
            out[n, o, i, j] += x[n, first + c, row, column + kx * op.dilations[1]] * int(
                w[o, c, ky, kx]
            )
    return ((out + 2**31) % 2**32 - 2**31).astype(np.int32)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from([1, 2, 3]))
def test_integer_conv_is_exact(data: st.DataObject, groups: int) -> None:
    window = data.draw(windows(2))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    channels, filters = (groups * data.draw(st.integers(1, 2)) for _ in range(2))
    x = rng.integers(-128, 128, (1, channels, *window["extents"])).astype(np.int8)
    shape = (filters, channels // groups, *window["kernel"])
    w = rng.integers(-128, 128, shape).astype(np.int8)
    top, left, bottom, right = window["pads"]
    op = Conv2d(
        (window["strides"][0], window["strides"][1]), (top, left, bottom, right),
        (window["dilations"][0], window["dilations"][1]), groups,
        data.draw(st.sampled_from([0, -7])),
    )  # fmt: skip
    np.testing.assert_array_equal(op.evaluate(x, w)[0], plain_conv(x, w, op))


@pytest.mark.parametrize("depth", [1000, 1100, 140_000])
def test_dense_is_exact_where_float32_is_not_and_wraps_at_32_bits(depth: int) -> None:
    x, w = np.full((1, depth), -128, np.int8), np.full((2, depth), -128, np.int8)
    w[1, ::2] = 127
    x[0, 0] = 127
    expected = np.dot(w.astype(np.int64), x[0].astype(np.int64))
    (out,) = Dense().evaluate(x, w)
    np.testing.assert_array_equal(out[0], expected.astype(np.int32))
    assert out.dtype == np.int32


def test_integer_pools_are_exact_and_padding_never_wins() -> None:
    x = np.full((1, 1, 3, 3), -128, np.int8)
    x[0, 0, 1, 1] = -100
    (most,) = MaxPool2d((2, 2), (2, 2), (1, 1, 0, 0)).evaluate(x)
    assert most.tolist() == [[[[-128, -128], [-128, -100]]]]
    assert most.dtype == np.int8
    (total,) = SumPool2d((2, 2), (2, 2), (1, 1, 0, 0), pad_value=5).evaluate(x)
    assert total.tolist() == [[[[-113, -246], [-246, -484]]]]
    assert total.dtype == np.int32


@settings(max_examples=100, deadline=None)
@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(-31, 31))
def test_integer_arithmetic_wraps_at_32_bits(a: int, b: int, count: int) -> None:
    def wrapped(number: int) -> int:
        return (number + 2**31) % 2**32 - 2**31

    x, y, n = (np.asarray(number, np.int32) for number in (a, b, count))
    for op, expected in ((Add(), a + b), (Sub(), a - b), (Mul(), a * b)):
        assert op.evaluate(x, y)[0] == wrapped(expected), op
    assert Maximum().evaluate(x, y)[0] == max(a, b)
    assert Minimum().evaluate(x, y)[0] == min(a, b)
    assert Pow().evaluate(np.asarray(2, np.int32), np.asarray(-1, np.int32))[0] == 0
    shifted = a >> count if count >= 0 else wrapped(a << -count)
    assert ShiftRight().evaluate(x, n)[0] == shifted
    assert Cast(DType.INT8).evaluate(x)[0] == (a + 128) % 256 - 128


INT8, INT32, FLOAT = DType.INT8, DType.INT32, DType.FLOAT32
IMAGE = TensorType((1, 4, 8, 8), INT8)
WRONG: list[tuple[Op, list[TensorType], str]] = [
    (Conv2d(), [IMAGE, TensorType((2, 3, 3, 3), INT8)], "groups cannot take"),
    (Conv2d(), [IMAGE, TensorType((2, 4, 9, 9), INT8)], r"spans \[9, 9\], more than"),
    (Conv2d(), [IMAGE, TensorType((2, 4, 3, 3), FLOAT)], "two int8 or two float32"),
    (Conv2d(), [IMAGE, TensorType((2, 4), INT8)], "rank 4"),
    (Dense(), [TensorType((1, 3), INT8), TensorType((2, 4), INT8)], r"\(N, K\) and \(O, K\)"),
    (MatMul(), [TensorType((2, 3), FLOAT), TensorType((2, 3), FLOAT)], r"\(\.\.\., K, M\)"),
    (MatMul(), [TensorType((2, 3), INT8), TensorType((2, 3), INT8)], "takes float32"),
    (MaxPool2d((9, 1)), [IMAGE], "window spans 9"),
    (SumPool2d((2, 2)), [TensorType((1, 1, 4, 4), INT32)], "int8 or float32"),
    (SumPool2d((2, 2)), [TensorType((1, 1), INT8)], r"\(N, C, H, W\)"),
    (Add(), [TensorType((2,), INT32), TensorType((3,), INT32)], "cannot broadcast"),
    (Add(), [TensorType((2,), INT32), TensorType((2,), INT8)], "one type"),
    (ShiftRight(), [IMAGE, IMAGE], "takes int32"),
    (Unary("cbrt"), [IMAGE], "no function cbrt; there are abs"),
    (Less(), [IMAGE, TensorType((1,), INT32)], "Less takes two tensors of one type"),
    (Where(), [IMAGE, IMAGE, IMAGE], "takes a bool and two tensors of one type"),
    (Reshape((5,)), [IMAGE], "it has 256 elements"),
    (Transpose((0, 1)), [IMAGE], "cannot transpose"),
    (Concat(1), [IMAGE, TensorType((1, 4, 8, 7), INT8)], "cannot concatenate"),
    (Concat(4), [IMAGE], "along axis 4"),
    (Pad((1,), (1,)), [IMAGE], "cannot pad"),
    (Pad((-1,), (0,)), [TensorType((3,), INT8)], "negative"),
    (Slice((0,), (4,), (1,)), [TensorType((3,), INT8)], "cannot take 0 to 3"),
    (Gather(0), [IMAGE, IMAGE], "cannot gather"),
    (Broadcast((2,)), [TensorType((3,), INT8)], "cannot broadcast"),
    (Unfold((3, 3), (1, 1), (1, 4)), [IMAGE], r"spans \[3, 9\], more than"),
    (Unfold((1, 1), (1, 1), (1, 1)), [TensorType((2, 4), INT8)], "rank 4"),
    (Reduce("median", (0,), True), [IMAGE], "no reduction median"),
    (Reduce("mean", (4,), True), [IMAGE], "along axes"),
    (Softmax(1), [IMAGE], "takes float32"),
    (ArgMax(9, True), [IMAGE], "along axes"),
    (QuantizeLinear(), [IMAGE, TensorType((), FLOAT), TensorType((), INT8)], "takes float32"),
    (DequantizeLinear(), [IMAGE, TensorType((), FLOAT), TensorType((), DType.UINT8)], "zero point"),
    (DequantizeLinear(), [IMAGE, TensorType((3,), FLOAT), TensorType((3,), INT8)], "along axis 1"),
    (DequantizeLinear(), [IMAGE, TensorType((), FLOAT), TensorType((4,), INT8)], "one shape"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "inputs", "message"), WRONG, ids=[str(case[0]) for case in WRONG])
def test_types_that_do_not_go_together_are_refused(
    op: Op, inputs: list[TensorType], message: str
) -> None:
    with pytest.raises(GraphError, match=message):
        op.infer(inputs)


def operators(base: type[Op]) -> set[type[Op]]:
    return {base} | {op for child in base.__subclasses__() for op in operators(child)}


def test_every_operator_has_a_kernel_and_attributes_that_json_holds() -> None:
    kernels = {op.kernel for op in operators(Op) - {Op, Binary, Comparison}}
    assert kernels <= set(registry.KERNELS)
    op = Conv2d((2, 1), (0, 1, 2, 3))
    assert op.attributes() == {
        "strides": [2, 1], "pads": [0, 1, 2, 3], "dilations": [1, 1], "groups": 1, "pad_value": 0,
    }  # fmt: skip
    assert Cast(INT8).attributes() == {"dtype": "int8"}
    x = floats(1, 2, 5, 5)
    w = floats(3, 2, 3, 3)
    expected = op.evaluate(x, w)
    (again,) = registry.run(op.kernel, op.attributes(), (x, w))
    np.testing.assert_array_equal(again, expected[0])
