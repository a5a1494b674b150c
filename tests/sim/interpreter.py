"""The instruction set, executed plainly: one instruction after the other, one micro-op at a time.

Written from the ISA alone, for the compiled engines to be compared with: nothing here is shared
with them, and nothing is fast. Tokens are not looked at; instructions act in the order given.
"""

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from vtakit.isa.config import Config
from vtakit.isa.instructions import Alu, AluOp, Gemm, Instruction, Load, Memory, Store, Uop, decode
from vtakit.isa.program import COUNTERS

Bytes: TypeAlias = npt.NDArray[np.uint8]


def decode_program(insns: Bytes, config: Config) -> list[Instruction]:
    """Return the instructions of a program, uint8 (n, 16)."""
    return [decode(int.from_bytes(row.tobytes(), "little"), config) for row in insns]


class Interpreter:
    """A machine without units, queues or time; `dram` uint8 is changed in place."""

    def __init__(self, config: Config, dram: Bytes) -> None:
        self.config = config
        self.dram = dram
        self.uop = [Uop()] * config.uop_depth
        self.inp = np.zeros((config.inp_depth, config.batch, config.block_in), np.int8)
        self.wgt = np.zeros((config.wgt_depth, config.block_out, config.block_in), np.int8)
        tile = (config.batch, config.block_out)
        self.banks = [
            np.zeros((config.acc_depth, *tile), np.int32) for _ in range(config.acc_banks)
        ]
        self.counters = dict.fromkeys(COUNTERS, 0)

    def run(self, insns: Bytes) -> None:
        """Execute instructions, uint8 (n, 16), in their order."""
        for insn in decode_program(insns, self.config):
            self.execute(insn)

    def execute(self, insn: Instruction) -> None:
        """Do what one instruction does."""
        match insn:
            case Load(x_size=0) | Store(x_size=0):
                pass
            case Load():
                self._load(insn)
            case Store():
                self._store(insn)
            case Gemm():
                self._gemm(insn)
            case Alu():
                self._alu(insn)

    def _rows(self, insn: Load | Store) -> Iterable[int]:
        """Give the DRAM byte of each row."""
        size = insn.memory.element_bytes(self.config)
        for y in range(insn.y_size):
            yield (insn.dram_base * size + y * insn.x_stride * size) % (1 << 32)

    def _load(self, insn: Load) -> None:
        size = insn.memory.element_bytes(self.config)
        sram = insn.sram_base
        width = insn.x_pad_0 + insn.x_size + insn.x_pad_1
        sram = self._zeros(insn, sram, insn.y_pad_0 * width)
        for address in self._rows(insn):
            sram = self._zeros(insn, sram, insn.x_pad_0)
            for x in range(insn.x_size):
                data = self.dram[address + x * size : address + (x + 1) * size]
                assert data.size == size
                self._put(insn, sram, data)
                sram += 1
            sram = self._zeros(insn, sram, insn.x_pad_1)
        self._zeros(insn, sram, insn.y_pad_1 * width)
        name, counted = {
            Memory.UOP: ("uop_load_nbytes", size),
            Memory.INP: ("inp_load_nbytes", size),
            Memory.WGT: ("wgt_load_nbytes", size),
            Memory.ACC: ("acc_load_nbytes", size),
            Memory.ACC_8BIT: ("acc_load_nbytes", 4 * size),
        }[insn.memory]
        self.counters[name] += insn.y_size * insn.x_size * counted

    def _zeros(self, insn: Load, sram: int, count: int) -> int:
        nothing = np.zeros(insn.memory.element_bytes(self.config), np.uint8)
        for element in range(sram, sram + count):
            self._put(insn, element, nothing)
        return sram + count

    def _put(self, insn: Load, element: int, data: Bytes) -> None:
        acc = self.banks[insn.bank]
        match insn.memory:
            case Memory.UOP:
                word = int.from_bytes(data.tobytes(), "little")
                self.uop[element] = Uop.decode(word, self.config)
            case Memory.INP:
                self.inp[element] = data.view(np.int8).reshape(self.inp.shape[1:])
            case Memory.WGT:
                self.wgt[element] = data.view(np.int8).reshape(self.wgt.shape[1:])
            case Memory.ACC:
                acc[element] = data.view("<i4").reshape(acc.shape[1:])
            case Memory.ACC_8BIT:
                acc[element] = data.view(np.int8).reshape(acc.shape[1:])
            case Memory.OUT:
                raise AssertionError("nothing is loaded there")

    def _store(self, insn: Store) -> None:
        size = self.config.out_tile_bytes
        sram = insn.sram_base
        for address in self._rows(insn):
            tiles = self.banks[insn.bank][sram : sram + insn.x_size].astype(np.int8).view(np.uint8)
            self.dram[address : address + insn.x_size * size] = tiles.reshape(-1)
            sram += insn.x_size
        self.counters["out_store_nbytes"] += insn.y_size * insn.x_size * size

    def steps(self, insn: Gemm | Alu) -> list[tuple[int, int, int]]:
        """Return dst, src and wgt of each micro-op, in their order; of an ALU wgt means nothing."""
        wgt_out = insn.wgt_factor_out if isinstance(insn, Gemm) else 0
        wgt_in = insn.wgt_factor_in if isinstance(insn, Gemm) else 0
        return [
            (
                uop.dst + out * insn.dst_factor_out + inner * insn.dst_factor_in,
                uop.src + out * insn.src_factor_out + inner * insn.src_factor_in,
                uop.wgt + out * wgt_out + inner * wgt_in,
            )
            for out in range(insn.iter_out)
            for inner in range(insn.iter_in)
            for uop in self.uop[insn.uop_begin : insn.uop_end]
        ]

    def _gemm(self, insn: Gemm) -> None:
        acc = self.banks[insn.bank]
        for dst, src, wgt in self.steps(insn):
            if insn.reset:
                acc[dst] = 0
                continue
            product = self.wgt[wgt].astype(np.int64) @ self.inp[src].astype(np.int64).T
            acc[dst] = (acc[dst] + product.T).astype(np.int32)
            self.counters["gemm_counter"] += 1

    def _alu(self, insn: Alu) -> None:
        acc = self.banks[insn.bank]
        for dst, src, _ in self.steps(insn):
            x = acc[dst].astype(np.int64)
            y = np.full_like(x, insn.imm) if insn.use_imm else acc[src].astype(np.int64)
            acc[dst] = operate(insn.alu_opcode, x, y).astype(np.int32)
            self.counters["alu_counter"] += 1


def operate(
    operation: AluOp, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the result of an ALU operation, of which the low 32 bits count."""
    match operation:
        case AluOp.MIN:
            return np.minimum(x, y)
        case AluOp.MAX:
            return np.maximum(x, y)
        case AluOp.ADD:
            return x + y
        case AluOp.MUL:
            return x * y
        case AluOp.SHR:
            right = x >> np.clip(y, 0, 31)
            left = np.where(y > -32, x << np.clip(-y, 0, 31), 0)
            return np.where(y >= 0, right, left)
