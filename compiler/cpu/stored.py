"""How values lie in a CPU's memory: row by row, or as images in blocks of channels.

An image (N, C, H, W) in blocks of 16 is (N, C / 16, H', W', 16), the halo around it included: the
tiles of a VTA of that block, so that nothing changes its order between the two. There int8 is held
as uint8, 128 more, which is what CPUs multiply by int8, unless it is `signed`; (N, C) is an image
of one pixel. Tiles of several images are (N / batch, C / block, H', W', batch, block).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..expr import Expr, Type, minimum
from ..graph import DType, Value

Halo = tuple[int, int, int, int]

NO_HALO: Halo = (0, 0, 0, 0)
BLOCK = 16
"""Channels of a block: the accumulators of a vector of 512 bits."""
ZERO = 128
"""What is added to int8 where it is held as uint8."""

TYPES = {dtype: Type(dtype.value) for dtype in DType}
"""What an element of a value is in expressions."""


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
    batch : int
        Images of a tile.
    place : int or None
        Its first byte in an accelerator's memory, where it lies there; its halo is filled then.
    """

    value: Value
    block: int = 0
    halo: Halo = NO_HALO
    fill: float = 0
    signed: bool = False
    batch: int = 1
    place: int | None = None

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
        n, c, rows, cols, *tile = self.inner
        top, left, bottom, right = self.halo
        return (n, c, rows + top + bottom, cols + left + right, *tile)

    @property
    def inner(self) -> tuple[int, ...]:
        """Its extents without the halo."""
        if not self.block:
            return self.value.shape
        n, c, rows, cols = image(self.value.shape)
        tile = (self.batch, self.block) if self.batch > 1 else (self.block,)
        return (-(-n // self.batch), -(-c // self.block), rows, cols, *tile)

    @property
    def blocked(self) -> bool:
        """Whether it lies in blocks of 16 channels of one image, which anchors write."""
        return self.block == BLOCK and self.batch == 1

    @property
    def form(self) -> str:
        """How it lies, for people."""
        if not self.block:
            return "row by row"
        if self.place is not None:
            return f"tiles of {self.batch}x{self.block}"
        return f"blocks of {self.block}"

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

    def indices(self, place: Sequence[Expr]) -> tuple[Expr, ...]:
        """Return an element's indices in the value, from those in blocks without the halo.

        Channels may lie beyond the value's, where the last block is padded; images do not.
        """
        n, c, y, x, *rest, lane = place
        if rest:
            n = n * self.batch + rest[0]
            if self.value.shape[0] % self.batch:
                n = minimum(n, self.value.shape[0] - 1)
        return (n, c * self.block + lane, y, x)[: len(self.value.shape)]

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
