"""The memory of a GPU whose programs run on NumPy."""

import numpy as np
from numpy.typing import NDArray

from .ptx_values import Array


class Memory:
    """Bytes that are read and written at their natural alignment, where they are allocated."""

    GAP = 1 << 12
    """Bytes between what is allocated, which nobody may touch."""

    def __init__(self, size: int = 0) -> None:
        self.bytes = np.zeros(-(-size // 16) * 16, np.uint8)
        self.allocated: dict[int, int] = {0: size} if size else {}

    def allocate(self, filling: NDArray[np.uint8]) -> int:
        """Return the address of bytes that hold this now."""
        begin = self.bytes.size + self.GAP
        self.bytes = np.concatenate(
            [
                self.bytes,
                np.zeros(self.GAP, np.uint8),
                filling,
                np.zeros(-filling.size % 16, np.uint8),
            ]
        )
        self.allocated[begin] = filling.size
        return begin

    def free(self, address: int) -> None:
        """Let nobody touch what was allocated there."""
        del self.allocated[address]

    def places(self, address: Array, size: int, text: str) -> Array:
        """Return the indices, among numbers of this size, of what lies at these addresses."""
        begins = np.array(list(self.allocated), np.int64)
        ends = begins + np.array(list(self.allocated.values()), np.int64)
        which = np.searchsorted(begins, address, side="right") - 1
        wrong = (which < 0) | (address + size > ends[which])
        assert not np.any(address & (size - 1)), f"{text}: not aligned to {size} bytes"
        assert not wrong.any(), f"{text}: nothing is allocated at {address[wrong][:4]}"
        return address // size

    def load(self, address: Array, size: int, text: str) -> Array:
        """Return the numbers of `size` bytes at these addresses."""
        return self.bytes.view(f"u{size}")[self.places(address, size, text)]

    def store(self, address: Array, values: Array, text: str) -> None:
        """Write numbers to these addresses."""
        size = values.itemsize
        self.bytes.view(f"u{size}")[self.places(address, size, text)] = values
