"""Aligned memory and arrays in it."""

import mmap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtakit.runtime.native.errors import NativeError
from vtakit.runtime.native.memory import HUGE_PAGE_BYTES, aligned, view


@given(
    st.integers(0, 5000) | st.integers(HUGE_PAGE_BYTES - 1, HUGE_PAGE_BYTES + 1),
    st.sampled_from([1, 2, 64, 128, 4096]),
)
def test_memory_is_zeroed_aligned_and_writable(size: int, alignment: int) -> None:
    memory = aligned(size, alignment)
    assert (memory.dtype, memory.shape) == (np.uint8, (size,))
    assert size == 0 or memory.ctypes.data % alignment == 0
    assert not memory.any()
    memory[:] = 255
    assert memory.all()


@pytest.mark.parametrize("size", [HUGE_PAGE_BYTES, 3 * HUGE_PAGE_BYTES + 5])
def test_large_memory_starts_at_a_huge_page(size: int) -> None:
    assert aligned(size).ctypes.data % HUGE_PAGE_BYTES == 0


def test_a_system_that_knows_no_huge_pages_gives_the_usual_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 12345, raising=False)  # the system refuses this
    assert not aligned(HUGE_PAGE_BYTES).any()


def test_memory_that_no_system_has_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        aligned(1 << 60)


@pytest.mark.parametrize(
    ("size", "alignment", "message"),
    [
        (-1, 64, "a buffer cannot have -1 bytes"),
        (4, 48, "alignment 48 is no power of two"),
        (4, 0, "alignment 0 is no power of two"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(size: int, alignment: int, message: str) -> None:
    with pytest.raises(NativeError, match=f"^{message}$"):
        aligned(size, alignment)


def test_a_view_shares_the_memory() -> None:
    memory = aligned(256)
    array = view(memory, 64, "float32", (2, 3))
    array[...] = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(memory[64:88].view(np.float32), np.arange(6))
    assert not memory[:64].any()
    assert not memory[88:].any()


@pytest.mark.parametrize("shape", [(), (0, 3), (4,)])
def test_a_view_has_the_shape_asked_for(shape: tuple[int, ...]) -> None:
    assert view(aligned(64), 0, np.int16, shape).shape == shape


def test_a_view_keeps_the_memory() -> None:
    array = view(aligned(HUGE_PAGE_BYTES), 8, np.int64, (1000,))
    array[...] = 7
    assert (array == 7).all()


@pytest.mark.parametrize(
    ("offset", "shape", "message"),
    [
        (60, (2,), r"float32 \(2,\) at byte 60 takes 8 bytes of a memory of 64"),
        (-4, (1,), r"float32 \(1,\) at byte -4 takes 4 bytes of a memory of 64"),
        (0, (1 << 40, 1 << 40), r"takes 4835703278458516698824704 bytes of a memory of 64"),
        (2, (1,), r"float32 \(1,\) at byte 2 is not aligned to 4 bytes"),
        (0, (-1,), r"an array cannot have shape \(-1,\)"),
    ],
)
def test_a_view_outside_the_memory_is_refused(
    offset: int, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(NativeError, match=message):
        view(aligned(64), offset, np.float32, shape)
