"""What LOAD and STORE move between memory and the buffers, as kernels."""

from collections.abc import Callable

from ..isa.config import DRAM_ADDRESS_BITS
from ..isa.instructions import Memory
from .columns import (
    DRAM_BASE,
    MEMORY,
    SRAM_BASE,
    X_PAD_0,
    X_PAD_1,
    X_SIZE,
    X_STRIDE,
    Y_PAD_0,
    Y_PAD_1,
    Y_SIZE,
)
from .compute import accumulators, weight_place
from .jit import inlined
from .kernel import Body
from .pointers import int8s, int16s, int32s, skip
from .state import VECTOR, Ints, State
from .vectors import convert, transpose_pairs

ADDRESS_MASK = (1 << DRAM_ADDRESS_BITS) - 1

_UOP_WORDS = 4


@inlined
def dram_address(m: State, row: Ints) -> int:
    """Return the byte that a transfer begins at."""
    return ((row[DRAM_BASE] & ADDRESS_MASK) * m.element_bytes[row[MEMORY]]) & ADDRESS_MASK


def loads_of(lanes: int, block: int) -> dict[Memory, Body]:
    """Return LOAD by memory, for inp and acc tiles of `lanes` elements and wgt (block, block)."""
    length, tile = min(lanes, VECTOR), block * block

    def inp(m: State, row: Ints) -> Ints:
        return skip(int16s(m.inp), row[SRAM_BASE] * lanes)

    def acc(m: State, row: Ints) -> Ints:
        return skip(accumulators(m, row), row[SRAM_BASE] * lanes)

    def wgt(m: State, row: Ints) -> Ints:
        return skip(int16s(m.wgt), row[SRAM_BASE] * tile)

    def uop(m: State, row: Ints) -> Ints:
        return skip(int32s(m.uops), row[SRAM_BASE] * _UOP_WORDS)

    def widen(m: State, to: Ints, address: int, count: int) -> None:
        source = int8s(m.dram + address)
        for k in range(0, count * lanes, length):
            convert(skip(to, k), skip(source, k), length)

    def copy(m: State, to: Ints, address: int, count: int) -> None:
        source = int32s(m.dram + address)
        for k in range(0, count * lanes, length):
            convert(skip(to, k), skip(source, k), length)

    def reorder(m: State, to: Ints, address: int, count: int) -> None:
        source = int8s(m.dram + address)
        for k in range(0, count * tile, tile):
            if block % 16 == 0:
                for o in range(0, block, 8):
                    for p in range(0, block // 2, 8):
                        at = skip(to, k + 2 * (p * block + o))
                        transpose_pairs(at, skip(source, k + o * block + 2 * p), block)
            else:
                for o in range(block):
                    for i in range(block):
                        to[k + weight_place(o, i, block)] = source[k + o * block + i]

    def unpack(m: State, to: Ints, address: int, count: int) -> None:
        source = int32s(m.dram + address)
        for k in range(count):
            for part in range(3):
                value = (source[k] >> m.uop_shift[part]) & m.uop_mask[part]
                to[k * _UOP_WORDS + part] = value

    return {
        Memory.UOP: _load(uop, _UOP_WORDS, unpack),
        Memory.WGT: _load(wgt, tile, reorder),
        Memory.INP: _load(inp, lanes, widen),
        Memory.ACC: _load(acc, lanes, copy),
        Memory.ACC_8BIT: _load(acc, lanes, widen),
    }


def _load(
    place: Callable[[State, Ints], Ints],
    size: int,
    fill: Callable[[State, Ints, int, int], None],
) -> Body:
    """Return LOAD of a buffer.

    Parameters
    ----------
    place
        Gives the pointer to the first element that an instruction fills.
    size
        Integers that an element takes there.
    fill
        Copies elements to a pointer, in the form that the buffer keeps, from an address in DRAM.
    """
    place, fill = inlined(place), inlined(fill)

    def load(m: State, row: Ints) -> None:
        to, width = place(m, row), row[X_SIZE]
        pads, full_rows = row[X_PAD_0] + row[X_PAD_1], row[Y_PAD_0] + row[Y_PAD_1]
        if pads + full_rows:
            for k in range((row[Y_SIZE] + full_rows) * (width + pads) * size):
                to[k] = 0
            to = skip(to, (row[Y_PAD_0] * (width + pads) + row[X_PAD_0]) * size)
        address, pitch = dram_address(m, row), row[X_STRIDE] * m.element_bytes[row[MEMORY]]
        for _ in range(row[Y_SIZE]):
            fill(m, to, address, width)
            to = skip(to, (width + pads) * size)
            address = (address + pitch) & ADDRESS_MASK

    return load


def store_of(lanes: int) -> Body:
    """Return STORE, for tiles of `lanes` elements."""
    length = min(lanes, VECTOR)

    def store(m: State, row: Ints) -> None:
        size = row[X_SIZE] * lanes
        address, pitch = dram_address(m, row), row[X_STRIDE] * m.element_bytes[row[MEMORY]]
        acc = skip(accumulators(m, row), row[SRAM_BASE] * lanes)
        for _ in range(row[Y_SIZE]):
            out = skip(int8s(m.dram), address)
            for k in range(0, size, length):
                convert(skip(out, k), skip(acc, k), length)  # the low 8 bits
            acc = skip(acc, size)
            address = (address + pitch) & ADDRESS_MASK

    return store
