"""Ranges of memory handed out, given back, and never twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.runtime.buffers import Heap, OutOfMemory, Tensor
from vtakit.runtime.drivers.device import DeviceError


@settings(deadline=None, max_examples=200)
@given(
    requests=st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from([1, 4, 64, 256]), st.booleans()),
        max_size=30,
    )
)
def test_ranges_in_use_never_meet(requests: list[tuple[int, int, bool]]) -> None:
    heap = Heap(100, 2000)
    used: dict[int, int] = {}
    for size, align, release in requests:
        if release and used:
            address = min(used)
            heap.release(address)
            del used[address]
        try:
            begin = heap.allocate(size, align=align)
        except OutOfMemory:
            continue
        assert begin % align == 0
        assert 100 <= begin <= begin + size <= 2000
        assert begin not in used
        assert all(begin + size <= a or a + n <= begin for a, n in used.items())
        used[begin] = max(size, 1)
    assert heap.high_water >= max((a + n for a, n in used.items()), default=100)


def test_what_is_given_back_is_used_again() -> None:
    heap = Heap(0, 100)
    first = heap.allocate(60)
    heap.allocate(40)
    heap.release(first)
    assert heap.allocate(50) == 0
    assert heap.high_water == 100


def test_errors_say_how_much_room_there_is() -> None:
    heap = Heap(4096, 4096 + 1000)
    heap.allocate(100)
    with pytest.raises(
        OutOfMemory,
        match="1000 bytes do not fit in memory: of 1000 bytes, 100 are in use, and the largest "
        "free range at a multiple of 64 has 872",
    ):
        heap.allocate(1000, align=64)
    with pytest.raises(DeviceError, match="nothing is allocated at address 4097"):
        heap.release(4097)


def test_a_tensor_knows_its_bytes() -> None:
    assert Tensor("x", 0, "int32", (2, 3, 4)).size_bytes == 96
    assert Tensor("x", 0, "int8", ()).size_bytes == 1
