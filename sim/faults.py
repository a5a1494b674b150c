"""What compiled code finds wrong with an instruction, as numbers; `explain` puts it in words."""

import numpy as np
import numpy.typing as npt

from .jit import compiled

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

FAULT_WORDS = 5
"""A fault is int64 (5): code, instruction, column, and two values that depend on the code."""

I64 = npt.NDArray[np.int64]


@compiled
def report(fault: I64, code: int, instruction: int, column: int, value: int, limit: int) -> int:
    """Write a fault down and return its code."""
    fault[0] = code
    fault[1] = instruction
    fault[2] = column
    fault[3] = value
    fault[4] = limit
    return code
