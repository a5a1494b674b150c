"""Random GEMMs and ALUs, and their micro-ops as nested loops have them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vtakit.isa.config import Config
from vtakit.isa.instructions import Alu, AluOp, Gemm


@dataclass(frozen=True)
class MicroOp:
    """Which micro-op it is, what the loops add to its indices, and whether it is the last one."""

    uop: int
    dst: int
    src: int
    wgt: int
    last: bool


def micro_ops(insn: Gemm | Alu) -> Iterator[MicroOp]:
    """Give the micro-ops of an instruction in their order."""
    count = max(0, insn.uop_end - insn.uop_begin) * insn.iter_out * insn.iter_in
    for out in range(insn.iter_out):
        for inner in range(insn.iter_in):
            for uop in range(insn.uop_begin, insn.uop_end):
                count -= 1
                yield MicroOp(
                    uop,
                    out * insn.dst_factor_out + inner * insn.dst_factor_in,
                    out * insn.src_factor_out + inner * insn.src_factor_in,
                    out * insn.wgt_factor_out + inner * insn.wgt_factor_in
                    if isinstance(insn, Gemm)
                    else 0,
                    count == 0,
                )


def loop(draw: random.Random, config: Config, *, most: int = 4, factor: int = 0) -> Gemm | Alu:
    """Draw a GEMM or ALU of at most `most` micro-ops and iterations of each loop.

    Factors are at most `factor`, or, where that is 0, what their fields hold.
    """

    def below(bits: int) -> int:
        return draw.randint(0, factor or (1 << bits) - 1)

    begin = draw.randrange(config.uop_depth)
    acc, inp, wgt = config.acc_index_bits, config.inp_index_bits, config.wgt_index_bits
    common: dict[str, Any] = {
        "uop_begin": begin,
        "uop_end": min(config.uop_depth, draw.randint(max(0, begin - 1), begin + most)),
        "iter_out": draw.randint(0, most),
        "iter_in": draw.randint(0, most),
        "dst_factor_out": below(acc),
        "dst_factor_in": below(acc),
    }
    if draw.random() < 0.5:
        return Gemm(
            **common,
            reset=draw.random() < 0.2,
            src_factor_out=below(inp),
            src_factor_in=below(inp),
            wgt_factor_out=below(wgt),
            wgt_factor_in=below(wgt),
        )
    return Alu(
        **common,
        src_factor_out=below(acc),
        src_factor_in=below(acc),
        alu_opcode=draw.choice(list(AluOp)),
        use_imm=draw.random() < 0.4,
        imm=draw.randint(-(1 << 15), (1 << 15) - 1),
    )
