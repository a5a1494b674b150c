"""Words to rows of integers (`columns`), with every check that needs no run. Compiled."""

import numpy as np
import numpy.typing as npt

from ..isa.config import PAGE_BYTES
from ..isa.instructions import AluOp, Memory, Opcode, Unit
from .columns import (
    ALU_OPCODE,
    COLUMNS,
    DRAM_BASE,
    ITER_IN,
    ITER_OUT,
    KIND,
    MEMORY,
    POP_NEXT,
    POP_PREV,
    PUSH_NEXT,
    PUSH_PREV,
    SRAM_BASE,
    TOKENS,
    UNIT,
    UOP_BEGIN,
    UOP_END,
    X_PAD_0,
    X_PAD_1,
    X_SIZE,
    X_STRIDE,
    Y_PAD_0,
    Y_PAD_1,
    Y_SIZE,
)
from .faults import (
    AFTER_FINISH,
    DRAM_RANGE,
    MISSING_FINISH,
    NO_NEIGHBOUR,
    NOT_LOADED,
    NOT_STORED,
    OK,
    SRAM_RANGE,
    STORE_PADS,
    UNKNOWN_ALU_OPCODE,
    UNKNOWN_MEMORY,
    UNKNOWN_OPCODE,
    UOP_RANGE,
    report,
)
from .jit import compiled

_LOAD, _STORE, _GEMM = int(Opcode.LOAD), int(Opcode.STORE), int(Opcode.GEMM)
_FINISH, _ALU = int(Opcode.FINISH), int(Opcode.ALU)
_OPCODES, _MEMORIES, _ALU_OPCODES = len(Opcode), len(Memory), len(AluOp)
_UOP, _OUT = int(Memory.UOP), int(Memory.OUT)
_INP, _WGT = int(Memory.INP), int(Memory.WGT)
_LOAD_UNIT, _COMPUTE_UNIT, _STORE_UNIT = int(Unit.LOAD), int(Unit.COMPUTE), int(Unit.STORE)
_ADDRESS = 1 << 32

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@compiled
def decode(
    words: U64,
    table: I64,
    depths: I64,
    element_bytes: I64,
    dram_bytes: int,
    rows: I32,
    order: I32,
    counts: I64,
    fault: I64,
) -> int:
    """Fill rows int32 (n, COLUMNS) from words uint64 (n, 2); return OK, or fill `fault`.

    Parameters
    ----------
    depths, element_bytes : int64 (6)
        By `Memory`: elements in the buffer, bytes of an element in DRAM.
    order : int32 (3, n), counts : int64 (3)
        Filled with the indices of each unit's instructions, in program order, and their number.
    """
    n = words.shape[0]
    counts[:] = 0
    for i in range(n):
        opcode = np.int64(words[i, 0] & np.uint64(7))
        if opcode >= _OPCODES:
            return report(fault, UNKNOWN_OPCODE, i, 0, opcode, 0)
        for column in range(TOKENS, COLUMNS):
            entry = table[opcode, column]
            value = np.int64(words[i, entry[0]] >> np.uint64(entry[1])) & entry[2]
            rows[i, column] = np.int32(value << entry[3]) >> np.int32(entry[3])
        row = rows[i]
        unit = _COMPUTE_UNIT
        if opcode == _LOAD or opcode == _STORE:
            memory = row[MEMORY]
            if memory >= _MEMORIES:
                return report(fault, UNKNOWN_MEMORY, i, MEMORY, memory, 0)
            if opcode == _STORE:
                unit = _STORE_UNIT
            elif memory == _INP or memory == _WGT:
                unit = _LOAD_UNIT
            code = _check_transfer(row, i, opcode, depths, element_bytes, dram_bytes, fault)
            if code != OK:
                return code
        elif opcode == _FINISH:
            if i != n - 1:
                return report(fault, AFTER_FINISH, i + 1, 0, i, 0)
        else:
            if opcode == _ALU and row[ALU_OPCODE] >= _ALU_OPCODES:
                return report(fault, UNKNOWN_ALU_OPCODE, i, ALU_OPCODE, row[ALU_OPCODE], 0)
            empty = row[UOP_BEGIN] >= row[UOP_END] or row[ITER_OUT] == 0 or row[ITER_IN] == 0
            if not empty and row[UOP_END] > depths[_UOP]:
                return report(fault, UOP_RANGE, i, UOP_END, row[UOP_END], depths[_UOP])
        tokens = row[TOKENS]
        if unit == _LOAD_UNIT and tokens & (POP_PREV | PUSH_PREV):
            return report(fault, NO_NEIGHBOUR, i, TOKENS, tokens & (POP_PREV | PUSH_PREV), unit)
        if unit == _STORE_UNIT and tokens & (POP_NEXT | PUSH_NEXT):
            return report(fault, NO_NEIGHBOUR, i, TOKENS, tokens & (POP_NEXT | PUSH_NEXT), unit)
        row[UNIT] = unit
        row[KIND] = opcode
        order[unit, counts[unit]] = i
        counts[unit] += 1
    if n == 0 or rows[n - 1, KIND] != _FINISH:
        return report(fault, MISSING_FINISH, n - 1, 0, 0, 0)
    return OK


@compiled
def _check_transfer(
    row: I32, i: int, opcode: int, depths: I64, element_bytes: I64, dram_bytes: int, fault: I64
) -> int:
    """Check one LOAD or STORE; `x_size == 0` does nothing, so nothing of it can be wrong."""
    if row[X_SIZE] == 0:
        return OK
    memory = row[MEMORY]
    if opcode == _LOAD and memory == _OUT:
        return report(fault, NOT_LOADED, i, MEMORY, memory, 0)
    if opcode == _STORE:
        if memory != _OUT:
            return report(fault, NOT_STORED, i, MEMORY, memory, 0)
        for column in range(Y_PAD_0, X_PAD_1 + 1):
            if row[column] != 0:
                return report(fault, STORE_PADS, i, column, row[column], 0)
    height = np.int64(row[Y_PAD_0]) + row[Y_SIZE] + row[Y_PAD_1]
    width = np.int64(row[X_PAD_0]) + row[X_SIZE] + row[X_PAD_1]
    if row[SRAM_BASE] + height * width > depths[memory]:
        end = row[SRAM_BASE] + height * width
        return report(fault, SRAM_RANGE, i, SRAM_BASE, end, depths[memory])
    if row[Y_SIZE] == 0:
        return OK
    size = element_bytes[memory]
    first = (np.int64(np.uint32(row[DRAM_BASE])) * size) & (_ADDRESS - 1)
    pitch = np.int64(row[X_STRIDE]) * size
    length = np.int64(row[X_SIZE]) * size
    end = first + pitch * (row[Y_SIZE] - 1) + length
    if first >= PAGE_BYTES and end <= dram_bytes and end <= _ADDRESS:
        return OK
    for y in range(row[Y_SIZE]):
        address = (first + pitch * y) & (_ADDRESS - 1)
        if address < PAGE_BYTES or address + length > dram_bytes or address + length > _ADDRESS:
            return report(fault, DRAM_RANGE, i, DRAM_BASE, address, y)
    return OK
