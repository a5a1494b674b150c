"""Between float and integers, as ONNX's QuantizeLinear and DequantizeLinear define it."""

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


def _along(parameter: NDArray[Any], rank: int, axis: int) -> NDArray[Any]:
    if parameter.ndim == 0:
        return parameter
    shape = [1] * rank
    shape[axis] = parameter.size
    return parameter.reshape(shape)
