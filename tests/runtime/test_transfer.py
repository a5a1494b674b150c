"""Boxes cut into transfers, against the elements one by one."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa.config import PRESETS
from vtakit.isa.instructions import Memory
from vtakit.runtime.transfer import NO_PADS, Dim, Pads, Transfer, TransferError, transfers

TINY = PRESETS["tiny"]
DEFAULT = PRESETS["default"]


def tiles_of(moves: list[Transfer], element: int) -> dict[int, int | None]:
    """Return what each tile of SRAM gets: a byte address, or None for a zero."""
    filled: dict[int, int | None] = {}
    for move in moves:
        pads = move.pads
        width = pads.left + move.x_size + pads.right
        for y in range(-pads.top, move.y_size + pads.bottom):
            for x in range(-pads.left, move.x_size + pads.right):
                tile = move.sram_base + (y + pads.top) * width + x + pads.left
                inside = 0 <= y < move.y_size and 0 <= x < move.x_size
                assert tile not in filled
                filled[tile] = (
                    move.dram_byte + (y * move.x_stride + x) * element if inside else None
                )
    return filled


@settings(deadline=None, max_examples=300)
@given(
    extents=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    dram=st.lists(st.integers(-3, 40), min_size=4, max_size=4),
    gaps=st.lists(st.sampled_from([0, 0, 1]), min_size=4, max_size=4),
    contiguous=st.booleans(),
)
def test_any_box_is_moved_element_by_element(
    extents: list[int], dram: list[int], gaps: list[int], contiguous: bool
) -> None:
    element = Memory.ACC.element_bytes(TINY)
    dims: list[Dim] = []
    tiles, step = 1, 1
    for extent, stride, gap in zip(extents[::-1], dram, gaps, strict=False):
        dims.insert(0, Dim(extent, (step if contiguous else stride) * element, tiles))
        tiles = tiles * extent + gap
        step *= extent
    if tiles > 100:
        return
    start = 1000 * element
    moves = transfers(Memory.ACC, 3, start, dims, TINY)
    want = {
        3 + sum(i * dim.sram_tiles for i, dim in zip(point, dims, strict=True)): start
        + sum(i * dim.dram_bytes for i, dim in zip(point, dims, strict=True))
        for point in product(*map(range, extents))
    }
    assert tiles_of(moves, element) == want
    if contiguous and not any(gaps):
        assert len(moves) == 1
        assert moves[0].y_size == 1


@settings(deadline=None, max_examples=100)
@given(
    planes=st.integers(1, 3),
    rows=st.integers(0, 3),
    columns=st.integers(1, 4),
    stride=st.sampled_from([4, 5, 70_000, -4]),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
)
def test_padded_planes_get_their_zeros_once(
    planes: int, rows: int, columns: int, stride: int, pads: tuple[int, int, int, int]
) -> None:
    pads = Pads(*pads)
    if not any(pads):
        return
    element = Memory.INP.element_bytes(DEFAULT)
    width = pads.left + columns + pads.right
    height = pads.top + rows + pads.bottom
    start = 1_000_000 * element
    dims = (
        Dim(planes, 100_000 * element, width * height),
        Dim(rows, stride * element, width),
        Dim(columns, element, 1),
    )
    moves = transfers(Memory.INP, 0, start, dims, DEFAULT, pads)
    filled = tiles_of(moves, element)
    for z, y, x in product(range(planes), range(height), range(width)):
        row, column = y - pads.top, x - pads.left
        inside = 0 <= row < rows and 0 <= column < columns
        byte = start + (z * 100_000 + row * stride + column) * element
        assert filled.pop(z * width * height + y * width + x) == (byte if inside else None)
    assert not filled


def test_rows_without_gaps_become_one_long_burst() -> None:
    size = DEFAULT.inp_tile_bytes
    dims = (Dim(4, 56 * size, 56), Dim(56, size, 1))
    assert transfers(Memory.INP, 0, 0, dims, DEFAULT) == [Transfer(0, 0, 1, 224, 224, NO_PADS)]


def test_the_longest_dimension_becomes_the_rows() -> None:
    size = DEFAULT.inp_tile_bytes
    dims = (Dim(2, 999 * size, 4), Dim(9, 50 * size, 8), Dim(4, size, 1))
    moves = transfers(Memory.INP, 0, 0, dims, DEFAULT)
    assert [move.y_size for move in moves] == [2] * 9
    dims = (Dim(9, 50 * size, 4), Dim(2, 999 * size, 36), Dim(4, size, 1))
    moves = transfers(Memory.INP, 0, 0, dims, DEFAULT)
    assert [move.y_size for move in moves] == [9, 9]


def test_nothing_to_move_takes_no_instruction() -> None:
    assert transfers(Memory.INP, 0, 0, (Dim(0, 16, 1),), DEFAULT) == []


@pytest.mark.parametrize(
    ("memory", "sram", "byte", "dims", "pads", "message"),
    [
        (Memory.INP, 250, 0, (Dim(9, 4, 1),), NO_PADS, "INP reaches from tile 250 to 258; its"),
        (Memory.INP, -1, 0, (Dim(2, 4, 1),), NO_PADS, "INP reaches from tile -1 to 0"),
        (Memory.WGT, 0, 8, (Dim(2, 16, 1),), NO_PADS, "byte 8 of DRAM is no address of WGT; it"),
        (Memory.WGT, 0, 0, (Dim(2, 24, 1),), NO_PADS, "whole elements of 16 bytes"),
        (Memory.INP, 0, 0, (Dim(-2, 4, 1),), NO_PADS, "negative extent"),
        (Memory.INP, 0, 8, (Dim(9, -4, 1),), NO_PADS, "begins before the arena"),
        (Memory.INP, 0, 0, (Dim(2, 4, 1),), Pads(16), "one load writes 0 to 15 of each"),
        (Memory.INP, 0, 0, (Dim(2, 8, 1),), Pads(1), "4 bytes apart in DRAM and 1 tile apart"),
        (
            Memory.INP,
            0,
            0,
            (Dim(2, 8, 3), Dim(2, 4, 1)),
            Pads(0, 0, 1, 1),
            "rows lie 3 tiles apart in SRAM; with 1 zeros before and 1 after 2 elements they",
        ),
    ],
)
def test_what_no_load_can_do_is_refused(
    memory: Memory, sram: int, byte: int, dims: tuple[Dim, ...], pads: Pads, message: str
) -> None:
    with pytest.raises(TransferError, match=message):
        transfers(memory, sram, byte, dims, TINY, pads)
