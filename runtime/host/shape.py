"""Moving data without computing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def reshape(x: NDArray[Any], *, shape: Sequence[int]) -> NDArray[Any]:
    """Give x another shape of as many elements."""
    return x.reshape(shape)


def transpose(x: NDArray[Any], *, perm: Sequence[int]) -> NDArray[Any]:
    """Order the axes of x as `perm` lists them."""
    return np.ascontiguousarray(x.transpose(perm))


def concat(*arrays: NDArray[Any], axis: int) -> NDArray[Any]:
    """Join arrays along an axis."""
    return np.concatenate(arrays, axis)


def pad(
    x: NDArray[Any], *, before: Sequence[int], after: Sequence[int], value: float
) -> NDArray[Any]:
    """Put `value` around x, `before` and `after` it on each axis."""
    return np.pad(x, tuple(zip(before, after, strict=True)), constant_values=value)


def slice_(
    x: NDArray[Any], *, starts: Sequence[int], counts: Sequence[int], steps: Sequence[int]
) -> NDArray[Any]:
    """Take, on each axis, `counts` elements from `starts` on, `steps` apart (maybe negative)."""
    for axis, (start, count, step) in enumerate(zip(starts, counts, steps, strict=True)):
        if (start, count, step) != (0, x.shape[axis], 1):
            x = x.take(start + step * np.arange(count), axis)
    return np.ascontiguousarray(x)


def gather(x: NDArray[Any], indices: NDArray[Any], *, axis: int) -> NDArray[Any]:
    """Take the elements of x at `indices` (negative ones count from the end) along an axis."""
    return np.asarray(np.take(x, indices, axis))


def broadcast(x: NDArray[Any], *, shape: Sequence[int]) -> NDArray[Any]:
    """Repeat x along axes of extent 1, and along new ones in front, to `shape`."""
    return np.ascontiguousarray(np.broadcast_to(x, shape))


def unfold(
    x: NDArray[Any], *, window: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> NDArray[Any]:
    """Return the windows of x (N, C, H, W) as channels, (N, C * KH * KW, OH, OW)."""
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, window, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(x, spans, axis=(2, 3))
    (sy, sx), (dy, dx) = strides, dilations
    parts = views[:, :, ::sy, ::sx, ::dy, ::dx].transpose(0, 1, 4, 5, 2, 3)
    n, c, kh, kw, rows, cols = parts.shape
    return np.ascontiguousarray(parts).reshape(n, c * kh * kw, rows, cols)
