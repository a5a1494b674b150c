"""Micro-ops at their places: what each use finds in the buffer, and how often they are loaded."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.runtime.residency import Residency, place

DEPTH = 16


def numbered(uses: list[int]) -> list[int]:
    """Number lists in the order of their first use."""
    order = {use: number for number, use in enumerate(dict.fromkeys(uses))}
    return [order[use] for use in uses]


def sizes_of(residency: Residency) -> list[int]:
    return [load.size for load in residency.loads]


@settings(deadline=None, max_examples=400)
@given(
    steps=st.lists(st.tuples(st.integers(0, 7), st.booleans()), min_size=1, max_size=40),
    sizes=st.lists(st.integers(1, DEPTH), min_size=8, max_size=8),
)
def test_each_use_finds_its_micro_ops(steps: list[tuple[int, bool]], sizes: list[int]) -> None:
    uses = numbered([use for use, _ in steps])
    layers = np.cumsum([new for _, new in steps]).tolist()
    lists = [np.arange(100 * i, 100 * i + size, dtype=np.uint32) for i, size in enumerate(sizes)]
    lists = lists[: max(uses) + 1]
    residency = place(uses, lists, layers, DEPTH)
    np.testing.assert_array_equal(residency.image, np.concatenate(lists))
    assert [load.before for load in residency.loads] == sorted(
        load.before for load in residency.loads
    )
    buffer = np.full(DEPTH, 99999, np.uint32)
    loads = list(residency.loads)
    for position, use in enumerate(uses):
        while loads and loads[0].before == position:
            load = loads.pop(0)
            assert load.sram_base + load.size <= DEPTH
            data = residency.image[load.dram_base : load.dram_base + load.size]
            buffer[load.sram_base : load.sram_base + load.size] = data
        begin = residency.begins[position]
        np.testing.assert_array_equal(buffer[begin : begin + len(lists[use])], lists[use])


def test_a_buffer_that_holds_all_is_filled_once_a_layer() -> None:
    lists = [np.zeros(size, np.uint32) for size in (3, 2, 4, 5)]
    residency = place([0, 1, 0, 1, 2, 0, 3, 2], lists, [0, 0, 0, 0, 1, 1, 1, 1], DEPTH)
    assert [(load.before, load.size) for load in residency.loads] == [(0, 5), (4, 9)]


def test_a_full_buffer_starts_again_with_what_comes_next() -> None:
    lists = [np.zeros(size, np.uint32) for size in (6, 6, 6, 2)]
    residency = place([0, 1, 0, 1, 2, 3, 2, 0], lists, [0] * 8, DEPTH)
    assert sizes_of(residency) == [12, 6, 8]
