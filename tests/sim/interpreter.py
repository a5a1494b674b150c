"""What instructions compute, in plain NumPy: the other implementation that the simulator meets."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vtakit.isa.config import Config
from vtakit.isa.instructions import (
    Alu,
    AluOp,
    Gemm,
    Instruction,
    Load,
    Memory,
    Store,
    Uop,
    decode,
)

I64 = npt.NDArray[np.int64]


def decode_program(insns: npt.NDArray[np.uint8], config: Config) -> list[Instruction]:
    """Return the instructions of a stream, uint8 (n, 16)."""
    return [decode(int.from_bytes(row.tobytes(), "little"), config) for row in insns]


@dataclass
class Interpreter:
    """Buffers and memory, and `execute`, which changes them as one instruction does."""

    config: Config
    dram: npt.NDArray[np.uint8]
    uops: list[int] = field(init=False)
    inp: I64 = field(init=False)
    wgt: I64 = field(init=False)
    acc: I64 = field(init=False)
    counters: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        c = self.config
        self.uops = [0] * c.uop_depth
        self.inp = np.zeros((c.inp_depth, c.batch, c.block_in), np.int64)
        self.wgt = np.zeros((c.wgt_depth, c.block_out, c.block_in), np.int64)
        self.acc = np.zeros((c.acc_depth, c.batch, c.block_out), np.int64)
        names = ("inp_load", "wgt_load", "acc_load", "uop_load", "out_store")
        self.counters = {f"{name}_nbytes": 0 for name in names}
        self.counters |= {"gemm_counter": 0, "alu_counter": 0}

    def execute(self, insn: Instruction) -> None:
        """Do what the instruction does, tokens apart."""
        match insn:
            case Load() if insn.x_size:
                self._load(insn)
            case Store() if insn.x_size:
                self._store(insn)
            case Gemm():
                self._gemm(insn)
            case Alu():
                self._alu(insn)
            case _:
                pass

    def steps(self, insn: Gemm | Alu) -> list[tuple[int, int, int]]:
        """Return the dst, src and wgt of each micro-op that it executes, in order."""
        out: list[tuple[int, int, int]] = []
        for o in range(insn.iter_out):
            for i in range(insn.iter_in):
                for u in range(insn.uop_begin, insn.uop_end):
                    uop = Uop.decode(self.uops[u], self.config)
                    dst = uop.dst + o * insn.dst_factor_out + i * insn.dst_factor_in
                    src = uop.src + o * insn.src_factor_out + i * insn.src_factor_in
                    wgt = uop.wgt
                    if isinstance(insn, Gemm):
                        wgt += o * insn.wgt_factor_out + i * insn.wgt_factor_in
                    out.append((dst, src, wgt))
        return out

    def _address(self, insn: Load | Store, y: int) -> int:
        size = insn.memory.element_bytes(self.config)
        return (insn.dram_base + y * insn.x_stride) * size % (1 << 32)

    def _load(self, insn: Load) -> None:
        c = self.config
        size = insn.memory.element_bytes(c)
        width = insn.x_pad_0 + insn.x_size + insn.x_pad_1
        at = insn.sram_base
        rows = [None] * insn.y_pad_0 + list(range(insn.y_size)) + [None] * insn.y_pad_1
        for y in rows:
            for x in range(width):
                inside = y is not None and 0 <= x - insn.x_pad_0 < insn.x_size
                data = np.zeros(size, np.uint8)
                if inside:
                    first = self._address(insn, y) + (x - insn.x_pad_0) * size
                    data = self.dram[first : first + size].copy()
                self._fill(insn.memory, at, data)
                at += 1
        kind = {Memory.ACC_8BIT: "acc"}.get(insn.memory, insn.memory.name.lower())
        filled = c.acc_tile_bytes if kind == "acc" else size
        self.counters[f"{kind}_load_nbytes"] += insn.y_size * insn.x_size * filled

    def _fill(self, memory: Memory, at: int, data: npt.NDArray[np.uint8]) -> None:
        match memory:
            case Memory.UOP:
                self.uops[at] = int(data.view("<u4")[0])
            case Memory.INP:
                self.inp[at] = data.view(np.int8).reshape(self.inp[at].shape)
            case Memory.WGT:
                self.wgt[at] = data.view(np.int8).reshape(self.wgt[at].shape)
            case Memory.ACC:
                self.acc[at] = data.view("<i4").reshape(self.acc[at].shape)
            case _:
                self.acc[at] = data.view(np.int8).reshape(self.acc[at].shape)

    def _store(self, insn: Store) -> None:
        size = insn.memory.element_bytes(self.config)
        for y in range(insn.y_size):
            tiles = self.acc[insn.sram_base + y * insn.x_size :][: insn.x_size]
            first = self._address(insn, y)
            self.dram[first : first + insn.x_size * size] = (tiles & 0xFF).astype(np.uint8).ravel()
        self.counters["out_store_nbytes"] += insn.y_size * insn.x_size * size

    def _gemm(self, insn: Gemm) -> None:
        for dst, src, wgt in self.steps(insn):
            if insn.reset:
                self.acc[dst] = 0
            else:
                self.acc[dst] = _int32(self.acc[dst] + self.inp[src] @ self.wgt[wgt].T)
                self.counters["gemm_counter"] += 1

    def _alu(self, insn: Alu) -> None:
        for dst, src, _ in self.steps(insn):
            x = self.acc[dst]
            y = np.full_like(x, insn.imm) if insn.use_imm else self.acc[src]
            self.acc[dst] = _int32(_operate(insn.alu_opcode, x, y))
            self.counters["alu_counter"] += 1


def _operate(operation: AluOp, x: I64, y: I64) -> I64:
    match operation:
        case AluOp.MIN:
            return np.minimum(x, y)
        case AluOp.MAX:
            return np.maximum(x, y)
        case AluOp.ADD:
            return x + y
        case AluOp.MUL:
            return x * y
        case AluOp.SHR:  # floor(x / 2**y), exactly, then modulo 2**32
            pairs = zip(x.ravel().tolist(), y.ravel().tolist(), strict=True)
            shifted = [_shift(value, count) for value, count in pairs]
            return np.array(shifted, np.int64).reshape(x.shape)


def _shift(value: int, count: int) -> int:
    if count >= 0:
        return value >> min(count, 64)
    return (value << min(-count, 64)) & 0xFFFFFFFF


def _int32(x: I64) -> I64:
    return x.astype(np.int32).astype(np.int64)
