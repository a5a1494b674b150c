"""What LOAD and STORE move between memory and the buffers. Compiled."""

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
from .jit import compiled
from .kernels import weight_place
from .pointers import int8s, int16s, int32s, skip
from .state import ACC_LOAD, INP_LOAD, OUT_STORE, UOP_LOAD, VECTOR, WGT_LOAD, Ints, State
from .vectors import convert, transpose_pairs

ADDRESS_MASK = (1 << DRAM_ADDRESS_BITS) - 1

_UOP, _WGT, _INP, _ACC = int(Memory.UOP), int(Memory.WGT), int(Memory.INP), int(Memory.ACC)
_ACC_8BIT = int(Memory.ACC_8BIT)


@compiled
def dram_address(m: State, row: Ints) -> int:
    """Return the byte that a transfer begins at."""
    return ((row[DRAM_BASE] & ADDRESS_MASK) * m.element_bytes[row[MEMORY]]) & ADDRESS_MASK


@compiled
def load(m: State, row: Ints) -> None:
    """Fill a buffer with rows of DRAM and the zeros around them."""
    memory, width, pads = row[MEMORY], row[X_SIZE], row[X_PAD_0] + row[X_PAD_1]
    size = m.element_bytes[memory]
    address, pitch = dram_address(m, row), row[X_STRIDE] * size
    sram = _clear(m, memory, row[SRAM_BASE], row[Y_PAD_0] * (width + pads))
    for _ in range(row[Y_SIZE]):
        if pads:
            sram = _clear(m, memory, sram, row[X_PAD_0])
        _fill(m, memory, sram, width, address)
        sram += width
        address = (address + pitch) & ADDRESS_MASK
        if pads:
            sram = _clear(m, memory, sram, row[X_PAD_1])
    _clear(m, memory, sram, row[Y_PAD_1] * (width + pads))
    count = row[Y_SIZE] * width
    if memory == _INP:
        m.counters[INP_LOAD] += count * size
    elif memory == _WGT:
        m.counters[WGT_LOAD] += count * size
    elif memory == _UOP:
        m.counters[UOP_LOAD] += count * size
    else:
        m.counters[ACC_LOAD] += count * m.element_bytes[_ACC]


@compiled
def _clear(m: State, memory: int, sram: int, count: int) -> int:
    """Write `count` elements of zeros from element `sram` on; return the one after."""
    if memory == _INP:
        inp = int16s(m.inp)
        for k in range(sram * m.lanes, (sram + count) * m.lanes):
            inp[k] = 0
    elif memory == _WGT:
        wgt = int16s(m.wgt)
        for k in range(sram * m.tile, (sram + count) * m.tile):
            wgt[k] = 0
    elif memory == _UOP:
        uops = int32s(m.uops)
        for k in range(4 * sram, 4 * (sram + count)):
            uops[k] = 0
    else:
        acc = int32s(m.acc)
        for k in range(sram * m.lanes, (sram + count) * m.lanes):
            acc[k] = 0
    return sram + count


@compiled
def _fill(m: State, memory: int, sram: int, count: int, address: int) -> None:
    """Copy `count` elements from DRAM to element `sram` on, in the form the buffer keeps."""
    source = skip(int8s(m.dram), address)
    if memory == _INP:
        _copy(skip(int16s(m.inp), sram * m.lanes), source, count * m.lanes)
    elif memory == _WGT:
        to = skip(int16s(m.wgt), sram * m.tile)
        for k in range(0, count * m.tile, m.tile):
            _copy_weights(skip(to, k), skip(source, k), m.block)
    elif memory == _ACC:
        words = int32s(m.dram + address)
        _copy(skip(int32s(m.acc), sram * m.lanes), words, count * m.lanes)
    elif memory == _ACC_8BIT:
        _copy(skip(int32s(m.acc), sram * m.lanes), source, count * m.lanes)
    else:
        words, uops = int32s(m.dram + address), skip(int32s(m.uops), 4 * sram)
        for k in range(count):
            for part in range(3):
                uops[4 * k + part] = (words[k] >> m.uop_shift[part]) & m.uop_mask[part]


@compiled
def _copy(to: Ints, source: Ints, count: int) -> None:
    """Convert `count` integers, whatever their widths."""
    k = 0
    while k + VECTOR <= count:
        convert(skip(to, k), skip(source, k), VECTOR)
        k += VECTOR
    while k < count:
        convert(skip(to, k), skip(source, k), 1)
        k += 1


@compiled
def _copy_weights(to: Ints, source: Ints, block: int) -> None:
    """Copy one tile, into the order that GEMM reads."""
    if block & 15 == 0:
        for o in range(0, block, 8):
            for p in range(0, block >> 1, 8):
                at = skip(to, 2 * (p * block + o))
                transpose_pairs(at, skip(source, o * block + 2 * p), block)
    else:
        for o in range(block):
            for i in range(block):
                to[weight_place(o, i, block)] = source[o * block + i]


@compiled
def store(m: State, row: Ints) -> None:
    """Write the low 8 bits of accumulators to DRAM."""
    size = m.element_bytes[row[MEMORY]]
    address, length, pitch = dram_address(m, row), row[X_SIZE] * size, row[X_STRIDE] * size
    source = skip(int32s(m.acc), row[SRAM_BASE] * m.lanes)
    for _ in range(row[Y_SIZE]):
        _copy(skip(int8s(m.dram), address), source, length)
        source = skip(source, length)
        address = (address + pitch) & ADDRESS_MASK
    m.counters[OUT_STORE] += row[Y_SIZE] * length
