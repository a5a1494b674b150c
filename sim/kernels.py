"""The arithmetic of GEMM and ALU: the hot loops. Compiled.

Buffers are flat arrays. The micro-op buffer is int32 (4 a micro-op: dst, src, wgt, 0), so that
nothing is unpacked in a loop. Inputs and weights are kept widened to int16, and the weights of a
tile are ordered [block_in / 2][block_out][2]: two neighbouring inputs, one 32-bit word, then meet a
vector of the weights of all outputs, which is what a multiply-add of pairs wants.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

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
from .vectors import dot, operate

I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]

_MIN, _MAX, _ADD = int(AluOp.MIN), int(AluOp.MAX), int(AluOp.ADD)
_SHR, _MUL = int(AluOp.SHR), int(AluOp.MUL)

VECTOR = 16
"""Lanes that the ALU loops take at a time, where there are so many."""

Gemm: TypeAlias = Callable[[I32, I32, I16, I16, I32, int], None]
Alu: TypeAlias = Callable[[I32, I32, I32, I32, int], None]


def _gemm_of(block: int) -> Gemm:
    """Return GEMM for tiles of `block` inputs and outputs, an even number."""
    outs = min(block, 32)
    tile, groups = block * block, block // outs

    @compiled
    def gemm_block(row: I32, uops: I32, inp: I16, wgt: I16, acc: I32, batch: int) -> None:
        lanes = batch * block
        for out in range(row[ITER_OUT]):
            for inner in range(row[ITER_IN]):
                dst_base = out * row[DST_OUT] + inner * row[DST_IN]
                src_base = out * row[SRC_OUT] + inner * row[SRC_IN]
                wgt_base = out * row[WGT_OUT] + inner * row[WGT_IN]
                for u in range(row[UOP_BEGIN], row[UOP_END]):
                    dst = (uops[4 * u] + dst_base) * lanes
                    src = (uops[4 * u + 1] + src_base) * lanes
                    weight = (uops[4 * u + 2] + wgt_base) * tile
                    for b in range(batch):
                        for group in range(groups):
                            at = dst + b * block + group * outs
                            first = weight + 2 * outs * group
                            dot(acc, at, inp, src + b * block, wgt, first, block, outs)

    return gemm_block


_gemm_4, _gemm_8, _gemm_16 = _gemm_of(4), _gemm_of(8), _gemm_of(16)
_gemm_32, _gemm_64 = _gemm_of(32), _gemm_of(64)


@compiled
def gemm(row: I32, uops: I32, inp: I16, wgt: I16, acc: I32, batch: int, block: int) -> None:
    """Execute a GEMM whose indices have been checked."""
    if block == 16:
        _gemm_16(row, uops, inp, wgt, acc, batch)
    elif block == 32:
        _gemm_32(row, uops, inp, wgt, acc, batch)
    elif block == 8:
        _gemm_8(row, uops, inp, wgt, acc, batch)
    elif block == 4:
        _gemm_4(row, uops, inp, wgt, acc, batch)
    elif block == 64:
        _gemm_64(row, uops, inp, wgt, acc, batch)
    else:
        gemm_any(row, uops, inp, wgt, acc, batch, block)


@compiled
def gemm_any(row: I32, uops: I32, inp: I16, wgt: I16, acc: I32, batch: int, block: int) -> None:
    """Execute a GEMM on tiles of any size, plainly."""
    lanes, tile = batch * block, block * block
    for out in range(row[ITER_OUT]):
        for inner in range(row[ITER_IN]):
            dst_base = out * row[DST_OUT] + inner * row[DST_IN]
            src_base = out * row[SRC_OUT] + inner * row[SRC_IN]
            wgt_base = out * row[WGT_OUT] + inner * row[WGT_IN]
            for u in range(row[UOP_BEGIN], row[UOP_END]):
                dst = (uops[4 * u] + dst_base) * lanes
                src = (uops[4 * u + 1] + src_base) * lanes
                weight = (uops[4 * u + 2] + wgt_base) * tile
                for b in range(batch):
                    for i in range(block):
                        x = inp[src + b * block + i]
                        for o in range(block):
                            w = wgt[weight + weight_place(o, i, block)]
                            acc[dst + b * block + o] += x * w


@compiled
def weight_place(o: int, i: int, block: int) -> int:
    """Return where in a weight tile the buffer keeps wgt[o][i]."""
    return 2 * ((i >> 1) * block + o) + (i & 1)


@compiled
def reset(row: I32, uops: I32, acc: I32, lanes: int) -> None:
    """Execute a GEMM with `reset`: write zeros."""
    for out in range(row[ITER_OUT]):
        for inner in range(row[ITER_IN]):
            base = out * row[DST_OUT] + inner * row[DST_IN]
            for u in range(row[UOP_BEGIN], row[UOP_END]):
                dst = (uops[4 * u] + base) * lanes
                for lane in range(lanes):
                    acc[dst + lane] = 0


def _alu_of(length: int) -> Alu:
    """Return ALU for tiles of a multiple of `length` lanes."""

    @compiled
    def alu_vectors(row: I32, uops: I32, acc: I32, operand: I32, lanes: int) -> None:
        operation = row[ALU_OPCODE]
        tensor = 1 - row[USE_IMM]  # 0 keeps every index of the operand at its one vector
        for out in range(row[ITER_OUT]):
            for inner in range(row[ITER_IN]):
                dst_base = out * row[DST_OUT] + inner * row[DST_IN]
                src_base = out * row[SRC_OUT] + inner * row[SRC_IN]
                for u in range(row[UOP_BEGIN], row[UOP_END]):
                    dst = (uops[4 * u] + dst_base) * lanes
                    src = (uops[4 * u + 1] + src_base) * lanes
                    for lane in range(0, lanes, length):
                        x, y = dst + lane, tensor * (src + lane)
                        if operation == _MIN:
                            operate(acc, x, operand, y, _MIN, length)
                        elif operation == _MAX:
                            operate(acc, x, operand, y, _MAX, length)
                        elif operation == _ADD:
                            operate(acc, x, operand, y, _ADD, length)
                        elif operation == _SHR:
                            operate(acc, x, operand, y, _SHR, length)
                        else:
                            operate(acc, x, operand, y, _MUL, length)

    return alu_vectors


_alu_vectors, _alu_fours, _alu_ones = _alu_of(VECTOR), _alu_of(4), _alu_of(1)


@compiled
def alu(row: I32, uops: I32, acc: I32, immediate: I32, lanes: int) -> None:
    """Execute an ALU instruction whose indices have been checked.

    `immediate`, int32 (VECTOR), is room for the operand when the instruction holds it.
    """
    operand = acc
    if row[USE_IMM]:
        operand = immediate
        for k in range(VECTOR):
            immediate[k] = row[IMM]
    if lanes % VECTOR == 0:
        _alu_vectors(row, uops, acc, operand, lanes)
    elif lanes % 4 == 0:
        _alu_fours(row, uops, acc, operand, lanes)
    else:
        _alu_ones(row, uops, acc, operand, lanes)
