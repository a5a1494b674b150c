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
    RESETTING,
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
_NEVER = 1 << 30
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
        if uops[4 * u] >= dst_limit or uops[4 * u + 1] >= src_limit or uops[4 * u + 2] >= wgt_limit:
            return _report_first(m, row, index)
    return OK


@compiled
def _report_first(m: State, row: Ints, index: int) -> int:
    """Report the index outside its buffer that is met first, as hardware executes micro-ops."""
    src = _ACC if row[ACTION] == ALU else _INP
    inners, uops = row[ITER_IN] - 1, int32s(m.uops)
    code, uop, first = OK, 0, 0
    least_out, least_inner = row[ITER_OUT], 0  # the iteration in which the first of them is met
    for u in range(row[UOP_BEGIN], row[UOP_END]):
        for field in range(1 if row[ACTION] == RESETTING else 2 if row[ACTION] == ALU else 3):
            memory = _ACC if field == 0 else src if field == 1 else _WGT
            by_out = row[DST_OUT if field == 0 else SRC_OUT if field == 1 else WGT_OUT]
            by_inner = row[DST_IN if field == 0 else SRC_IN if field == 1 else WGT_IN]
            value = uops[4 * u + field]
            out = _steps(m.depths[memory] - value - inners * by_inner, by_out)
            inner = _steps(m.depths[memory] - value - out * by_out, by_inner)
            if out < least_out or (out == least_out and inner < least_inner):
                least_out, least_inner = out, inner
                code = DST_RANGE if field == 0 else SRC_RANGE if field == 1 else WGT_RANGE
                uop, first = u, value
    return report(m, code, index, 0, uop, first)


@compiled
def _steps(missing: int, step: int) -> int:
    """Return how many steps make up for what is missing; many if none do."""
    if missing <= 0:
        return 0
    return -(-missing // step) if step else _NEVER
