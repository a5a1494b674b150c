"""Programs for the tests of sim: hand-written ones, random ones, and ways to run them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck
from hypothesis import strategies as st
from vtakit.isa.config import PAGE_BYTES, PRESETS, Config
from vtakit.isa.instructions import (
    Alu,
    AluOp,
    Finish,
    Gemm,
    Instruction,
    Load,
    Memory,
    Store,
    Unit,
)
from vtakit.isa.stream import encode_stream, encode_uops
from vtakit.sim.machine import Machine

Bytes: TypeAlias = npt.NDArray[np.uint8]

RECORDED = sorted((Path(__file__).parents[1] / "data" / "conformance").glob("*.npz"))
ENGINES = {"sim": True, "functional": False}
"""Whether each engine counts cycles."""

ODD = {
    "two": Config(1, 2, 2, uop_buffer_bytes=256, inp_buffer_bytes=64, wgt_buffer_bytes=64,
                  acc_buffer_bytes=256),
    "batch4": replace(PRESETS["tiny"], batch=4, block_in=2, block_out=2),
    "block64": Config(1, 64, 64, inp_buffer_bytes=4 << 10, acc_buffer_bytes=16 << 10),
    **{f"{name}, banks": replace(PRESETS[name], acc_banks=2) for name in ("tiny", "default")},
}  # fmt: skip
"""Machines unlike the presets: the least and the largest tiles, and a batch."""

SLOW_DRAWS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
"""What Hypothesis need not say of programs: they are large."""

UOPS, DATA, TOP = PAGE_BYTES, 2 * PAGE_BYTES, 20 * PAGE_BYTES
"""Memory of random programs: micro-ops from UOPS, data from DATA, and nothing from TOP on."""

FAR = 1 << 32
"""Bytes after which addresses repeat."""


def machine(config: Config, dram: Bytes, latency: int = 32) -> Machine:
    """Return a machine whose memory begins with `dram`, and has no more than that needs."""
    size = max(2 * PAGE_BYTES, -(-dram.size // PAGE_BYTES) * PAGE_BYTES)
    made = Machine(config, dram_bytes=size, memory_latency=latency)
    made.dram[: dram.size] = dram
    return made


def program(config: Config, *instructions: Instruction) -> Bytes:
    """Return instructions as words, uint8 (n, 16), with FINISH after them where it is missing."""
    if not any(isinstance(insn, Finish) for insn in instructions):
        instructions = (*instructions, Finish())
    return encode_stream(instructions, config)


def uop_bytes(config: Config, *uops: tuple[int, int, int]) -> Bytes:
    """Return micro-ops (dst, src, wgt) as they lie in memory."""
    dst, src, wgt = zip(*uops, strict=True)
    return encode_uops(dst, src, wgt, config).view(np.uint8)


def place(insn: Instruction) -> Unit:
    """Return the unit of an instruction, COMPUTE for MATRIX: where it stands in the pipeline."""
    return insn.unit(PRESETS["default"])


def in_order(instructions: Iterable[Instruction], banks: int = 1) -> list[Instruction]:
    """Give instructions the tokens that make each wait for the one before.

    LOAD INP; STORE    →    LOAD INP push_next; GEMM (empty) pop_prev push_next; STORE pop_prev

    With two banks, instructions of COMPUTE and MATRIX need not wait for each other, so what comes
    before or after another unit's is an empty LOAD UOP, which waits for all.
    """
    ordered: list[Instruction] = []
    relay = Load(memory=Memory.UOP)
    for insn in instructions:
        far = place(ordered[-1]) - place(insn) if ordered else 0
        if far and (abs(far) == 2 or banks == 2):
            if place(ordered[-1]) is not Unit.COMPUTE or banks == 2:
                _follow(ordered, relay)
            if place(insn) is Unit.COMPUTE:
                _follow(ordered, relay)
        _follow(ordered, insn)
    if ordered and place(ordered[-1]) is not Unit.COMPUTE:
        _follow(ordered, Finish())
    return ordered


def _follow(ordered: list[Instruction], insn: Instruction) -> None:
    """Append an instruction that waits for the last one, which is of a neighbour or of its unit."""
    if ordered and place(ordered[-1]) < place(insn):
        ordered[-1] = replace(ordered[-1], push_next=True)
        insn = replace(insn, pop_prev=True)
    elif ordered and place(ordered[-1]) > place(insn):
        ordered[-1] = replace(ordered[-1], push_prev=True)
        insn = replace(insn, pop_next=True)
    ordered.append(insn)


def memory_image(config: Config, seed: int) -> Bytes:
    """Return memory for random programs: micro-ops of low indices, most of them tiny, and data."""
    random = np.random.default_rng(seed)
    dram = np.zeros(TOP, np.uint8)
    count = (DATA - UOPS) // 4
    columns: list[npt.NDArray[np.int64]] = []
    for depth in (config.acc_depth, min(config.acc_depth, config.inp_depth), config.wgt_depth):
        half = depth // 2
        some = random.random(count) < 0.1
        columns.append(np.where(some, random.integers(0, half, count),
                                random.integers(0, min(half, 6), count)))  # fmt: skip
    dram[UOPS:DATA] = encode_uops(columns[0], columns[1], columns[2], config).view(np.uint8)
    dram[DATA:] = random.integers(0, 256, TOP - DATA)
    return dram


@st.composite
def transfers(draw: st.DrawFn, config: Config, memory: Memory) -> Load | Store:
    """Draw a LOAD of a memory, or a STORE (OUT), that stays where it must."""
    small = st.integers(0, 4)
    size = memory.element_bytes(config)
    begin, end = (UOPS, DATA) if memory is Memory.UOP else (DATA, TOP)
    room = (end - begin) // size
    y_size, x_size, stride = draw(small), draw(small), draw(st.integers(0, 8))
    if y_size:
        x_size = min(x_size, room)
        stride = min(stride, (room - x_size) // max(y_size - 1, 1))
    pads = [0] * 4
    if memory is not Memory.OUT and draw(st.booleans()):
        pads = [draw(st.integers(0, 3)) for _ in pads]
    depth = memory.depth(config)
    width, height = x_size + pads[2] + pads[3], y_size + pads[0] + pads[1]
    if width * height > depth:
        pads, width, height = [0] * 4, x_size, y_size
    if width * height > depth:
        x_size = width = 0
    sram_base = draw(st.integers(0, min(24, depth - width * height)))
    if draw(st.integers(0, 7)) == 0:
        sram_base = depth - width * height
    first = draw(st.integers(0, room - max(y_size - 1, 0) * stride - x_size))
    turns = draw(st.integers(0, min(2, size - 1)))  # whole turns through the address space
    kind = Store if memory is Memory.OUT else Load
    banked = memory in (Memory.ACC, Memory.ACC_8BIT, Memory.OUT)
    return kind(
        bank=draw(st.integers(0, config.bank_bits)) if banked else 0,
        memory=memory,
        sram_base=min(sram_base, 0xFFFF),
        dram_base=begin // size + first + turns * (FAR // size),
        y_size=y_size,
        x_size=x_size,
        x_stride=stride,
        y_pad_0=pads[0],
        y_pad_1=pads[1],
        x_pad_0=pads[2],
        x_pad_1=pads[3],
    )


@st.composite
def loops(draw: st.DrawFn, config: Config, *, alu: bool) -> Gemm | Alu:
    """Draw a GEMM or ALU that stays in its buffers, with the micro-ops of `memory_image`."""
    begin = draw(st.integers(0, min(24, config.uop_depth - 4)))
    iter_out, iter_in = draw(st.integers(0, 3)), draw(st.integers(0, 4))

    def factors(depth: int) -> tuple[int, int]:
        most = min(6, (depth // 2) // 5)  # 2 * factor_out + 3 * factor_in stay within a half
        return draw(st.integers(0, most)), draw(st.integers(0, most))

    dst = factors(config.acc_depth)
    src = factors(config.acc_depth if alu else min(config.inp_depth, config.acc_depth))
    common: dict[str, Any] = {
        "uop_begin": begin,
        "uop_end": begin + draw(st.integers(-min(1, begin), 4)),
        "iter_out": iter_out,
        "iter_in": iter_in,
        "dst_factor_out": dst[0],
        "dst_factor_in": dst[1],
        "src_factor_out": src[0],
        "src_factor_in": src[1],
        "bank": draw(st.integers(0, config.bank_bits)),
    }
    if alu:
        imm = draw(st.one_of(st.integers(-40, 40), st.integers(-(1 << 15), (1 << 15) - 1)))
        operation = draw(st.sampled_from(AluOp))
        return Alu(**common, alu_opcode=operation, use_imm=draw(st.booleans()), imm=imm)
    wgt = factors(config.wgt_depth)
    reset = draw(st.integers(0, 7)) == 0
    return Gemm(**common, wgt_factor_out=wgt[0], wgt_factor_in=wgt[1], reset=reset)


def instructions(config: Config) -> st.SearchStrategy[Instruction]:
    """Any instruction but FINISH, for the memory of `memory_image`."""
    return st.one_of(
        loops(config, alu=False),
        loops(config, alu=True),
        *(transfers(config, memory) for memory in Memory),
    )


@st.composite
def with_tokens(draw: st.DrawFn, config: Config) -> list[Instruction]:
    """Draw a program with any tokens, most of which are popped after they have been pushed."""
    insns: list[Instruction] = []
    pipeline = (Unit.LOAD, Unit.COMPUTE, Unit.STORE)
    tokens = {(a, b): 0 for a in pipeline for b in pipeline if abs(a - b) == 1}
    chance = st.integers(0, 3)
    for insn in draw(st.lists(instructions(config), min_size=1, max_size=14)):
        flags: dict[str, bool] = {}
        for side, step in (("prev", -1), ("next", 1)):
            own = place(insn)
            peer = own + step
            if not 0 <= peer < len(pipeline):
                continue
            come, go = (Unit(peer), own), (own, Unit(peer))
            if draw(chance) < 2 and (tokens[come] > 0 or draw(st.integers(0, 30)) == 30):
                flags[f"pop_{side}"] = True
                tokens[come] -= 1
            if draw(chance) < 2:
                flags[f"push_{side}"] = True
                tokens[go] += 1
        insns.append(replace(insn, **flags))
    return insns


def show_buffers(config: Config) -> Sequence[Instruction]:
    """Return instructions that write what the buffers hold, near both of their ends, to memory.

    Accumulators as four bytes each; of inputs and weights the products with each other. They
    follow a random program: memory from DATA on is overwritten.
    """
    most = min(64, config.acc_depth)
    places = sorted({0, config.acc_depth - min(16, config.acc_depth)})
    shown: list[Instruction] = [Load(memory=Memory.UOP, dram_base=TOP // 4, y_size=1, x_size=1)]
    at = DATA // config.out_tile_bytes

    def store(tiles: int, first: int, bank: int = 0) -> None:
        nonlocal at
        shown.append(Store(bank=bank, sram_base=first, dram_base=at, y_size=1, x_size=tiles))
        at += tiles

    for bank, first in product(range(config.acc_banks), places):
        tiles = min(most, config.acc_depth - first)
        for _ in range(4):
            store(tiles, first, bank)
            shown.append(
                Alu(uop_end=1, iter_out=1, iter_in=tiles, dst_factor_in=1, src_factor_in=1,
                    alu_opcode=AluOp.SHR, use_imm=True, imm=8, bank=bank)
            )  # fmt: skip
    for src, wgt in ((1, 0), (0, 1), (1, 1)):
        tiles = min(most, config.inp_depth, config.wgt_depth)
        walk: dict[str, Any] = {"uop_end": 1, "iter_out": 1, "iter_in": tiles, "dst_factor_in": 1}
        shown += [Gemm(**walk, reset=True), Gemm(**walk, src_factor_in=src, wgt_factor_in=wgt)]
        store(tiles, 0)
    return shown
