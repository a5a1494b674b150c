"""ONNX Runtime's int8 kernels, and what is said here that they compute: equal, element by element.

Each model is one operator between quantizations, of which ONNX Runtime makes one integer kernel.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from vtakit.compiler.passes import qdq_kernels as kernels
from vtakit.compiler.passes.qdq_kernels import Tensor
from vtakit.runtime.host.qlinear import qlinear_average_pool, qlinear_softmax

from .onnx_models import ModelBuilder

LIMITS = -128, 127


class Case:
    """A model that grows, its scales and zero points drawn; integers are as VTA holds them."""

    def __init__(self, folder: Path, dtype: Any, seed: int):
        self.folder, self.dtype = folder, dtype
        self.shift = 128 if dtype is np.uint8 else 0
        self.net = ModelBuilder(seed)
        self.random = self.net.random
        self.feeds: dict[str, np.ndarray] = {}

    def tensor(self, scale: float | None = None, zero_point: int | None = None) -> Tensor:
        if scale is None:
            scale = self.random.uniform(0.01, 0.1)
        if zero_point is None:
            zero_point = int(self.random.integers(-128, 128))
        return Tensor(float(np.float32(scale)), zero_point, self.shift)

    def _parameters(self, meaning: Tensor) -> tuple[str, str]:
        zero = np.asarray(meaning.zero_point + self.shift, self.dtype)
        return self.net.weight(np.float32(meaning.scale)), self.net.weight(zero)

    def read(self, array: np.ndarray, meaning: Tensor) -> str:
        """Add an input, dequantized."""
        name = self.net.input(f"x{len(self.feeds)}", array.shape, self.dtype)
        self.feeds[name] = (array.astype(np.int64) + self.shift).astype(self.dtype)
        return self.net.add("DequantizeLinear", name, *self._parameters(meaning))

    def draw(self, *shape: int) -> np.ndarray:
        """Draw an int8 array."""
        spread, centre = self.random.uniform(20, 80), self.random.uniform(-40, 40)
        values = np.rint(self.random.normal(centre, spread, shape))
        return np.clip(values, *LIMITS).astype(np.int8)

    def run(self, y: str, meaning: Tensor, kernel: str) -> np.ndarray:
        """Quantize y and run it; the kernel must be among those that ONNX Runtime made."""
        model = self.net.model(self.net.add("QuantizeLinear", y, *self._parameters(meaning)))
        optimized = self.folder / "optimized.onnx"
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.optimized_model_filepath = str(optimized)
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        assert kernel in {node.op_type for node in onnx.load(optimized).graph.node}
        (found,) = session.run(None, self.feeds)
        return np.asarray(found).astype(np.int64) - self.shift


@pytest.fixture(params=[(d, s) for d in ("uint8", "int8") for s in range(4)], ids=str)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    dtype, seed = request.param
    return Case(tmp_path, np.dtype(dtype).type, seed)


@pytest.mark.parametrize("per_channel", [False, True])
def test_convolution(case: Case, per_channel: bool) -> None:
    x, y = case.tensor(), case.tensor()
    data = case.draw(64, 16, 4, 4)
    integers = case.random.integers(-64, 65, (24, 16, 1, 1)).astype(np.int8)  # exact without VNNI
    bias = case.random.integers(-5000, 5000, 24).astype(np.int32)
    scale = case.random.uniform(0.001, 0.01, 24).astype(np.float32)
    if not per_channel:
        scale = scale[0]
    net = case.net
    zeros = np.zeros(scale.shape, np.int8)
    parts = net.weight(integers), net.weight(scale), net.weight(zeros)
    bias_scale = net.weight(np.float32(x.scale) * scale)
    bias_parts = net.weight(bias), bias_scale, net.weight(zeros.astype(np.int32))
    w = net.add("DequantizeLinear", *parts, axis=0)
    b = net.add("DequantizeLinear", *bias_parts, axis=0)
    theirs = case.run(net.add("Conv", case.read(data, x), w, b), y, "QLinearConv")
    centred = data.astype(np.int64) - x.zero_point
    sums = np.einsum("nchw,oc->nohw", centred, integers[:, :, 0, 0].astype(np.int64))
    sums += bias[:, None, None]
    factor = kernels.linear_scale(x.scale * scale.astype(np.float64), y)
    factor = factor[:, None, None] if per_channel else factor
    np.testing.assert_array_equal(kernels.linear(sums, factor, y, *LIMITS), theirs)


@pytest.mark.parametrize("first_scale", [None, 0.0625])
def test_addition_of_every_pair(case: Case, first_scale: float | None) -> None:
    x, z, y = case.tensor(first_scale), case.tensor(), case.tensor()
    a, b = np.meshgrid(*[np.arange(-128, 128, dtype=np.int8)] * 2, indexing="ij")
    total = case.net.add("Add", case.read(a, x), case.read(b, z))
    theirs = case.run(total, y, "QLinearAdd")
    ours = kernels.added(a.astype(np.int64), b.astype(np.int64), x, z, y)
    np.testing.assert_array_equal(ours, theirs)


def test_product_of_every_pair(case: Case) -> None:
    x, z = case.tensor(), case.tensor()
    y = case.tensor(x.scale * z.scale * case.random.uniform(30, 200))
    a, b = np.meshgrid(*[np.arange(-128, 128, dtype=np.int8)] * 2, indexing="ij")
    theirs = case.run(case.net.add("Mul", case.read(a, x), case.read(b, z)), y, "QLinearMul")
    product = (a.astype(np.int64) - x.zero_point) * (b.astype(np.int64) - z.zero_point)
    factor = kernels.linear_scale(x.scale * z.scale, y)
    np.testing.assert_array_equal(kernels.multiplied(product, factor, y, *LIMITS), theirs)


def test_pieces_of_other_scales(case: Case) -> None:
    x, z, y = case.tensor(), case.tensor(), case.tensor()
    data = np.arange(-128, 128, dtype=np.int8)[None]
    joined = case.net.add("Concat", case.read(data, x), case.read(data, z), axis=0)
    theirs = case.run(joined, y, "QLinearConcat")
    ours = [
        kernels.requantized(data[0].astype(np.int64) - part.zero_point, part.unit, y, *LIMITS)
        for part in (x, z)
    ]
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("same_scale", [False, True])
@pytest.mark.parametrize("size", [2, 3, 8])
def test_average_over_windows(case: Case, size: int, same_scale: bool) -> None:
    x = case.tensor()
    y = x if same_scale else case.tensor(x.scale * case.random.uniform(0.5, 1))
    data = case.draw(1, 32, 8 * size, 8 * size)
    window = [size, size]
    mean = case.net.add("AveragePool", case.read(data, x), kernel_shape=window, strides=window)
    theirs = case.run(mean, y, "QLinearAveragePool")
    ours = qlinear_average_pool(
        data, window=(size, size), strides=(size, size), x_scale=x.scale, x_zero=x.zero_point,
        y_scale=y.scale, y_zero=y.zero_point, shift=case.shift,
    )  # fmt: skip
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "AveragePool"])
@pytest.mark.parametrize("size", [7, 8])
def test_average_over_planes(case: Case, size: int, operator: str) -> None:
    """An AveragePool whose window is the plane is computed as a GlobalAveragePool."""
    x = case.tensor()
    y = x if size == 8 else case.tensor(x.scale * case.random.uniform(0.5, 1))
    data = case.draw(16, 32, size, size)
    source = case.read(data, x)
    if operator == "AveragePool":
        mean = case.net.add(operator, source, kernel_shape=[size, size])
    else:
        mean = case.net.add(operator, source)
    theirs = case.run(mean, y, f"QLinear{operator}")
    sums = (data.astype(np.int64) - x.zero_point).sum(axis=(2, 3), keepdims=True)
    factor = kernels.mean_scale(x, size * size, y)
    np.testing.assert_array_equal(kernels.linear(sums, factor, y, *LIMITS), theirs)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_softmax(case: Case, classes: int) -> None:
    scale = case.random.choice([1 / 256, 1 / 255, 0.0037, 0.0017])
    x, y = case.tensor(0.2 * case.random.uniform(0.1, 1)), case.tensor(scale, -128)
    data = case.draw(200, classes)
    data[::3, 0] = data[::3, 1]  # halves
    theirs = case.run(case.net.add("Softmax", case.read(data, x)), y, "QLinearSoftmax")
    ours = qlinear_softmax(
        data, axis=1, x_scale=x.scale, y_scale=y.scale, y_zero=-128, shift=case.shift
    )
    np.testing.assert_array_equal(ours, theirs)
