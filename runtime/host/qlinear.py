"""Operators on int8 in the float32 of ONNX Runtime's kernels, which add the zero point, then round.

Zero points are those of int8. `shift` is how much greater those are that ONNX Runtime's kernel
sees: 128 where that has uint8.
"""

from collections.abc import Sequence
from math import floor, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT32_MAX = float(np.finfo(np.float32).max)
ROOM = 5.0
"""How far the logarithm of a softmax's greatest sum stays below that of FLOAT32_MAX."""


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

    It adds float32, row by row of the window.
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
    return _rounded(value, shift)


def qlinear_softmax(
    x: NDArray[np.int8], *, axis: int, x_scale: float, y_scale: float, y_zero: int, shift: int
) -> NDArray[np.int8]:
    """Return exp(x) over its sum along an axis, as ONNX Runtime's QLinearSoftmax.

    Terms come from a table, in which the greatest is as great as sums allow, and one over y_scale
    is cut to a whole number.
    """
    greatest = max(0.0, log(FLOAT32_MAX / x.shape[axis]) - ROOM)
    below = x.astype(np.float64) - x.max(axis=axis, keepdims=True)
    terms = np.exp(below * x_scale + greatest).astype(np.float32)
    total = terms.sum(axis=axis, keepdims=True, dtype=np.float64).astype(np.float32)
    factor = np.float32(1) / total * np.float32(floor(np.float32(1) / np.float32(y_scale)))
    return _rounded(terms * factor + np.float32(y_zero + shift), shift)


def _rounded(value: NDArray[Any], shift: int) -> NDArray[np.int8]:
    limits = np.float32(-128 + shift), np.float32(127 + shift)
    return (np.rint(np.clip(value, *limits)) - shift).astype(np.int8)
