"""What each instruction does to buffers and memory, without time. Compiled.

Where the original leaves a result open, this machine has one:

- SHR is floor(x / 2**count) for every count, modulo 2**32: 32 and more leave 0 or -1, -32 and less
  leave 0.
- A GEMM with `reset` reads neither inputs nor weights, so their indices are not looked at.
- Buffers hold zeros at first.
"""

from ..isa.instructions import Memory
from .columns import (
    ACTION,
    ACTIONS,
    ALU,
    DST_IN,
    DST_OUT,
    GEMM,
    ITER_IN,
    ITER_OUT,
    NOTHING,
    SRC_IN,
    SRC_OUT,
    UOP_BEGIN,
    UOP_END,
    WGT_IN,
    WGT_OUT,
)
from .faults import DST_RANGE, OK, SRC_RANGE, WGT_RANGE, report
from .jit import compiled
from .kernel import call
from .pointers import int32s
from .state import Ints, State

_INP, _WGT, _ACC = int(Memory.INP), int(Memory.WGT), int(Memory.ACC)
_UNLIMITED = 1 << 62
_ACTIONS_MASK = ACTIONS - 1  # for an index that cannot be negative


@compiled
def execute(m: State, row: Ints, index: int) -> int:
    """Do all that an instruction does, tokens apart; return OK or a fault."""
    action = row[ACTION]
    if action == NOTHING:
        return OK
    if action >= GEMM:
        code = _check_indices(m, row, index)
        if code != OK:
            return code
    call(m.kernels[action & _ACTIONS_MASK], m, row)
    return OK


@compiled
def _check_indices(m: State, row: Ints, index: int) -> int:
    """Look for a micro-op whose indices, in the last iteration, lie outside their buffers."""
    outs, inners = row[ITER_OUT] - 1, row[ITER_IN] - 1
    dst_limit = m.depths[_ACC] - outs * row[DST_OUT] - inners * row[DST_IN]
    src_limit = wgt_limit = _UNLIMITED
    if row[ACTION] == ALU:
        src_limit = m.depths[_ACC] - outs * row[SRC_OUT] - inners * row[SRC_IN]
    elif row[ACTION] == GEMM:
        src_limit = m.depths[_INP] - outs * row[SRC_OUT] - inners * row[SRC_IN]
        wgt_limit = m.depths[_WGT] - outs * row[WGT_OUT] - inners * row[WGT_IN]
    uops = int32s(m.uops)
    for u in range(row[UOP_BEGIN], row[UOP_END]):
        if uops[4 * u] >= dst_limit:
            return report(m, DST_RANGE, index, 0, u, uops[4 * u])
        if uops[4 * u + 1] >= src_limit:
            return report(m, SRC_RANGE, index, 0, u, uops[4 * u + 1])
        if uops[4 * u + 2] >= wgt_limit:
            return report(m, WGT_RANGE, index, 0, u, uops[4 * u + 2])
    return OK
