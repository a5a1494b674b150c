"""Maximum and sum over the windows of an image, one axis after the other."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def max_pool2d(
    x: NDArray[Any],
    *,
    window: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
) -> NDArray[Any]:
    """Return the maximum of each window of x (N, C, H, W). Padding never wins."""
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    return _pool(x, np.maximum, window, strides, pads, dilations, lowest)


def sum_pool2d(
    x: NDArray[Any],
    *,
    window: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    pad_value: int,
) -> NDArray[Any]:
    """Return the sum of each window of x (N, C, H, W): int32, wrapping, of int8; else float32."""
    x = x if x.dtype.kind == "f" else x.astype(np.int32)
    return _pool(x, np.add, window, strides, pads, (1, 1), pad_value)


def _pool(
    x: NDArray[Any],
    combine: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]],
    window: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    pad_value: float,
) -> NDArray[Any]:
    top, left, bottom, right = pads
    if any(pads):
        around = ((0, 0), (0, 0), (top, bottom), (left, right))
        x = np.pad(x, around, constant_values=pad_value)
    for axis, size, stride, dilation in zip((2, 3), window, strides, dilations, strict=True):
        count = (x.shape[axis] - dilation * (size - 1) - 1) // stride + 1
        out: NDArray[Any] | None = None
        for k in range(size):
            steps = slice(k * dilation, k * dilation + (count - 1) * stride + 1, stride)
            part = x[:, :, steps] if axis == 2 else x[:, :, :, steps]
            out = part.copy() if out is None else combine(out, part)
        assert out is not None
        x = out
    return x
