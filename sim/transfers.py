"""What LOAD and STORE move between memory and the buffers, as kernels."""

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
from .compute import weight_place
from .jit import compiled, inlined
from .kernel import Body
from .pointers import int8s, int16s, int32s, skip
from .state import VECTOR, Ints, State
from .vectors import convert, transpose_pairs

ADDRESS_MASK = (1 << DRAM_ADDRESS_BITS) - 1

_UOP, _WGT, _INP, _ACC = int(Memory.UOP), int(Memory.WGT), int(Memory.INP), int(Memory.ACC)
_ACC_8BIT = int(Memory.ACC_8BIT)


@inlined
def dram_address(m: State, row: Ints) -> int:
    """Return the byte that a transfer begins at."""
    return ((row[DRAM_BASE] & ADDRESS_MASK) * m.element_bytes[row[MEMORY]]) & ADDRESS_MASK


def load_of(lanes: int, block: int) -> Body:
    """Return LOAD, for inp and acc tiles of `lanes` elements and wgt (block, block)."""
    length, tile = min(lanes, VECTOR), block * block

    @compiled
    def copy_weights(to: Ints, source: Ints) -> None:
        """Copy one tile, into the order that GEMM reads."""
        if block % 16 == 0:
            for o in range(0, block, 8):
                for p in range(0, block // 2, 8):
                    at = skip(to, 2 * (p * block + o))
                    transpose_pairs(at, skip(source, o * block + 2 * p), block)
        else:
            for o in range(block):
                for i in range(block):
                    to[weight_place(o, i, block)] = source[o * block + i]

    @compiled
    def fill(m: State, memory: int, sram: int, count: int, address: int) -> None:
        """Copy `count` elements from DRAM to element `sram` on, in the form the buffer keeps."""
        bytes_ = skip(int8s(m.dram), address)
        words = int32s(m.dram + address)
        if memory == _INP:
            inp = skip(int16s(m.inp), sram * lanes)
            for k in range(0, count * lanes, length):
                convert(skip(inp, k), skip(bytes_, k), length)
        elif memory == _WGT:
            wgt = skip(int16s(m.wgt), sram * tile)
            for k in range(0, count * tile, tile):
                copy_weights(skip(wgt, k), skip(bytes_, k))
        elif memory == _ACC:
            acc = skip(int32s(m.acc), sram * lanes)
            for k in range(0, count * lanes, length):
                convert(skip(acc, k), skip(words, k), length)
        elif memory == _ACC_8BIT:
            acc = skip(int32s(m.acc), sram * lanes)
            for k in range(0, count * lanes, length):
                convert(skip(acc, k), skip(bytes_, k), length)
        else:
            uops = skip(int32s(m.uops), 4 * sram)
            for k in range(count):
                for part in range(3):
                    uops[4 * k + part] = (words[k] >> m.uop_shift[part]) & m.uop_mask[part]

    def load(m: State, row: Ints) -> None:
        memory, width = row[MEMORY], row[X_SIZE]
        pitch = row[X_STRIDE] * m.element_bytes[memory]
        address, sram = dram_address(m, row), row[SRAM_BASE]
        x_pads, y_pads = row[X_PAD_0] + row[X_PAD_1], row[Y_PAD_0] + row[Y_PAD_1]
        if x_pads + y_pads:
            height = row[Y_SIZE] + y_pads
            _clear(m, memory, sram, height * (width + x_pads))
        sram += row[Y_PAD_0] * (width + x_pads) + row[X_PAD_0]
        for _ in range(row[Y_SIZE]):
            fill(m, memory, sram, width, address)
            sram += width + x_pads
            address = (address + pitch) & ADDRESS_MASK

    return load


@compiled
def _clear(m: State, memory: int, sram: int, count: int) -> None:
    """Write `count` elements of zeros from element `sram` on."""
    if memory == _INP:
        inp = skip(int16s(m.inp), sram * m.lanes)
        for k in range(count * m.lanes):
            inp[k] = 0
    elif memory == _WGT:
        wgt = skip(int16s(m.wgt), sram * m.tile)
        for k in range(count * m.tile):
            wgt[k] = 0
    elif memory == _UOP:
        uops = skip(int32s(m.uops), 4 * sram)
        for k in range(4 * count):
            uops[k] = 0
    else:
        acc = skip(int32s(m.acc), sram * m.lanes)
        for k in range(count * m.lanes):
            acc[k] = 0


def store_of(lanes: int) -> Body:
    """Return STORE, for tiles of `lanes` elements."""
    length = min(lanes, VECTOR)

    def store(m: State, row: Ints) -> None:
        size = row[X_SIZE] * lanes
        address, pitch = dram_address(m, row), row[X_STRIDE] * m.element_bytes[row[MEMORY]]
        acc = skip(int32s(m.acc), row[SRAM_BASE] * lanes)
        for _ in range(row[Y_SIZE]):
            out = skip(int8s(m.dram), address)
            for k in range(0, size, length):
                convert(skip(out, k), skip(acc, k), length)  # the low 8 bits
            acc = skip(acc, size)
            address = (address + pitch) & ADDRESS_MASK

    return store
