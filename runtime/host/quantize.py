"""Between float and integers, as ONNX's QuantizeLinear and DequantizeLinear define it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def quantize_linear(
    x: NDArray[Any], scale: NDArray[Any], zero_point: NDArray[Any], *, axis: int
) -> NDArray[Any]:
    """Return x / scale, rounded half to even, plus zero_point, saturated to the latter's type.

    Scale and zero point are scalars, or have one element for each index of `axis`. What is not a
    number becomes the lowest value.
    """
    limits = np.iinfo(zero_point.dtype)
    scaled = np.rint(x / _along(scale, x.ndim, axis)) + _along(zero_point, x.ndim, axis)
    clipped = np.clip(scaled, limits.min, limits.max)
    return np.where(np.isnan(clipped), limits.min, clipped).astype(zero_point.dtype)


def dequantize_linear(
    x: NDArray[Any], scale: NDArray[Any], zero_point: NDArray[Any], *, axis: int
) -> NDArray[Any]:
    """Return (x - zero_point) * scale, float32; shapes as for `quantize_linear`."""
    centred = x.astype(np.int64) - _along(zero_point, x.ndim, axis)
    return centred.astype(np.float32) * _along(scale, x.ndim, axis)


def qlinear_average_pool(
    x: NDArray[np.int8],
    *,
    window: Sequence[int],
    strides: Sequence[int],
    x_scale: float,
    x_zero: int,
    y_scale: float,
    y_zero: int,
    shift: int,
) -> NDArray[np.int8]:
    """Return the mean of each window of x (N, C, H, W), as ONNX Runtime's QLinearAveragePool.

    It adds float32, row by row of the window, and adds the zero point before it rounds. Zero points
    are those of int8; `shift` is how much greater those are that ONNX Runtime's kernel sees.
    """
    real = (x.astype(np.int32) - x_zero).astype(np.float32) * np.float32(x_scale)
    rows, cols = (
        (extent - size) // stride + 1
        for extent, size, stride in zip(x.shape[2:], window, strides, strict=True)
    )
    total = np.zeros((*x.shape[:2], rows, cols), np.float32)
    for i in range(window[0]):
        for j in range(window[1]):
            part = real[:, :, i :: strides[0], j :: strides[1]]
            total += part[:, :, :rows, :cols]
    mean = total / np.float32(window[0] * window[1])
    value = mean / np.float32(y_scale) + np.float32(y_zero + shift)
    limits = np.float32(-128 + shift), np.float32(127 + shift)
    return (np.rint(np.clip(value, *limits)) - shift).astype(np.int8)


def _along(parameter: NDArray[Any], rank: int, axis: int) -> NDArray[Any]:
    if parameter.ndim == 0:
        return parameter
    shape = [1] * rank
    shape[axis] = parameter.size
    return parameter.reshape(shape)
