"""Words to rows of integers (`columns`), with every check that needs no run. Compiled."""

from ..isa.config import DRAM_ADDRESS_BITS, PAGE_BYTES
from ..isa.instructions import AluOp, Memory, Opcode
from ..isa.program import COUNTERS
from . import columns
from .clock import NEVER
from .columns import (
    ACTION,
    ALU_OPCODE,
    COLUMNS,
    DRAM_BASE,
    HEAD,
    HEAD_MASK,
    ITER_IN,
    ITER_OUT,
    MEMORY,
    NEXT_SHIFT,
    OPCODE_MASK,
    OPCODE_SHIFT,
    POP_NEXT,
    POP_PREV,
    PUSH_NEXT,
    PUSH_PREV,
    RESET,
    SRAM_BASE,
    TIME,
    TOKENS,
    TOKENS_SHIFT,
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
from .jit import entry, inlined, merged
from .order import forget_meetings, is_ordered, note_meetings
from .pointers import int32s, int64s, skip
from .queues import COMPUTE, LOAD, MATRIX, STORE, UNITS
from .state import (
    ACC_LOAD,
    ALU_UOPS,
    GEMM_UOPS,
    INP_LOAD,
    OUT_STORE,
    UOP_LOAD,
    WGT_LOAD,
    Ints,
    State,
)
from .vectors import unpack

_LOAD, _STORE, _GEMM = int(Opcode.LOAD), int(Opcode.STORE), int(Opcode.GEMM)
_FINISH, _ALU = int(Opcode.FINISH), int(Opcode.ALU)
_OPCODES, _MEMORIES, _ALU_OPCODES = len(Opcode), len(Memory), len(AluOp)
_UOP, _OUT = int(Memory.UOP), int(Memory.OUT)
_INP, _WGT, _ACC = int(Memory.INP), int(Memory.WGT), int(Memory.ACC)

_ADDRESSES = 1 << DRAM_ADDRESS_BITS
_COUNTERS = len(COUNTERS)


@inlined
def row_at(m: State, index: int) -> Ints:
    """Return the row of an instruction."""
    return skip(int32s(m.rows), index * COLUMNS)


@entry
def decode(m: State) -> int:
    """Fill the rows of a program from its words and check them; return OK or a fault.

    What the instructions will have done is counted here, too: all of it is known before they run.
    """
    words, table, heads = int64s(m.words), int64s(m.table), int64s(m.heads)
    n = m.count
    for counter in range(_COUNTERS):
        m.counters[counter] = 0
    for unit in range(UNITS):
        m.first[unit] = m.last[unit] = -1
    forget_meetings(m)
    for i in range(n):
        opcode = words[2 * i] & OPCODE_MASK
        if opcode >= _OPCODES:
            return report(m, UNKNOWN_OPCODE, i, 0, opcode, 0)
        row = row_at(m, i)
        unpack(row, skip(words, 2 * i), skip(table, opcode * (4 * COLUMNS)))
        unit = COMPUTE
        if opcode in (_LOAD, _STORE):
            if opcode == _STORE:
                unit = STORE
            elif row[MEMORY] in (_INP, _WGT):
                unit = LOAD
            code = _transfer(m, row, i, opcode)
        elif opcode == _FINISH:
            code = OK if i == n - 1 else report(m, AFTER_FINISH, i + 1, 0, i, 0)
        else:
            code = _loops(m, row, i, opcode)
            if opcode == _GEMM and m.acc_banks == 2:
                unit = MATRIX
        if code != OK:
            return code
        tokens, wrong = row[TOKENS], 0
        if unit == LOAD:
            wrong = tokens & (POP_PREV | PUSH_PREV)
        elif unit == STORE:
            wrong = tokens & (POP_NEXT | PUSH_NEXT)
        if wrong:
            return report(m, NO_NEIGHBOUR, i, TOKENS, wrong, unit)
        if is_ordered(m, unit):
            note_meetings(m, row, i, unit, opcode, tokens)
        flags = tokens << TOKENS_SHIFT | opcode << OPCODE_SHIFT
        heads[2 * i + HEAD] = unit | flags | -1 << NEXT_SHIFT
        heads[2 * i + TIME] = NEVER
        if m.last[unit] < 0:
            m.first[unit] = i
        else:
            heads[2 * m.last[unit] + HEAD] &= HEAD_MASK
            heads[2 * m.last[unit] + HEAD] |= i << NEXT_SHIFT
        m.last[unit] = i
    if n == 0 or words[2 * n - 2] & OPCODE_MASK != _FINISH:
        return report(m, MISSING_FINISH, n - 1, 0, 0, 0)
    return OK


@merged
def _loops(m: State, row: Ints, i: int, opcode: int) -> int:
    """Check what of a GEMM or ALU does not depend on its micro-ops."""
    if opcode == _ALU and row[ALU_OPCODE] >= _ALU_OPCODES:
        return report(m, UNKNOWN_ALU_OPCODE, i, ALU_OPCODE, row[ALU_OPCODE], 0)
    count = micro_ops(row)
    if count == 0:
        return OK
    if row[UOP_END] > m.depths[_UOP]:
        return report(m, UOP_RANGE, i, UOP_END, row[UOP_END], m.depths[_UOP])
    if opcode == _ALU:
        row[ACTION] = columns.ALU
        m.counters[ALU_UOPS] += count
    elif row[RESET]:
        row[ACTION] = columns.RESETTING
    else:
        row[ACTION] = columns.GEMM
        m.counters[GEMM_UOPS] += count
    return OK


@inlined
def micro_ops(row: Ints) -> int:
    """Return how many micro-ops a GEMM or ALU executes."""
    return max(row[UOP_END] - row[UOP_BEGIN], 0) * row[ITER_OUT] * row[ITER_IN]


@merged
def _transfer(m: State, row: Ints, i: int, opcode: int) -> int:
    """Check a LOAD or STORE; with `x_size == 0` only its memory can be wrong."""
    memory = row[MEMORY]
    if memory >= _MEMORIES:
        return report(m, UNKNOWN_MEMORY, i, MEMORY, memory, 0)
    if row[X_SIZE] == 0:
        return OK
    size, count = m.element_bytes[memory], row[Y_SIZE] * row[X_SIZE]
    if opcode == _STORE:
        if memory != _OUT:
            return report(m, NOT_STORED, i, MEMORY, memory, 0)
        for column in range(Y_PAD_0, X_PAD_1 + 1):
            if row[column] != 0:
                return report(m, STORE_PADS, i, column, row[column], 0)
        row[ACTION] = columns.STORE
        m.counters[OUT_STORE] += count * size
    else:
        if memory == _OUT:
            return report(m, NOT_LOADED, i, MEMORY, memory, 0)
        row[ACTION] = columns.LOAD + memory
        if memory == _INP:
            m.counters[INP_LOAD] += count * size
        elif memory == _WGT:
            m.counters[WGT_LOAD] += count * size
        elif memory == _UOP:
            m.counters[UOP_LOAD] += count * size
        else:  # of ACC_8BIT what is filled counts, not what is read
            m.counters[ACC_LOAD] += count * m.element_bytes[_ACC]
    height = row[Y_PAD_0] + row[Y_SIZE] + row[Y_PAD_1]
    width = row[X_PAD_0] + row[X_SIZE] + row[X_PAD_1]
    sram_end = row[SRAM_BASE] + height * width
    if sram_end > m.depths[memory]:
        return report(m, SRAM_RANGE, i, SRAM_BASE, sram_end, m.depths[memory])
    limit = min(m.dram_bytes, _ADDRESSES)
    first = ((row[DRAM_BASE] & (_ADDRESSES - 1)) * size) & (_ADDRESSES - 1)
    pitch, length = row[X_STRIDE] * size, row[X_SIZE] * size
    last = first + pitch * (row[Y_SIZE] - 1)
    if (first >= PAGE_BYTES and last + length <= limit) or row[Y_SIZE] == 0:
        return OK
    for y in range(row[Y_SIZE]):
        address = (first + pitch * y) & (_ADDRESSES - 1)
        if address < PAGE_BYTES or address + length > limit:
            return report(m, DRAM_RANGE, i, DRAM_BASE, address, y)
    return OK
