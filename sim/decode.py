"""Words to rows of integers (`columns`), with every check that needs no run. Compiled."""

from ..isa.config import DRAM_ADDRESS_BITS, PAGE_BYTES
from ..isa.instructions import AluOp, Memory, Opcode
from .columns import (
    ALU_OPCODE,
    DRAM_BASE,
    ITER_IN,
    ITER_OUT,
    COLUMNS,
    KIND,
    MEMORY,
    NEXT,
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
from .jit import compiled, entry
from .pointers import int32s, int64s, skip
from .queues import COMPUTE, LOAD, STORE, UNITS
from .state import Ints, State

_LOAD, _STORE, _GEMM = int(Opcode.LOAD), int(Opcode.STORE), int(Opcode.GEMM)
_FINISH, _ALU = int(Opcode.FINISH), int(Opcode.ALU)
_OPCODES, _MEMORIES, _ALU_OPCODES = len(Opcode), len(Memory), len(AluOp)
_UOP, _OUT = int(Memory.UOP), int(Memory.OUT)
_INP, _WGT = int(Memory.INP), int(Memory.WGT)

_ADDRESSES = 1 << DRAM_ADDRESS_BITS
_OPCODE_MASK = 7


@compiled
def row_at(m: State, index: int) -> Ints:
    """Return the row of an instruction."""
    return skip(int32s(m.rows), index * COLUMNS)


@entry
def decode(m: State) -> int:
    """Fill the rows of a program from its words and check them; return OK or a fault."""
    words = int64s(m.words)
    n = m.count
    for unit in range(UNITS):
        m.first[unit] = m.last[unit] = -1
    for i in range(n):
        opcode = words[2 * i] & _OPCODE_MASK
        if opcode >= _OPCODES:
            return report(m, UNKNOWN_OPCODE, i, 0, opcode, 0)
        row = row_at(m, i)
        _unpack(m, skip(words, 2 * i), opcode, row)
        unit = COMPUTE
        if opcode == _LOAD or opcode == _STORE:
            memory = row[MEMORY]
            if opcode == _STORE:
                unit = STORE
            elif memory == _INP or memory == _WGT:
                unit = LOAD
            code = _check_transfer(m, row, i, opcode)
        elif opcode == _FINISH:
            code = OK if i == n - 1 else report(m, AFTER_FINISH, i + 1, 0, i, 0)
        else:
            code = _check_loops(m, row, i, opcode)
        if code != OK:
            return code
        wrong = 0
        if unit == LOAD:
            wrong = row[TOKENS] & (POP_PREV | PUSH_PREV)
        elif unit == STORE:
            wrong = row[TOKENS] & (POP_NEXT | PUSH_NEXT)
        if wrong:
            return report(m, NO_NEIGHBOUR, i, TOKENS, wrong, unit)
        row[UNIT] = unit
        row[KIND] = opcode
        row[NEXT] = -1
        if m.last[unit] < 0:
            m.first[unit] = i
        else:
            row_at(m, m.last[unit])[NEXT] = i
        m.last[unit] = i
    if n == 0 or row_at(m, n - 1)[KIND] != _FINISH:
        return report(m, MISSING_FINISH, n - 1, 0, 0, 0)
    return OK


@compiled
def _unpack(m: State, words: Ints, opcode: int, row: Ints) -> None:
    entry = skip(int64s(m.table), opcode * (COLUMNS * 5))
    while entry[0] >= 0:
        value = (words[entry[0]] >> entry[1]) & entry[2]
        if entry[3]:
            value -= ((value << 1) & (entry[2] + 1))
        row[entry[4]] = value
        entry = skip(entry, 5)


@compiled
def _check_loops(m: State, row: Ints, i: int, opcode: int) -> int:
    """Check what of a GEMM or ALU does not depend on its micro-ops."""
    if opcode == _ALU and row[ALU_OPCODE] >= _ALU_OPCODES:
        return report(m, UNKNOWN_ALU_OPCODE, i, ALU_OPCODE, row[ALU_OPCODE], 0)
    empty = row[UOP_BEGIN] >= row[UOP_END] or row[ITER_OUT] == 0 or row[ITER_IN] == 0
    if not empty and row[UOP_END] > m.depths[_UOP]:
        return report(m, UOP_RANGE, i, UOP_END, row[UOP_END], m.depths[_UOP])
    return OK


@compiled
def _check_transfer(m: State, row: Ints, i: int, opcode: int) -> int:
    """Check a LOAD or STORE; with `x_size == 0` it does nothing, so only its memory can be wrong."""
    memory = row[MEMORY]
    if memory >= _MEMORIES:
        return report(m, UNKNOWN_MEMORY, i, MEMORY, memory, 0)
    if row[X_SIZE] == 0:
        return OK
    if opcode == _LOAD and memory == _OUT:
        return report(m, NOT_LOADED, i, MEMORY, memory, 0)
    if opcode == _STORE:
        if memory != _OUT:
            return report(m, NOT_STORED, i, MEMORY, memory, 0)
        for column in range(Y_PAD_0, X_PAD_1 + 1):
            if row[column] != 0:
                return report(m, STORE_PADS, i, column, row[column], 0)
    height = row[Y_PAD_0] + row[Y_SIZE] + row[Y_PAD_1]
    width = row[X_PAD_0] + row[X_SIZE] + row[X_PAD_1]
    sram_end = row[SRAM_BASE] + height * width
    if sram_end > m.depths[memory]:
        return report(m, SRAM_RANGE, i, SRAM_BASE, sram_end, m.depths[memory])
    if row[Y_SIZE] == 0:
        return OK
    size = m.element_bytes[memory]
    limit = min(m.dram_bytes, _ADDRESSES)
    first = ((row[DRAM_BASE] & (_ADDRESSES - 1)) * size) & (_ADDRESSES - 1)
    pitch, length = row[X_STRIDE] * size, row[X_SIZE] * size
    if first >= PAGE_BYTES and first + pitch * (row[Y_SIZE] - 1) + length <= limit:
        return OK
    for y in range(row[Y_SIZE]):
        address = (first + pitch * y) & (_ADDRESSES - 1)
        if address < PAGE_BYTES or address + length > limit:
            return report(m, DRAM_RANGE, i, DRAM_BASE, address, y)
    return OK
