"""What each instruction does to buffers and memory, without time. Compiled.

Where the original leaves a result open, this machine has one:

- SHR is floor(x / 2**count) for every count: 32 and more leave 0 or -1, -32 and less leave 0.
- A GEMM with `reset` reads neither inputs nor weights, so their indices are not looked at.
- Buffers hold zeros at first.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..isa.config import DRAM_ADDRESS_BITS, Config
from ..isa.instructions import Memory, Opcode, Uop
from ..isa.fields import slots
from .columns import (
    DRAM_BASE,
    DST_IN,
    DST_OUT,
    ITER_IN,
    ITER_OUT,
    KIND,
    MEMORY,
    RESET,
    SRAM_BASE,
    SRC_IN,
    SRC_OUT,
    UOP_BEGIN,
    UOP_END,
    WGT_IN,
    WGT_OUT,
    X_PAD_0,
    X_PAD_1,
    X_SIZE,
    X_STRIDE,
    Y_PAD_0,
    Y_PAD_1,
    Y_SIZE,
)
from .faults import DST_RANGE, OK, SRC_RANGE, WGT_RANGE, report
from .jit import compiled
from .kernels import VECTOR, alu, gemm, reset, weight_place
from .vectors import convert, transpose_pairs

U8 = npt.NDArray[np.uint8]
I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_LOAD, _STORE, _GEMM = int(Opcode.LOAD), int(Opcode.STORE), int(Opcode.GEMM)
_ALU = int(Opcode.ALU)
_UOP, _WGT, _INP, _ACC = int(Memory.UOP), int(Memory.WGT), int(Memory.INP), int(Memory.ACC)
_ACC_8BIT = int(Memory.ACC_8BIT)
ADDRESS_MASK = (1 << DRAM_ADDRESS_BITS) - 1

# Columns of the counters, in the order of isa.program.COUNTERS
INP_LOAD, WGT_LOAD, ACC_LOAD, UOP_LOAD, OUT_STORE, GEMM_UOPS, ALU_UOPS = range(7)


class Storage(NamedTuple):
    """All that an instruction can read or write, and the machine's sizes.

    Attributes
    ----------
    dram : int8 (bytes), words : int32
        The same memory.
    uops : int32 (4 a micro-op)
        dst, src, wgt, 0.
    inp, wgt : int16
        Widened; the order in a weight tile is [block_in / 2][block_out][2].
    acc, immediate : int32
        The accumulators, and room for the operand of an ALU instruction.
    counters : int64 (7)
        In the order of `isa.program.COUNTERS`.
    fault : int64 (5)
        See `faults.report`.
    uop_format : int64 (3, 2)
        Shift and mask of a micro-op's dst, src and wgt.
    depths, element_bytes : int64 (6)
        By `Memory`.
    batch, block : int
    """

    dram: I8
    words: I32
    uops: I32
    inp: I16
    wgt: I16
    acc: I32
    immediate: I32
    counters: I64
    fault: I64
    uop_format: I64
    depths: I64
    element_bytes: I64
    batch: int
    block: int


def new_storage(config: Config, dram: U8) -> Storage:
    """Return buffers full of zeros, around a memory of a multiple of 4 bytes."""
    layout = {slot.name: slot for slot in slots(Uop, config)}
    return Storage(
        dram=dram.view(np.int8),
        words=dram.view(np.int32),
        uops=np.zeros(4 * config.uop_depth, np.int32),
        inp=np.zeros(config.inp_depth * config.inp_tile_bytes, np.int16),
        wgt=np.zeros(config.wgt_depth * config.wgt_tile_bytes, np.int16),
        acc=np.zeros(config.acc_buffer_bytes // 4, np.int32),
        immediate=np.zeros(VECTOR, np.int32),
        counters=np.zeros(7, np.int64),
        fault=np.zeros(5, np.int64),
        uop_format=np.array(
            [(layout[n].offset, (1 << layout[n].width) - 1) for n in ("dst", "src", "wgt")],
            np.int64,
        ),
        depths=np.array([memory.depth(config) for memory in Memory], np.int64),
        element_bytes=np.array([memory.element_bytes(config) for memory in Memory], np.int64),
        batch=config.batch,
        block=config.block_out,
    )


@compiled
def execute(row: I32, index: int, s: Storage) -> int:
    """Do all that an instruction does, tokens apart; return OK or fill the fault."""
    kind = row[KIND]
    if kind == _LOAD:
        if row[X_SIZE] != 0:
            load(row, s)
    elif kind == _STORE:
        if row[X_SIZE] != 0:
            store(row, s)
    elif kind == _GEMM or kind == _ALU:
        return compute(row, index, s)
    return OK


@compiled
def compute(row: I32, index: int, s: Storage) -> int:
    """Check the indices of a GEMM or ALU, which depend on its micro-ops, and do it."""
    uops = max(row[UOP_END] - row[UOP_BEGIN], 0) * row[ITER_OUT] * row[ITER_IN]
    if uops == 0:
        return OK
    code = check_indices(row, index, s)
    if code != OK:
        return code
    if row[KIND] == _ALU:
        s.counters[ALU_UOPS] += uops
        alu(row, s.uops, s.acc, s.immediate, s.batch * s.block)
    elif row[RESET]:
        reset(row, s.uops, s.acc, s.batch * s.block)
    else:
        s.counters[GEMM_UOPS] += uops
        gemm(row, s.uops, s.inp, s.wgt, s.acc, s.batch, s.block)
    return OK


@compiled
def check_indices(row: I32, index: int, s: Storage) -> int:
    """Find the first micro-op whose greatest index lies outside its buffer."""
    out, inner = row[ITER_OUT] - 1, row[ITER_IN] - 1
    dst_limit = s.depths[_ACC] - out * row[DST_OUT] - inner * row[DST_IN]
    src_limit = -out * row[SRC_OUT] - inner * row[SRC_IN]
    wgt_limit = s.depths[_WGT]
    if row[KIND] == _ALU:
        src_limit += s.depths[_ACC]
    elif row[RESET]:
        src_limit = ADDRESS_MASK
    else:
        src_limit += s.depths[_INP]
        wgt_limit -= out * row[WGT_OUT] + inner * row[WGT_IN]
    if row[KIND] == _ALU or row[RESET]:
        wgt_limit = ADDRESS_MASK
    for u in range(row[UOP_BEGIN], row[UOP_END]):
        if s.uops[4 * u] >= dst_limit:
            return report(s.fault, DST_RANGE, index, 0, u, s.uops[4 * u])
        if s.uops[4 * u + 1] >= src_limit:
            return report(s.fault, SRC_RANGE, index, 0, u, s.uops[4 * u + 1])
        if s.uops[4 * u + 2] >= wgt_limit:
            return report(s.fault, WGT_RANGE, index, 0, u, s.uops[4 * u + 2])
    return OK


@compiled
def load(row: I32, s: Storage) -> None:
    """Fill a buffer with rows of DRAM and the zeros around them."""
    memory, width, pads = row[MEMORY], row[X_SIZE], row[X_PAD_0] + row[X_PAD_1]
    size = s.element_bytes[memory]
    sram = clear(memory, row[SRAM_BASE], row[Y_PAD_0] * (width + pads), s)
    base = (row[DRAM_BASE] & ADDRESS_MASK) * size
    for y in range(row[Y_SIZE]):
        if pads:
            sram = clear(memory, sram, row[X_PAD_0], s)
        fill(memory, sram, width, (base + y * row[X_STRIDE] * size) & ADDRESS_MASK, s)
        sram += width
        if pads:
            sram = clear(memory, sram, row[X_PAD_1], s)
    clear(memory, sram, row[Y_PAD_1] * (width + pads), s)
    count = row[Y_SIZE] * width
    if memory == _INP:
        s.counters[INP_LOAD] += count * size
    elif memory == _WGT:
        s.counters[WGT_LOAD] += count * size
    elif memory == _UOP:
        s.counters[UOP_LOAD] += count * size
    else:
        s.counters[ACC_LOAD] += count * s.element_bytes[_ACC]


@compiled
def clear(memory: int, sram: int, count: int, s: Storage) -> int:
    """Write `count` elements of zeros from element `sram` on; return the one after."""
    if count:
        if memory == _UOP:
            s.uops[4 * sram : 4 * (sram + count)] = 0
        elif memory == _INP:
            lanes = s.element_bytes[_INP]
            s.inp[lanes * sram : lanes * (sram + count)] = 0
        elif memory == _WGT:
            lanes = s.element_bytes[_WGT]
            s.wgt[lanes * sram : lanes * (sram + count)] = 0
        else:
            lanes = s.element_bytes[_ACC_8BIT]
            s.acc[lanes * sram : lanes * (sram + count)] = 0
    return sram + count


@compiled
def fill(memory: int, sram: int, count: int, address: int, s: Storage) -> None:
    """Copy `count` elements from DRAM to element `sram` on, in the form the buffer keeps."""
    lanes = s.element_bytes[_ACC_8BIT]
    if memory == _INP:
        copy(s.inp, sram * lanes, s.dram, address, count * lanes)
    elif memory == _WGT:
        tile = s.block * s.block
        for k in range(count):
            copy_weights(s.wgt, (sram + k) * tile, s.dram, address + k * tile, s.block)
    elif memory == _ACC:
        copy(s.acc, sram * lanes, s.words, address >> 2, count * lanes)
    elif memory == _ACC_8BIT:
        copy(s.acc, sram * lanes, s.dram, address, count * lanes)
    else:
        for k in range(count):
            for part in range(3):
                shift, mask = s.uop_format[part, 0], s.uop_format[part, 1]
                s.uops[4 * (sram + k) + part] = (s.words[(address >> 2) + k] >> shift) & mask


@compiled
def copy(to: I32, dst: int, source: I32, src: int, count: int) -> None:
    """Convert `count` integers, whatever their widths."""
    k = 0
    while k + VECTOR <= count:
        convert(to, dst + k, source, src + k, VECTOR)
        k += VECTOR
    while k < count:
        convert(to, dst + k, source, src + k, 1)
        k += 1


@compiled
def copy_weights(wgt: I16, dst: int, dram: I8, src: int, block: int) -> None:
    """Copy one tile, into the order that GEMM reads."""
    if block % 16 == 0:
        for o in range(0, block, 8):
            for p in range(0, block // 2, 8):
                transpose_pairs(
                    wgt, dst + 2 * (p * block + o), dram, src + o * block + 2 * p, block
                )
    else:
        for o in range(block):
            for i in range(block):
                wgt[dst + weight_place(o, i, block)] = dram[src + o * block + i]


@compiled
def store(row: I32, s: Storage) -> None:
    """Write the low 8 bits of accumulators to DRAM."""
    size = s.element_bytes[_ACC_8BIT]
    length = row[X_SIZE] * size
    base = (row[DRAM_BASE] & ADDRESS_MASK) * size
    for y in range(row[Y_SIZE]):
        address = (base + y * row[X_STRIDE] * size) & ADDRESS_MASK
        copy(s.dram, address, s.acc, (row[SRAM_BASE] + y * row[X_SIZE]) * size, length)
    s.counters[OUT_STORE] += row[Y_SIZE] * length
