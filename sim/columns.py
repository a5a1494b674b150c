"""An instruction stream as a table of integers, a row an instruction: what the compiled code reads.

Field positions come from the ISA's declaration (`isa.fields.slots`) as a table of numbers, so that
compiled code takes them as data and serves every configuration.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..isa.config import Config
from ..isa.fields import Slot, slots
from ..isa.instructions import FORMATS, Opcode

# Columns of every row
ACTION, OPCODE, TOKENS = 0, 1, 2
# of LOAD and STORE
MEMORY, SRAM_BASE, DRAM_BASE, Y_SIZE, X_SIZE, X_STRIDE = 3, 4, 5, 6, 7, 8
Y_PAD_0, Y_PAD_1, X_PAD_0, X_PAD_1 = 9, 10, 11, 12
# of GEMM and ALU
RESET, UOP_BEGIN, UOP_END, ITER_OUT, ITER_IN = 3, 4, 5, 6, 7
DST_OUT, DST_IN, SRC_OUT, SRC_IN = 8, 9, 10, 11
# of GEMM
WGT_OUT, WGT_IN = 12, 13
# of ALU
ALU_OPCODE, USE_IMM, IMM = 12, 13, 14
# of all four
BANK = 15

COLUMNS = 16
"""Integers a row, so that a row fills one cache line."""

NOTHING, LOAD = 0, 1
STORE, GEMM, RESETTING, ALU = 8, 9, 10, 11
"""What ACTION may be: whether there is anything to do, and what; for a LOAD, plus the memory."""
ACTIONS = 16

HEAD, TIME = 0, 1
"""What the queues need of an instruction stands apart, in two int64: the head, and the cycle from
which its unit sees it in the command queue or, once that is known, the one in which it ends."""

TOKENS_SHIFT, OPCODE_SHIFT, NEXT_SHIFT = 2, 6, 16
OPCODE_MASK, HEAD_MASK = 7, (1 << NEXT_SHIFT) - 1
"""A head is unit, token flags, opcode and the index of the unit's next instruction, -1 for none."""

POP_PREV, POP_NEXT, PUSH_PREV, PUSH_NEXT = 1, 2, 4, 8
"""Bits of the column TOKENS."""

_TOKENS = ("pop_prev", "pop_next", "push_prev", "push_next")
_TRANSFER = {
    "memory": MEMORY,
    "sram_base": SRAM_BASE,
    "dram_base": DRAM_BASE,
    "y_size": Y_SIZE,
    "x_size": X_SIZE,
    "x_stride": X_STRIDE,
    "y_pad_0": Y_PAD_0,
    "y_pad_1": Y_PAD_1,
    "x_pad_0": X_PAD_0,
    "x_pad_1": X_PAD_1,
    "bank": BANK,
}
_LOOPS = {
    "reset": RESET,
    "uop_begin": UOP_BEGIN,
    "uop_end": UOP_END,
    "iter_out": ITER_OUT,
    "iter_in": ITER_IN,
    "dst_factor_out": DST_OUT,
    "dst_factor_in": DST_IN,
    "src_factor_out": SRC_OUT,
    "src_factor_in": SRC_IN,
    "bank": BANK,
}
FIELDS: dict[Opcode, dict[str, int]] = {
    Opcode.LOAD: _TRANSFER,
    Opcode.STORE: _TRANSFER,
    Opcode.GEMM: _LOOPS | {"wgt_factor_out": WGT_OUT, "wgt_factor_in": WGT_IN},
    Opcode.FINISH: {},
    Opcode.ALU: _LOOPS | {"alu_opcode": ALU_OPCODE, "use_imm": USE_IMM, "imm": IMM},
}
"""The column of each field, by opcode."""


@lru_cache(maxsize=16)
def field_table(config: Config) -> npt.NDArray[np.int64]:
    """Return where each column of a row lies in the word, int64 (opcode, 4, COLUMNS).

    By column: -1 for the second half of the word and 0 for the first; the shift; the mask, 0 where
    the instruction has no such column; and the sign bit, 0 for a field without one.
    """
    table = np.zeros((len(Opcode), 4, COLUMNS), np.int64)
    for opcode, columns in FIELDS.items():
        layout = {slot.name: slot for slot in slots(FORMATS[opcode], config)}
        table[opcode, :, OPCODE] = _place(layout["opcode"], layout["opcode"].width)
        flags = sum(layout[name].width for name in _TOKENS)
        table[opcode, :, TOKENS] = _place(layout[_TOKENS[0]], flags)
        for name, column in columns.items():
            if name not in layout:  # it has no bits in this configuration
                continue
            table[opcode, :, column] = _place(layout[name], layout[name].width)
    return table


def _place(slot: Slot, width: int) -> tuple[int, int, int, int]:
    sign = 1 << (width - 1) if slot.signed else 0
    return -(slot.offset // 64), slot.offset % 64, (1 << width) - 1, sign
