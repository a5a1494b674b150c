"""The arithmetic of GEMM and ALU: the hot loops. Compiled.

Buffers are flat arrays. The micro-op buffer is int32 (4 a micro-op: dst, src, wgt, 0), so that
nothing is unpacked in a loop. Inputs and weights are kept widened to int16, and the weights of a
tile are ordered [block_in / 2][block_out][2]: two neighbouring inputs, one 32-bit word, then meet a
vector of the weights of all outputs, which is what a multiply-add of pairs wants.
"""

from collections.abc import Callable
from typing import TypeAlias

from ..isa.instructions import AluOp
from .columns import (
    ALU_OPCODE,
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
from .jit import compiled
from .pointers import int16s, int32s, skip
from .state import VECTOR, Ints, State
from .vectors import dot, operate

_MIN, _MAX, _ADD = int(AluOp.MIN), int(AluOp.MAX), int(AluOp.ADD)
_SHR, _MUL = int(AluOp.SHR), int(AluOp.MUL)

Kernel: TypeAlias = Callable[[State, Ints], None]
"""Executes the instruction of a row, whose indices have been checked."""


def _gemm_of(block: int) -> Kernel:
    """Return GEMM for tiles of `block` inputs and outputs, an even number."""
    outs = min(block, 32)
    tile, groups = block * block, block // outs

    @compiled
    def gemm_block(m: State, row: Ints) -> None:
        uops, inp, wgt, acc = int32s(m.uops), int16s(m.inp), int16s(m.wgt), int32s(m.acc)
        batch, lanes = m.batch, m.lanes
        inners, begin, end = row[ITER_IN], row[UOP_BEGIN], row[UOP_END]
        dst_in, src_in, wgt_in = row[DST_IN] * lanes, row[SRC_IN] * lanes, row[WGT_IN] * tile
        for out in range(row[ITER_OUT]):
            dst_base = out * row[DST_OUT] * lanes
            src_base = out * row[SRC_OUT] * lanes
            wgt_base = out * row[WGT_OUT] * tile
            for _ in range(inners):
                for u in range(4 * begin, 4 * end, 4):
                    a = skip(acc, uops[u] * lanes + dst_base)
                    x = skip(inp, uops[u + 1] * lanes + src_base)
                    w = skip(wgt, uops[u + 2] * tile + wgt_base)
                    for b in range(0, batch * block, block):
                        for group in range(groups):
                            at = group * outs
                            dot(skip(a, b + at), skip(x, b), skip(w, 2 * at), block, outs)
                dst_base += dst_in
                src_base += src_in
                wgt_base += wgt_in

    return gemm_block


_gemm_4, _gemm_8, _gemm_16 = _gemm_of(4), _gemm_of(8), _gemm_of(16)
_gemm_32, _gemm_64 = _gemm_of(32), _gemm_of(64)


@compiled
def gemm(m: State, row: Ints) -> None:
    """Execute a GEMM whose indices have been checked."""
    if m.block == 16:
        _gemm_16(m, row)
    elif m.block == 32:
        _gemm_32(m, row)
    elif m.block == 8:
        _gemm_8(m, row)
    elif m.block == 4:
        _gemm_4(m, row)
    elif m.block == 64:
        _gemm_64(m, row)
    else:
        _gemm_any(m, row)


@compiled
def _gemm_any(m: State, row: Ints) -> None:
    """Execute a GEMM on tiles of any size, plainly."""
    uops, inp, wgt, acc = int32s(m.uops), int16s(m.inp), int16s(m.wgt), int32s(m.acc)
    block = m.block
    for out in range(row[ITER_OUT]):
        for inner in range(row[ITER_IN]):
            for u in range(4 * row[UOP_BEGIN], 4 * row[UOP_END], 4):
                dst = uops[u] + out * row[DST_OUT] + inner * row[DST_IN]
                src = uops[u + 1] + out * row[SRC_OUT] + inner * row[SRC_IN]
                weight = uops[u + 2] + out * row[WGT_OUT] + inner * row[WGT_IN]
                for b in range(m.batch):
                    for i in range(block):
                        x = inp[src * m.lanes + b * block + i]
                        for o in range(block):
                            w = wgt[weight * m.tile + weight_place(o, i, block)]
                            acc[dst * m.lanes + b * block + o] += x * w


@compiled
def weight_place(o: int, i: int, block: int) -> int:
    """Return where in a weight tile the buffer keeps wgt[o][i]."""
    return 2 * ((i >> 1) * block + o) + (i & 1)


@compiled
def reset(m: State, row: Ints) -> None:
    """Execute a GEMM with `reset`: write zeros."""
    uops, acc = int32s(m.uops), int32s(m.acc)
    for out in range(row[ITER_OUT]):
        for inner in range(row[ITER_IN]):
            base = out * row[DST_OUT] + inner * row[DST_IN]
            for u in range(4 * row[UOP_BEGIN], 4 * row[UOP_END], 4):
                dst = (uops[u] + base) * m.lanes
                for lane in range(m.lanes):
                    acc[dst + lane] = 0


def _alu_of(length: int) -> Kernel:
    """Return ALU for tiles of a multiple of `length` lanes."""

    @compiled
    def alu_vectors(m: State, row: Ints) -> None:
        uops, acc, operand = int32s(m.uops), int32s(m.acc), int32s(m.acc)
        lanes, operation = m.lanes, row[ALU_OPCODE]
        tensor = 1
        if row[USE_IMM]:
            tensor = 0  # keeps every index of the operand at its one vector
            operand = int32s(m.immediate)
            for k in range(length):
                operand[k] = row[IMM]
        inners, begin, end = row[ITER_IN], row[UOP_BEGIN], row[UOP_END]
        for out in range(row[ITER_OUT]):
            dst_base = out * row[DST_OUT] * lanes
            src_base = out * row[SRC_OUT] * lanes
            for _ in range(inners):
                for u in range(4 * begin, 4 * end, 4):
                    dst = uops[u] * lanes + dst_base
                    src = uops[u + 1] * lanes + src_base
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
                dst_base += row[DST_IN] * lanes
                src_base += row[SRC_IN] * lanes

    return alu_vectors


_alu_vectors, _alu_fours, _alu_ones = _alu_of(VECTOR), _alu_of(4), _alu_of(1)


@compiled
def alu(m: State, row: Ints) -> None:
    """Execute an ALU instruction whose indices have been checked."""
    if m.lanes & (VECTOR - 1) == 0:
        _alu_vectors(m, row)
    elif m.lanes & 3 == 0:
        _alu_fours(m, row)
    else:
        _alu_ones(m, row)
