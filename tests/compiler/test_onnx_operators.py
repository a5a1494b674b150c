"""ONNX operators that become several of ours: their results are ONNX Runtime's."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .onnx_models import Arrays
from .test_ops import check, floats, integers, windows

RANDOM = np.random.default_rng(7)


def int8s(*shape: int, kind: Any = np.int8) -> np.ndarray:
    limits = np.iinfo(kind)
    return RANDOM.integers(limits.min, limits.max, shape, endpoint=True).astype(kind)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 2), st.booleans())
def test_conv_transpose_is_onnx_runtimes(data: st.DataObject, axes: int, known: bool) -> None:
    window = data.draw(windows(axes))
    groups = data.draw(st.sampled_from([1, 1, 2, 3]))
    channels, filters = groups * data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    x = floats(data.draw(st.integers(1, 2)), channels, *window["extents"])
    w = floats(channels, filters, *window["kernel"])
    options: dict[str, Any] = {"strides": window["strides"], "group": groups}
    options |= {"dilations": window["dilations"]}
    spans = zip(window["kernel"], window["dilations"], window["strides"], strict=True)
    reach = all((k - 1) * d + 1 >= stride for k, d, stride in spans)  # else the two differ
    forms = ["pads", "padding", *(["shape", "upper", "lower"] if reach else [])]
    form = data.draw(st.sampled_from(forms))
    if form in ("pads", "padding"):
        pads = zip(window["pads"], window["extents"] * 2, strict=True)
        options["pads"] = [min(pad, (extent - 1) // 2) for pad, extent in pads]
    if form == "padding":
        strides = window["strides"]
        options["output_padding"] = [data.draw(st.integers(0, stride - 1)) for stride in strides]
    if form == "shape":
        pairs = zip(window["extents"], window["strides"], strict=True)
        options["output_shape"] = [extent * stride for extent, stride in pairs]
    if form in ("upper", "lower"):
        options["auto_pad"] = f"SAME_{form.upper()}"
    bias = {"b": floats(groups * filters)} if data.draw(st.booleans()) and known else {}
    inputs = {"x": x} if known else {"x": x, "w": w}
    check("ConvTranspose", inputs, {"w": w, **bias} if known else {}, **options)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.booleans())
def test_windows_of_volumes_are_onnx_runtimes(data: st.DataObject, include: bool) -> None:
    window = data.draw(windows(3))
    groups = data.draw(st.sampled_from([1, 2]))
    x = floats(2, groups * 2, *window["extents"])
    around: dict[str, Any] = {name: window[name] for name in ("strides", "pads", "dilations")}
    w = floats(groups * 3, 2, *window["kernel"])
    check("Conv", {"x": x}, {"w": w, "b": floats(groups * 3)}, group=groups, **around)
    check("MaxPool", {"x": x}, kernel_shape=window["kernel"], **around)
    options: dict[str, Any] = {"kernel_shape": window["kernel"], "opset": 19, **around}
    check("AveragePool", {"x": x}, count_include_pad=int(include), **options)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_resize_is_onnx_runtimes(data: st.DataObject) -> None:
    extents = [data.draw(st.integers(2, 6)) for _ in range(2)]
    x = floats(1, 2, *extents)
    mode = data.draw(st.sampled_from(["nearest", "linear", "cubic"]))
    modes = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    options: dict[str, Any] = {"mode": mode, "opset": 18}
    options["coordinate_transformation_mode"] = data.draw(st.sampled_from(modes))
    if mode == "nearest":
        roundings = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        options["nearest_mode"] = data.draw(st.sampled_from(roundings))
    sizes = [data.draw(st.integers(1, 12)) for _ in range(2)]
    empty = {"roi": np.zeros(0, np.float32), "scales": np.zeros(0, np.float32)}
    check("Resize", {"x": x}, {**empty, "sizes": integers(1, 2, *sizes)}, **options)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([np.int8, np.uint8]))
def test_products_of_integers_are_onnx_runtimes(data: st.DataObject, kind: Any) -> None:
    depth, known = data.draw(st.integers(1, 300)), data.draw(st.booleans())
    zeros = {"za": int8s(kind=kind), "zb": int8s(kind=np.int8)}
    a, b = {"a": int8s(3, depth, kind=kind)}, {"b": int8s(depth, 4)}
    check("MatMulInteger", a if known else {**a, **b}, {**b, **zeros} if known else zeros)
    window = data.draw(windows(2))
    x = int8s(1, 2, *window["extents"], kind=np.uint8)
    w = int8s(3, 2, *window["kernel"], kind=np.uint8)
    options: dict[str, Any] = {name: window[name] for name in ("strides", "pads", "dilations")}
    zeros = {"zx": int8s(kind=np.uint8), "zw": int8s(kind=np.uint8)}
    check("ConvInteger", {"x": x}, {"w": w, **zeros}, **options)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(["RNN", "GRU", "LSTM"]))
def test_recurrent_layers_are_onnx_runtimes(data: st.DataObject, operator: str) -> None:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[operator]
    direction = data.draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    passes = 2 if direction == "bidirectional" else 1
    steps, n, features, size = (data.draw(st.integers(1, 4)) for _ in range(4))
    x = {"x": floats(steps, n, features)}
    weights = {"w": floats(passes, gates * size, features), "r": floats(passes, gates * size, size)}
    options: dict[str, Any] = {"hidden_size": size, "direction": direction}
    options["outputs"] = 3 if operator == "LSTM" else 2
    if data.draw(st.booleans()):
        weights["b"] = floats(passes, 2 * gates * size)
        weights["lengths"] = np.full(n, steps, np.int32)
        weights["h"] = floats(passes, n, size)
        if operator == "LSTM":
            weights |= {"c": floats(passes, n, size), "p": floats(passes, 3 * size)}
    if operator == "GRU":
        options["linear_before_reset"] = data.draw(st.integers(0, 1))
    if operator == "RNN":
        options["activations"] = [data.draw(st.sampled_from(["Tanh", "Relu", "Sigmoid"]))] * passes
    check(operator, x, weights, **options)


X = {"x": floats(2, 3, 4, 5)}
MIXED = {"x": np.asarray([-7, -4, 5, 4, 7, 8]), "y": np.asarray([2, -3, 8, -2, 3, 5])}
ROW = {"i": np.asarray([[0, -1], [2, 1]])}
ONE = [
    *[(name, X, {}, {}) for name in ("Sin", "Cos", "Tan", "Sinh", "Cosh", "Asinh", "Atan", "Sign")],
    *[(name, {"x": np.tanh(floats(9))}, {}, {}) for name in ("Asin", "Acos", "Atanh")],
    *[(name, X, {}, {}) for name in ("Selu", "Softsign", "ThresholdedRelu", "Celu", "Hardmax")],
    ("Celu", X, {}, {"alpha": 0.7}),
    ("Mish", X, {}, {"opset": 18}),
    ("Gelu", X, {}, {"opset": 20, "approximate": "tanh"}),
    ("Shrink", X, {}, {"lambd": 0.3, "bias": 0.1}),
    *[(name, {**X, "y": floats(4, 1)}, {}, {}) for name in ("Less", "LessOrEqual", "Greater",
                                                           "GreaterOrEqual", "Equal")],
    ("Equal", {"x": np.asarray([1, 2]), "y": np.asarray([[1], [2]])}, {}, {}),
    *[(name, {"x": np.asarray([True, False, True, False]), "y": np.asarray([True, True, False,
      False])}, {}, {}) for name in ("And", "Or", "Xor")],
    ("Not", {"x": np.asarray([True, False])}, {}, {}),
    ("Where", {"c": floats(4, 1) > 0, **X}, {"z": np.float32(2)}, {}),
    ("IsNaN", {"x": np.asarray([1, np.nan, np.inf], np.float32)}, {}, {}),
    ("IsInf", {"x": np.asarray([1, np.nan, np.inf, -np.inf], np.float32)}, {},
     {"detect_negative": 0}),
    ("Mod", MIXED, {}, {}),
    ("Mod", MIXED, {}, {"fmod": 1}),
    ("Mod", {name: a.astype(np.float32) / 3 for name, a in MIXED.items()}, {}, {"fmod": 1}),
    ("Pow", {"x": np.abs(floats(5))}, {"p": integers(3)}, {}),
    ("Pow", {"x": np.arange(5, dtype=np.int32)}, {"p": np.float32(2)}, {}),
    ("Cast", X, {}, {"to": 9}),
    ("Cast", {"x": np.asarray([True, False])}, {}, {"to": 1}),
    ("CumSum", X, {"axis": np.int64(-2)}, {}),
    ("CumSum", X, {"axis": np.int64(3)}, {"exclusive": 1, "reverse": 1}),
    ("CumSum", {"x": np.arange(9, dtype=np.int32).reshape(1, 9)}, {"axis": np.int64(0)},
     {"exclusive": 1}),
    ("ReduceL1", X, {}, {"axes": [1]}),
    ("ReduceL2", X, {}, {"axes": [1, 3], "keepdims": 0}),
    ("ReduceSumSquare", X, {}, {}),
    ("ReduceLogSum", {"x": np.abs(floats(3, 4))}, {}, {"axes": [1]}),
    ("ReduceLogSumExp", X, {}, {"axes": [2], "keepdims": 0}),
    ("ReduceLogSumExp", {"x": floats(3, 4) + 200}, {}, {}),
    ("ArgMax", {"x": np.asarray([[1, 3, 3], [2, 2, 0]], np.float32)}, {},
     {"axis": 1, "select_last_index": 1}),
    ("ArgMin", X, {}, {"axis": 2, "keepdims": 0}),
    ("ArgMin", {"x": int8s(4, 5)}, {}, {"axis": 1}),
    ("ArgMin", {"x": int8s(4, 5, kind=np.uint8)}, {}, {"axis": 0, "select_last_index": 1}),
    ("Einsum", {"a": floats(2, 3, 4), "b": floats(2, 4, 5)}, {}, {"equation": "bij,bjk->bik"}),
    ("Einsum", {"a": floats(2, 3, 4), "b": floats(5, 4)}, {}, {"equation": "...ij, kj -> ...ki"}),
    ("Einsum", {"a": floats(3, 4), "b": floats(3, 4)}, {}, {"equation": "ij,ij->"}),
    ("Einsum", {"a": floats(3, 4)}, {}, {"equation": "ij->j"}),
    ("Einsum", {"a": floats(3, 4)}, {}, {"equation": "ba"}),
    ("Einsum", {"a": floats(3, 4), "b": floats(4, 6)}, {}, {"equation": "ij,jk"}),
    ("Einsum", {"a": floats(3), "b": floats(4)}, {}, {"equation": "i,j->ji"}),
    ("LRN", X, {}, {"size": 3, "alpha": 0.1, "bias": 1.5}),
    ("InstanceNormalization", X, {"s": floats(3), "b": floats(3)}, {"epsilon": 0.01}),
    ("LayerNormalization", X, {"s": floats(4, 5), "b": floats(5)}, {"axis": 2}),
    ("LpNormalization", X, {}, {"p": 1, "axis": 1}),
    ("GlobalLpPool", X, {}, {"p": 3}),
    ("LpPool", X, {}, {"kernel_shape": [2, 3], "p": 2, "pads": [1, 0, 0, 1]}),
    ("MaxPool", X, {}, {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1],
                        "outputs": 2}),
    ("MaxPool", {"x": int8s(1, 3, 7)}, {}, {"kernel_shape": [3], "dilations": [2]}),
    ("DepthToSpace", {"x": floats(2, 8, 3, 2)}, {}, {"blocksize": 2}),
    ("DepthToSpace", {"x": floats(2, 8, 3, 2)}, {}, {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", {"x": floats(2, 3, 4, 6)}, {}, {"blocksize": 2}),
    ("Tile", {"x": floats(2, 3)}, {"r": integers(2, 3)}, {}),
    ("Trilu", X, {"k": np.int64(1)}, {}),
    ("Trilu", X, {}, {"upper": 0}),
    ("OneHot", {"x": np.asarray([[0, -1], [2, 5]])}, {"d": np.int64(4),
     "v": np.asarray([-1, 2], np.float32)}, {"axis": 1}),
    ("GatherElements", {"x": floats(3, 4), "i": np.asarray([[0, -1], [2, 1]])}, {}, {"axis": 1}),
    ("GatherND", {"x": floats(3, 4, 2)}, ROW, {}),
    ("GatherND", {"x": floats(2, 4, 2)}, {"i": np.asarray([[1], [-1]])}, {"batch_dims": 1}),
    ("ScatterElements", {"x": floats(3, 4)}, {**ROW, "u": floats(2, 2)}, {"axis": 1}),
    ("ScatterND", {"x": floats(3, 4)}, {"i": np.asarray([[1], [1]]), "u": floats(2, 4)},
     {"reduction": "add"}),
    ("ReverseSequence", {"x": floats(4, 3, 2)}, {"n": integers(1, 4, 2)}, {}),
    ("Compress", {"x": floats(3, 4)}, {"c": np.asarray([True, False, True])}, {"axis": 0}),
    ("Upsample", {"x": floats(1, 2, 3, 4)}, {"s": np.asarray([1, 1, 2, 3], np.float32)},
     {"opset": 9}),
    ("Upsample", {"x": floats(1, 2, 3, 4)}, {"s": np.asarray([1, 1, 2, 3], np.float32)},
     {"opset": 9, "mode": "linear"}),
    ("DynamicQuantizeLinear", X, {}, {"outputs": 3}),
    ("QuantizeLinear", {**X, "s": np.asarray(0.03, np.float32),
                        "z": np.asarray(7, np.uint8)}, {}, {}),
    ("DequantizeLinear", {"x": int8s(2, 3), "s": np.abs(floats(3))}, {}, {}),
    ("Pad", X, {"pads": integers(0, 0, 1, 2, 0, 0, 3, 0)}, {"mode": "wrap", "opset": 19}),
    ("BatchNormalization", X, {"s": floats(3), "b": floats(3), "m": floats(3),
                               "v": np.abs(floats(3))}, {"training_mode": 1, "outputs": 3}),
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
