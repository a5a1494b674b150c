"""What compiled code finds wrong with an instruction, as numbers; `explain` puts it in words."""

from .jit import inlined
from .state import State

OK = 0
UNKNOWN_OPCODE = 1
UNKNOWN_MEMORY = 2
UNKNOWN_ALU_OPCODE = 3
AFTER_FINISH = 4
MISSING_FINISH = 5
NO_NEIGHBOUR = 6
NOT_LOADED = 7
NOT_STORED = 8
STORE_PADS = 9
SRAM_RANGE = 10
DRAM_RANGE = 11
UOP_RANGE = 12
DST_RANGE = 13
SRC_RANGE = 14
WGT_RANGE = 15
DEADLOCK = 16


@inlined
def report(m: State, code: int, instruction: int, column: int, value: int, limit: int) -> int:
    """Write a fault down: code, instruction, column and two values; return the code."""
    m.fault[0] = code
    m.fault[1] = instruction
    m.fault[2] = column
    m.fault[3] = value
    m.fault[4] = limit
    return code
