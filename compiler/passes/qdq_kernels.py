"""What ONNX Runtime's int8 kernels make of integers, each float32 operation as they do it.

Every function takes and gives int64 arrays of integers as VTA holds them: of a uint8 tensor less
128. `Tensor` says what they mean to a kernel. Checked against ONNX Runtime 1.32 on x86 with AVX2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .quantize_numbers import Integers

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Tensor:
    """Scale and zero point of a tensor as VTA holds it; a kernel sees integers `shift` greater."""

    scale: float
    zero_point: int
    shift: int

    @property
    def unit(self) -> np.float32:
        """The scale, float32."""
        return np.float32(self.scale)

    @property
    def kernel_zero(self) -> np.float32:
        """The zero point that a kernel sees."""
        return np.float32(self.zero_point + self.shift)


def linear_scale(scale: NDArray[np.float64] | float, y: Tensor) -> Float:
    """Return the factor of QLinearConv, QGemm and QLinearMatMul, from x_scale * w_scale, exact."""
    return np.asarray(scale, np.float32) / y.unit


def mean_scale(x: Tensor, count: int, y: Tensor) -> Float:
    """Return the factor of QLinearGlobalAveragePool over `count` cells."""
    return np.asarray(x.unit / (y.unit * np.float32(count)))


def linear(acc: Integers, scale: Float, y: Tensor, low: int, high: int) -> Integers:
    """QLinearConv, QGemm, QLinearMatMul, QLinearGlobalAveragePool: sums of centred integers."""
    value = acc.astype(np.float32) * scale
    limits = np.float32(low - y.zero_point), np.float32(high - y.zero_point)
    return np.rint(np.clip(value, *limits)).astype(np.int64) + y.zero_point


def multiplied(product: Integers, scale: Float, y: Tensor, low: int, high: int) -> Integers:
    """QLinearMul: products of centred integers."""
    return _rounded(product.astype(np.float32) * scale + y.kernel_zero, y, low, high)


def added(a: Integers, b: Integers, x: Tensor, z: Tensor, y: Tensor) -> Integers:
    """QLinearAdd of a, which means x, and b, which means z: with fused multiply-adds."""
    first, second = x.unit / y.unit, z.unit / y.unit
    centre = _fused(np.asarray(x.kernel_zero), first, np.asarray(second * z.kernel_zero))
    inner = _fused((b + z.shift).astype(np.float32), second, y.kernel_zero - centre)
    value = _fused((a + x.shift).astype(np.float32), first, inner)
    return _rounded(value, y, -128, 127)


def requantized(centred: Integers, scale: np.float32, y: Tensor, low: int, high: int) -> Integers:
    """DequantizeLinear, Relu, QuantizeLinear; QLinearConcat does the same to its inputs."""
    steps = np.rint(centred.astype(np.float32) * scale / y.unit)
    return np.clip(steps.astype(np.int64) + y.zero_point, low, high)


def _fused(a: Float, b: np.float32, c: Float) -> Float:
    """Return a * b + c, rounded once: the product of two float32 is exact in float64.

    Their sum is rounded to odd there, so that rounding it again does no harm.
    """
    product = a.astype(np.float64) * np.float64(b)
    addend = np.asarray(c, np.float64)
    total = product + addend
    rest = total - product  # two-sum: what the addition lost
    lost = (product - (total - rest)) + (addend - rest)
    even = (total.view(np.int64) & 1) == 0
    toward = np.nextafter(total, np.where(lost > 0, np.inf, -np.inf))
    odd = np.where((lost != 0) & even, toward, total)
    return odd.astype(np.float32)


def _rounded(value: Float, y: Tensor, low: int, high: int) -> Integers:
    limits = np.float32(low + y.shift), np.float32(high + y.shift)
    return np.rint(np.clip(value, *limits)).astype(np.int64) - y.shift
