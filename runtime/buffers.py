"""Device memory: addresses handed out and given back, and named tensors in an arena."""

from bisect import insort
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from .drivers.device import DeviceError


class OutOfMemory(DeviceError):
    """No room of the size that is asked for."""


class Heap:
    """Hands out ranges of bytes: the lowest that fits first.

    Parameters
    ----------
    begin, end : int
        The first byte that may be used, and the one after the last.

    Attributes
    ----------
    high_water : int
        The end of the highest range ever handed out; `begin` at first.
    """

    def __init__(self, begin: int, end: int) -> None:
        self.begin = begin
        self.end = end
        self.high_water = begin
        self._used: list[tuple[int, int]] = []  # (begin, end), rising

    def allocate(self, size_bytes: int, *, align: int = 1) -> int:
        """Return the first byte of an unused range, a multiple of `align`; never the same twice.

        Raises
        ------
        OutOfMemory
            When no gap is large enough, saying how large the largest is.
        """
        size_bytes = max(size_bytes, 1)
        largest = 0
        below = self.begin
        for begin, end in [*self._used, (self.end, self.end)]:
            start = -(-below // align) * align
            largest = max(largest, begin - start)
            if begin - start >= size_bytes:
                insort(self._used, (start, start + size_bytes))
                self.high_water = max(self.high_water, start + size_bytes)
                return start
            below = end
        raise OutOfMemory(
            f"{size_bytes} bytes do not fit in memory: of {self.end - self.begin} bytes, "
            f"{sum(end - begin for begin, end in self._used)} are in use, and the largest free "
            f"range at a multiple of {align} has {largest}"
        )

    def release(self, address: int) -> None:
        """Give back the range that begins at `address`.

        Raises
        ------
        DeviceError
            When none does.
        """
        for used in self._used:
            if used[0] == address:
                self._used.remove(used)
                return
        raise DeviceError(f"nothing is allocated at address {address}")


@dataclass(frozen=True)
class Tensor:
    """An array in device memory, in C order.

    Attributes
    ----------
    name : str
    offset : int
        Its first byte in the arena.
    dtype : str
        A NumPy type's name, `int8` for instance.
    shape : tuple of int
        As it lies in memory: the packed shape, where it is packed.
    """

    name: str
    offset: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class Segment:
    """Constant bytes in the arena, uint8 (n), from `offset` on."""

    offset: int
    data: npt.NDArray[np.uint8]
