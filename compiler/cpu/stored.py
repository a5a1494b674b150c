"""How values lie in a CPU's memory: row by row, or as images in blocks of channels.

An image (N, C, H, W) in blocks of 16 is (N, C / 16, H', W', 16), the halo around it included: the
tiles of a VTA of that block, so that nothing changes its order between the two. There int8 is held
as uint8, 128 more, which is what CPUs multiply by int8, unless it is `signed`; (N, C) is an image
of one pixel.
"""

from dataclasses import dataclass
from math import prod

from ..expr import Type
from ..graph import DType, Value

Halo = tuple[int, int, int, int]

NO_HALO: Halo = (0, 0, 0, 0)
BLOCK = 16
"""Channels of a block: the accumulators of a vector of 512 bits."""
ZERO = 128
"""What is added to int8 where it is held as uint8."""

TYPES = {
    DType.FLOAT32: Type.FLOAT32,
    DType.INT8: Type.INT8,
    DType.UINT8: Type.UINT8,
    DType.INT32: Type.INT32,
    DType.INT64: Type.INT64,
    DType.BOOL: Type.BOOL,
}


@dataclass(frozen=True, eq=False)
class Stored:
    """A value in memory.

    Parameters
    ----------
    value : Value
    block : int
        Channels of a block; 0 where it lies row by row.
    halo : tuple of int
        Rows and columns around each image: top, left, bottom, right.
    fill : float
        What the halo holds, in the value's own numbers.
    signed : bool
        Whether int8 stays int8.
    """

    value: Value
    block: int = 0
    halo: Halo = NO_HALO
    fill: float = 0
    signed: bool = False

    @property
    def biased(self) -> bool:
        """Whether it is int8 held as uint8."""
        return self.block > 0 and self.value.dtype is DType.INT8 and not self.signed

    @property
    def element(self) -> Type:
        """The type of its elements in memory."""
        return Type.UINT8 if self.biased else TYPES[self.value.dtype]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its extents in memory, halo included."""
        if not self.block:
            return self.value.shape
        n, c, rows, cols = image(self.value.shape)
        top, left, bottom, right = self.halo
        return (n, -(-c // self.block), rows + top + bottom, cols + left + right, self.block)

    @property
    def inner(self) -> tuple[int, ...]:
        """Its extents without the halo."""
        if not self.block:
            return self.value.shape
        n, c, rows, cols = image(self.value.shape)
        return (n, -(-c // self.block), rows, cols, self.block)

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements from one index to the next along each axis."""
        steps = [1]
        for extent in reversed(self.shape[1:]):
            steps.append(steps[-1] * extent)
        return tuple(reversed(steps)) if self.shape else ()

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes."""
        return prod(self.shape) * self.value.dtype.numpy.itemsize

    def begin(self, around: Halo = NO_HALO) -> int:
        """Return the element at which the image begins, with `around` of its halo."""
        if not self.block:
            return 0
        return (self.halo[0] - around[0]) * self.strides[2] + (
            self.halo[1] - around[1]
        ) * self.strides[3]


def image(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return a shape as (N, C, H, W)."""
    n, c, *rest = shape
    rows, cols = rest or (1, 1)
    return n, c, rows, cols


def is_image(value: Value) -> bool:
    """Return whether a value can lie in blocks: (N, C) or (N, C, H, W)."""
    return len(value.shape) in (2, 4) and 0 not in value.shape
