"""The arithmetic of GEMM and ALU: the hot loops, as kernels.

The micro-op buffer is int32 (4 a micro-op: dst, src, wgt, 0), so that no loop unpacks anything.
Inputs and weights are kept widened to int16, and the weights of a tile are ordered
[block_in / 2][block_out][2]: two neighbouring inputs, one 32-bit word, then meet a vector of the
weights of all outputs, which is what a multiply-add of pairs wants.
"""

from ..isa.instructions import AluOp, Memory
from .columns import (
    ALU_OPCODE,
    BANK,
    DST_IN,
    DST_OUT,
    IMM,
    ITER_IN,
    ITER_OUT,
    SRC_IN,
    SRC_OUT,
    UOP_BEGIN,
    UOP_END,
    USE_IMM,
    WGT_IN,
    WGT_OUT,
)
from .jit import inlined
from .kernel import Body
from .pointers import int16s, int32s, skip
from .state import VECTOR, Ints, State
from .vectors import dot, operate

_MIN, _MAX, _ADD = int(AluOp.MIN), int(AluOp.MAX), int(AluOp.ADD)
_SHR, _MUL = int(AluOp.SHR), int(AluOp.MUL)
_ACC = int(Memory.ACC)

_ROWS, _OUTS = 4, 16
"""Micro-ops and outputs multiplied at a time, at most: what 16 registers of 256 bits hold."""


@inlined
def accumulators(m: State, row: Ints) -> Ints:
    """Return the first accumulator of an instruction's bank."""
    return skip(int32s(m.acc), row[BANK] * m.depths[_ACC] * m.lanes)


@inlined
def weight_place(o: int, i: int, block: int) -> int:
    """Return where in a weight tile the buffer keeps wgt[o][i]."""
    return 2 * ((i >> 1) * block + o) + (i & 1)


def gemm_of(batch: int, block: int) -> Body:
    """Return GEMM without `reset`, for inp (batch, block) and wgt (block, block).

    GEMM only adds to accumulators, so its micro-ops may be taken in any order. The inner loop here
    is the one of the two that stays on a weight tile, so that the tile serves several micro-ops
    each time it is read.
    """
    lanes, tile, outs = batch * block, block * block, min(block, _OUTS)

    def gemm(m: State, row: Ints) -> None:
        uops, inp, wgt = int32s(m.uops), int16s(m.inp), int16s(m.wgt)
        acc = accumulators(m, row)
        outer, dst_outer, src_outer = row[ITER_OUT], row[DST_OUT] * lanes, row[SRC_OUT] * lanes
        inner, dst_inner, src_inner = row[ITER_IN], row[DST_IN] * lanes, row[SRC_IN] * lanes
        wgt_outer, wgt_inner = row[WGT_OUT] * tile, row[WGT_IN] * tile
        if wgt_outer == 0 and (wgt_inner != 0 or inner < outer):
            outer, inner = inner, outer
            dst_outer, dst_inner = dst_inner, dst_outer
            src_outer, src_inner = src_inner, src_outer
            wgt_outer, wgt_inner = wgt_inner, wgt_outer
        together = inner & -_ROWS if wgt_inner == 0 else 0
        pairs = m.block >> 1
        for n in range(outer):
            for u in range(4 * row[UOP_BEGIN], 4 * row[UOP_END], 4):
                acc_n = skip(acc, uops[u] * lanes + n * dst_outer)
                inp_n = skip(inp, uops[u + 1] * lanes + n * src_outer)
                wgt_n = skip(wgt, uops[u + 2] * tile + n * wgt_outer)
                for k in range(0, together, _ROWS):
                    for b in range(0, lanes, block):
                        x = skip(inp_n, k * src_inner + b)
                        for o in range(0, block, outs):
                            a, w = skip(acc_n, k * dst_inner + b + o), skip(wgt_n, 2 * o)
                            dot(a, x, w, pairs, dst_inner, src_inner, _ROWS, outs, block)
                for k in range(together, inner):
                    for b in range(0, lanes, block):
                        x = skip(inp_n, k * src_inner + b)
                        for o in range(0, block, outs):
                            a = skip(acc_n, k * dst_inner + b + o)
                            w = skip(wgt_n, k * wgt_inner + 2 * o)
                            dot(a, x, w, pairs, dst_inner, src_inner, 1, outs, block)

    return gemm


def reset_of(lanes: int) -> Body:
    """Return GEMM with `reset`, which writes zeros, for tiles of `lanes` elements."""

    def reset(m: State, row: Ints) -> None:
        uops, acc = int32s(m.uops), accumulators(m, row)
        for out in range(row[ITER_OUT]):
            for inner in range(row[ITER_IN]):
                base = out * row[DST_OUT] + inner * row[DST_IN]
                for u in range(4 * row[UOP_BEGIN], 4 * row[UOP_END], 4):
                    dst = (uops[u] + base) * lanes
                    for lane in range(lanes):
                        acc[dst + lane] = 0

    return reset


def alu_of(lanes: int) -> Body:
    """Return ALU, for tiles of `lanes` elements."""
    length = min(lanes, VECTOR)

    def alu(m: State, row: Ints) -> None:
        uops, acc = int32s(m.uops), accumulators(m, row)
        operand = acc
        operation, tensor = row[ALU_OPCODE], 1
        if row[USE_IMM]:
            tensor = 0  # keeps every index of the operand at its one vector
            operand = int32s(m.immediate)
            for k in range(length):
                operand[k] = row[IMM]
        inners, begin, end = row[ITER_IN], 4 * row[UOP_BEGIN], 4 * row[UOP_END]
        for out in range(row[ITER_OUT]):
            dst_base, src_base = out * row[DST_OUT], out * row[SRC_OUT]
            for _ in range(inners):
                for u in range(begin, end, 4):
                    dst = (uops[u] + dst_base) * lanes
                    src = (uops[u + 1] + src_base) * lanes
                    for lane in range(0, lanes, length):
                        x, y = skip(acc, dst + lane), skip(operand, tensor * (src + lane))
                        if operation == _MIN:
                            operate(x, y, _MIN, length)
                        elif operation == _MAX:
                            operate(x, y, _MAX, length)
                        elif operation == _ADD:
                            operate(x, y, _ADD, length)
                        elif operation == _SHR:
                            operate(x, y, _SHR, length)
                        else:
                            operate(x, y, _MUL, length)
                dst_base += row[DST_IN]
                src_base += row[SRC_IN]

    return alu
