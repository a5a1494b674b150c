"""Images to the tiles that the accelerator works on, and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack_tiles(
    x: NDArray[np.int8], *, batch: int, block: int, halo: Sequence[int], value: int
) -> NDArray[np.int8]:
    """Return x, int8 (N, C, H, W) or (N, C), as tiles (NB, CB, H', W', batch, block).

    `halo` is the rows and columns of `value` around each image: top, left, bottom, right. Images
    and channels beyond N and C are zero.
    """
    n, c, *extents = x.shape
    rows, cols = extents or (1, 1)
    top, left, bottom, right = halo
    nb, cb = -(-n // batch), -(-c // block)
    out = np.zeros((nb, batch, cb, block, rows + top + bottom, cols + left + right), np.int8)
    flat = out.reshape(nb * batch, cb * block, *out.shape[4:])
    if any(halo):
        flat[:n, :c] = value
    flat[:n, :c, top : top + rows, left : left + cols] = x.reshape(n, c, rows, cols)
    return np.ascontiguousarray(out.transpose(0, 2, 4, 5, 1, 3))


def unpack_tiles(
    tiles: NDArray[np.int8], *, shape: Sequence[int], halo: Sequence[int]
) -> NDArray[Any]:
    """Return int8 (N, C, H, W) or (N, C) from tiles (NB, CB, H', W', batch, block)."""
    n, c, *extents = shape
    rows, cols = extents or (1, 1)
    top, left = halo[:2]
    inner = tiles[:, :, top : top + rows, left : left + cols]
    nb, cb, _, _, batch, block = tiles.shape
    whole = inner.transpose(0, 4, 1, 5, 2, 3).reshape(nb * batch, cb * block, rows, cols)
    return np.ascontiguousarray(whole[:n, :c]).reshape(tuple(shape))
