"""What compiled code finds wrong with an instruction; `explain` puts it in words.

The codes are those of the hardware's error register, as numbers that compiled code can hold.
"""

from ..isa.registers import ErrorCode
from .jit import inlined
from .state import State

OK = int(ErrorCode.NONE)
UNKNOWN_OPCODE = int(ErrorCode.UNKNOWN_OPCODE)
UNKNOWN_MEMORY = int(ErrorCode.UNKNOWN_MEMORY)
UNKNOWN_ALU_OPCODE = int(ErrorCode.UNKNOWN_ALU_OPCODE)
AFTER_FINISH = int(ErrorCode.AFTER_FINISH)
MISSING_FINISH = int(ErrorCode.MISSING_FINISH)
NO_NEIGHBOUR = int(ErrorCode.NO_NEIGHBOUR)
NOT_LOADED = int(ErrorCode.NOT_LOADED)
NOT_STORED = int(ErrorCode.NOT_STORED)
STORE_PADS = int(ErrorCode.STORE_PADS)
SRAM_RANGE = int(ErrorCode.SRAM_RANGE)
DRAM_RANGE = int(ErrorCode.DRAM_RANGE)
UOP_RANGE = int(ErrorCode.UOP_RANGE)
DST_RANGE = int(ErrorCode.DST_RANGE)
SRC_RANGE = int(ErrorCode.SRC_RANGE)
WGT_RANGE = int(ErrorCode.WGT_RANGE)
DEADLOCK = int(ErrorCode.DEADLOCK)


@inlined
def report(m: State, code: int, instruction: int, column: int, value: int, limit: int) -> int:
    """Write a fault down: code, instruction, column and two values; return the code."""
    m.fault[0] = code
    m.fault[1] = instruction
    m.fault[2] = column
    m.fault[3] = value
    m.fault[4] = limit
    return code
