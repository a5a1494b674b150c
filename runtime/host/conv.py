"""Convolution and matrix products. Integer ones go through floating-point BLAS, exactly."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53
"""Integers up to here, and sums that never exceed it, are exact in any order of addition."""


def conv2d(
    x: NDArray[Any],
    w: NDArray[Any],
    *,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    groups: int,
    pad_value: int,
) -> NDArray[Any]:
    """Convolve x (N, C, H, W) with w (O, C / groups, KH, KW) into (N, O, OH, OW).

    Integers give int32, wrapping; float32 gives float32. `pads` is top, left, bottom, right.
    """
    bound = _bound(x, w)
    x, w = _widen(x, bound), _widen(w, bound)
    n, c = x.shape[:2]
    o, c_group, kh, kw = w.shape
    top, left, bottom, right = pads
    if any(pads):
        around = ((0, 0), (0, 0), (top, bottom), (left, right))
        x = np.pad(x, around, constant_values=pad_value)
    oh = (x.shape[2] - dilations[0] * (kh - 1) - 1) // strides[0] + 1
    ow = (x.shape[3] - dilations[1] * (kw - 1) - 1) // strides[1] + 1

    def window(ky: int, kx: int) -> NDArray[Any]:
        y0, x0 = ky * dilations[0], kx * dilations[1]
        rows = slice(y0, y0 + (oh - 1) * strides[0] + 1, strides[0])
        columns = slice(x0, x0 + (ow - 1) * strides[1] + 1, strides[1])
        return x[:, :, rows, columns]

    if c_group == 1 and groups > 1:
        out = np.zeros((n, groups, o // groups, oh, ow), x.dtype)
        for ky in range(kh):
            for kx in range(kw):
                out += window(ky, kx)[:, :, None] * w[:, 0, ky, kx].reshape(groups, -1, 1, 1)
        return _narrow(out.reshape(n, o, oh, ow), bound)

    columns = np.empty((n, groups, c_group, kh, kw, oh, ow), x.dtype)
    for ky in range(kh):
        for kx in range(kw):
            columns[:, :, :, ky, kx] = window(ky, kx).reshape(n, groups, c_group, oh, ow)
    flat = columns.reshape(n, groups, c_group * kh * kw, oh * ow)
    out = w.reshape(groups, o // groups, c_group * kh * kw) @ flat
    assert c == groups * c_group
    return _narrow(out.reshape(n, o, oh, ow), bound)


def conv_transpose2d(
    x: NDArray[Any],
    w: NDArray[Any],
    *,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> NDArray[Any]:
    """Add x (N, C, H, W) times w (C, O / groups, KH, KW) into windows of (N, O, OH, OW).

    `pads` - top, left, bottom, right - are cut off; negative ones add zeros.
    """
    n, c, h, wide = x.shape
    _, o_group, kh, kw = w.shape
    (sy, sx), (dy, dx) = strides, dilations
    rows, cols = (h - 1) * sy + (kh - 1) * dy + 1, (wide - 1) * sx + (kw - 1) * dx + 1
    top, left, bottom, right = pads
    more = [max(-pad, 0) for pad in pads]
    whole = np.zeros((n, groups, o_group, rows + more[0] + more[2], cols + more[1] + more[3]),
                     x.dtype)  # fmt: skip
    parts = w.reshape(groups, c // groups, o_group, kh, kw)
    image = x.reshape(n, groups, c // groups, h * wide)
    for ky in range(kh):
        for kx in range(kw):
            part = np.swapaxes(parts[..., ky, kx], 1, 2) @ image
            y0, x0 = more[0] + ky * dy, more[1] + kx * dx
            whole[:, :, :, y0 : y0 + (h - 1) * sy + 1 : sy, x0 : x0 + (wide - 1) * sx + 1 : sx] += (
                part.reshape(n, groups, o_group, h, wide)
            )
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = whole.shape[3] - max(bottom, 0), whole.shape[4] - max(right, 0)
    cut = whole[:, :, :, y0:y1, x0:x1]
    return np.ascontiguousarray(cut).reshape(n, groups * o_group, *cut.shape[3:])


def dense(x: NDArray[Any], w: NDArray[Any]) -> NDArray[Any]:
    """Multiply x (N, K) by the transpose of w (O, K) into (N, O); types as for `conv2d`."""
    bound = _bound(x, w)
    return _narrow(_widen(x, bound) @ _widen(w, bound).T, bound)


def matmul(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Multiply stacks of matrices as NumPy does; float32 only."""
    return a @ b


def _bound(x: NDArray[Any], w: NDArray[Any]) -> int | None:
    """Return what no partial sum of |x| * |w| exceeds; None for floats."""
    if x.dtype.kind == "f":
        return None
    if not x.size or not w.size:
        return 0
    largest = max(-int(x.min()), int(x.max()))
    weights = np.abs(w.astype(np.int64)).reshape(w.shape[0], -1).sum(axis=1)
    return largest * int(weights.max())


def _widen(array: NDArray[Any], bound: int | None) -> NDArray[Any]:
    if bound is None:
        return array
    if bound <= FLOAT32_EXACT:
        return array.astype(np.float32)
    return array.astype(np.float64 if bound <= FLOAT64_EXACT else np.int64)


def _narrow(out: NDArray[Any], bound: int | None) -> NDArray[Any]:
    if bound is None:
        return out
    return out.astype(np.int32) if bound < 1 << 31 else out.astype(np.int64).astype(np.int32)
