"""Element types that NumPy has none of: every number rounded as the ml_dtypes package does."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from vtakit.compiler.cpu.build import build_native
from vtakit.compiler.importers.onnx_model import read
from vtakit.compiler.passes.fold import fold
from vtakit.compiler.passes.partition import partition
from vtakit.compiler.passes.qdq import from_qdq
from vtakit.compiler.reference import outputs
from vtakit.isa.config import Config
from vtakit.runtime.native.program import NativeSession

FLOATS: dict[int, Any] = {
    TensorProto.BFLOAT16: ml_dtypes.bfloat16,
    TensorProto.FLOAT8E4M3FN: ml_dtypes.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: ml_dtypes.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: ml_dtypes.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: ml_dtypes.float8_e5m2fnuz,
}

INTEGERS: dict[int, tuple[int, int]] = {
    TensorProto.INT4: (-8, 7),
    TensorProto.UINT4: (0, 15),
    TensorProto.INT2: (-2, 1),
    TensorProto.UINT2: (0, 3),
}


def model(path: Path, nodes: list[Any], kind: int, shape: list[int], *constants: Any) -> Path:
    """Write a model from float32 x to y of an element type and of as many axes."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", kind, ["?"] * len(shape))
    graph = helper.make_graph(nodes, "narrow", [x], [y], list(constants))
    opsets = [helper.make_opsetid("", 25 if kind in (TensorProto.INT2, TensorProto.UINT2) else 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def constant(number: np.generic, name: str) -> Any:
    """Return an initializer of one number."""
    return numpy_helper.from_array(np.asarray(number), name)


def results(path: Path, x: NDArray[Any]) -> NDArray[Any]:
    """Return y, which NumPy and native code have to agree on."""
    graph = read(path)
    wanted = outputs(graph, {"x": x})["y"]
    with NativeSession(build_native(graph), 1) as session:
        found = session.run({"x": x})["y"]
    assert found.dtype == wanted.dtype
    assert np.array_equal(found, wanted, equal_nan=wanted.dtype.kind == "f")
    return wanted


def numbers() -> NDArray[np.float32]:
    """Return numbers of every exponent, halves between neighbours of every type, and none."""
    generator = np.random.default_rng(7)
    bits = generator.integers(0, 1 << 32, 4000, dtype=np.uint32).view(np.float32)
    whole = np.arange(-40, 40).astype(np.float32)
    halves = np.concatenate([np.ldexp(whole, power) for power in range(-22, 14)])
    others = np.asarray([np.inf, -np.inf, np.nan, 0, 3.4e38], np.float32)
    return np.concatenate([bits, halves, others])


@pytest.mark.parametrize("kind", FLOATS)
def test_casts_round_to_the_nearest_and_become_infinite_or_none_beyond(
    kind: int, tmp_path: Path
) -> None:
    x = numbers()
    cast = helper.make_node("Cast", ["x"], ["y"], to=kind, saturate=0)
    found = results(model(tmp_path / "m.onnx", [cast], kind, [len(x)]), x)
    with np.errstate(all="ignore"):
        wanted = x.astype(FLOATS[kind]).astype(np.float32)
    assert np.array_equal(found, wanted, equal_nan=True)


@pytest.mark.parametrize("kind", [kind for kind in FLOATS if kind != TensorProto.BFLOAT16])
def test_casts_saturate(kind: int, tmp_path: Path) -> None:
    x = numbers()
    cast = helper.make_node("Cast", ["x"], ["y"], to=kind)
    found = results(model(tmp_path / "m.onnx", [cast], kind, [len(x)]), x)
    top = float(ml_dtypes.finfo(FLOATS[kind]).max)
    with np.errstate(all="ignore"):
        wanted = np.clip(x, -top, top).astype(FLOATS[kind]).astype(np.float32)
    assert np.array_equal(found, wanted, equal_nan=True)


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_of_few_bits_saturate_in_quantization_and_keep_their_low_bits_in_casts(
    kind: int, tmp_path: Path
) -> None:
    low, high = INTEGERS[kind]
    x = np.arange(-40, 41).astype(np.float32) / 2
    scale = constant(np.float32(0.5), "s")
    quantize = helper.make_node("QuantizeLinear", ["x", "s"], ["y"], output_dtype=kind)
    path = model(tmp_path / "q.onnx", [quantize], kind, [len(x)], scale)
    assert np.array_equal(results(path, x), np.clip(x * 2, low, high))
    cast = helper.make_node("Cast", ["x"], ["y"], to=kind)
    found = results(model(tmp_path / "c.onnx", [cast], kind, [len(x)]), np.abs(x))
    assert np.array_equal(found, (np.abs(x).astype(int) - low) % (high - low + 1) + low)


def test_arithmetic_of_bfloat16_is_rounded_after_every_operator(tmp_path: Path) -> None:
    x = np.random.default_rng(3).normal(size=(20, 10)).astype(np.float32)
    kind = TensorProto.BFLOAT16
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=kind),
        helper.make_node("Mul", ["a", "a"], ["b"]),
        helper.make_node("Add", ["b", "a"], ["c"]),
        helper.make_node("Transpose", ["c"], ["y"]),
    ]
    found = results(model(tmp_path / "m.onnx", nodes, kind, [20, 10]), x)
    a: Any = x.astype(ml_dtypes.bfloat16)
    assert np.array_equal(found, (a * a + a).astype(np.float32).T)


def test_a_layer_with_weights_of_4_bits_runs_on_vta(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    weights = generator.integers(-8, 8, (16, 16, 3, 3))
    packed = helper.make_tensor("w4", TensorProto.INT4, weights.shape, weights.ravel())
    constants = [
        packed,
        constant(np.float32(0.02), "s"),
        constant(np.int8(0), "z"),
        constant(np.float32(0.1), "sw"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w4", "sw"], ["w"]),
        helper.make_node("Conv", ["d", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["c", "sw", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "sw", "z"], ["y"]),
    ]
    path = model(tmp_path / "m.onnx", nodes, TensorProto.FLOAT, [1, 16, 8, 8], *constants)
    integers = from_qdq(fold(read(path)))[0].verify()
    placed = partition(integers, Config())
    assert [item.layer.anchor is not None for item in placed if item.layer] == [True]
    x = generator.normal(0, 1, (1, 16, 8, 8)).astype(np.float32)
    wanted = onnxruntime.InferenceSession(path).run(None, {"x": x})[0]
    found = outputs(integers, {"x": x})["y"]
    assert np.abs(found - wanted).max() <= 0.1001
    assert (found == wanted).mean() > 0.99
