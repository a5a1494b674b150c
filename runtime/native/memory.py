"""Aligned memory for native code, and arrays at places in it."""

import mmap
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import NativeError

Bytes: TypeAlias = npt.NDArray[np.uint8]

ALIGNMENT_BYTES = 64
"""A cache line, and the widest vector there is."""

HUGE_PAGE_BYTES = 2 << 20
"""What the usual CPUs map with one entry of the TLB; larger buffers start at such an address."""


def aligned(size_bytes: int, alignment_bytes: int = ALIGNMENT_BYTES) -> Bytes:
    """Return zeroed memory, uint8 (size_bytes,), at a multiple of `alignment_bytes`.

    From `HUGE_PAGE_BYTES` on it starts at a huge page, and the system is asked to use them. It is
    given back with the last array that views it.

    Raises
    ------
    NativeError
        For a negative size, and an alignment that is no power of two.
    MemoryError
        When the system has not as much.
    """
    if size_bytes < 0:
        raise NativeError(f"a buffer cannot have {size_bytes} bytes")
    if alignment_bytes < 1 or alignment_bytes & (alignment_bytes - 1):
        raise NativeError(f"alignment {alignment_bytes} is no power of two")
    if size_bytes < HUGE_PAGE_BYTES:
        return _from_aligned(np.zeros(size_bytes + alignment_bytes, np.uint8), size_bytes,
                             alignment_bytes)  # fmt: skip
    alignment_bytes = max(alignment_bytes, HUGE_PAGE_BYTES)
    try:
        pages = mmap.mmap(-1, size_bytes + alignment_bytes)
    except OSError as error:
        raise MemoryError(f"cannot map {size_bytes:,} bytes: {error.strerror}") from None
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if advice is not None:
        with suppress(OSError):  # a system built without them: then the usual pages do
            pages.madvise(advice)
    return _from_aligned(np.frombuffer(pages, np.uint8), size_bytes, alignment_bytes)


def view(
    memory: Bytes, offset: int, dtype: npt.DTypeLike, shape: Sequence[int]
) -> npt.NDArray[np.generic]:
    """Return the array of that type and shape, in C order, which starts `offset` bytes into memory.

    It shares the memory, and can be written where that can.

    Raises
    ------
    NativeError
        When it does not lie inside the memory, or its elements would not be aligned.
    """
    kind = np.dtype(dtype)
    if any(extent < 0 for extent in shape):
        raise NativeError(f"an array cannot have shape {tuple(shape)}")
    size = kind.itemsize
    for extent in shape:
        size *= int(extent)
    what = f"{kind} {tuple(shape)} at byte {offset}"
    if offset < 0 or offset + size > memory.size:
        raise NativeError(f"{what} takes {size} bytes of a memory of {memory.size}")
    if (memory.ctypes.data + offset) % kind.alignment:
        raise NativeError(f"{what} is not aligned to {kind.alignment} bytes")
    return memory[offset : offset + size].view(kind).reshape(tuple(shape))


def _from_aligned(memory: Bytes, size_bytes: int, alignment_bytes: int) -> Bytes:
    begin = -memory.ctypes.data % alignment_bytes
    return memory[begin : begin + size_bytes]
