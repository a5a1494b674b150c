"""Images out of the tiles that the accelerator works on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
