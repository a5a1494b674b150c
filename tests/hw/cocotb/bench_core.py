"""The whole core: programs as a host runs them, beside a simulator; errors and resets."""

import json
import random
from dataclasses import replace
from pathlib import Path

import cocotb
import numpy as np
from vtakit.isa.config import PAGE_BYTES, Config
from vtakit.isa.instructions import (
    Alu,
    AluOp,
    Finish,
    Gemm,
    Instruction,
    Load,
    Memory,
    Store,
)
from vtakit.isa.program import Program
from vtakit.isa.registers import REGISTERS, ErrorCode, Status
from vtakit.isa.stream import encode_stream
from vtakit.sim.machine import Machine

from ...sim.interpreter import Bytes
from .core_system import System
from .coverage import CHANNELS, PRESSURES, Coverage
from .programs import DRAM_BYTES, Programs, finishes
from .simulation import parameters

DATA, OUT = 2 * PAGE_BYTES, 3 * PAGE_BYTES
"""Where programs of known result load from and store to; their micro-op, 0, is at page 1."""

LENGTHS = (4, 10, 16, 24)
"""Instructions of random programs, those that only pass tokens on left out."""


@cocotb.test()
async def random_programs(dut) -> None:
    """Memory, counters and tokens are the simulator's, whichever channels pause."""
    given = parameters()
    config, draw = Config.from_json(given["config"]), random.Random(given["seed"])
    coverage = Coverage()
    programs = Programs(config, draw, coverage)
    both = Both(System(dut, config, DRAM_BYTES, draw), programs.dram)
    await both.system.reset()
    for insns in finishes():
        coverage.add(insns, await both.run(insns, draw.choice(PRESSURES)))
    for _ in range(given["programs"]):
        least = min(PRESSURES, key=lambda one: coverage.along("pressure")[one,])
        insns = programs.next(draw.choice(LENGTHS))
        coverage.add(insns, await both.run(insns, draw.choice((least, least, "all"))))
    path = Path(given["folder"], "coverage.json")
    path.write_text(json.dumps(coverage.to_json()))


@cocotb.test()
async def recorded_programs(dut) -> None:
    """Memory and counters are the original's."""
    given = parameters()
    config, draw = Config.from_json(given["config"]), random.Random(given["seed"])
    recorded = [Program.load(Path(path)) for path in given["recorded"]]
    most = max(one.dram_before.size for one in recorded)
    system = System(dut, config, most, draw)
    await system.reset()
    for one in recorded:
        assert one.dram_after is not None
        system.memory.data[:] = 0
        system.memory.data[: one.dram_before.size] = one.dram_before
        system.keep_waiting(CHANNELS if len(one.insns) < 200 else ())
        await system.begin(one.insns)
        assert not (await system.done()).error, one.note
        np.testing.assert_array_equal(system.memory.data[: one.dram_after.size], one.dram_after)
        assert await system.counters() == one.counters, one.note


class Both:
    """The core and a simulator, whose memories begin as `dram`."""

    def __init__(self, system: System, dram: Bytes) -> None:
        self.system = system
        self.machine = Machine(system.config, dram_bytes=dram.size)
        for memory in (system.memory.data, self.machine.dram):
            memory[:] = dram

    async def run(self, insns: list[Instruction], pressure: str) -> list[str]:
        """Run a program on both, and compare; return the back-pressure that there was."""
        system, config = self.system, self.system.config
        words = encode_stream(insns, config)
        paused = CHANNELS if pressure == "all" else [pressure] if pressure in CHANNELS else []
        system.keep_waiting(paused, host=system.draw.random() < 0.3)
        system.stalled.clear()
        await system.begin(words)
        status = await system.done()
        assert not status.error, await system.error()
        expected = self.machine.run(words, timing=False).counters.original()
        assert await system.counters() == expected
        wrong = np.flatnonzero(system.memory.data != self.machine.dram)
        assert not wrong.size, f"{wrong.size} bytes of memory from {wrong[0]:#x} on"
        for name, tokens in self.machine.tokens.items():
            register = f"TOKENS_{name.upper().replace('->', '_')}"
            assert await system.read(register) == tokens, register
        if system.draw.random() < 0.1:
            check_cycles(await system.all_counters())
        assert system.stalled <= set(paused)
        return sorted(system.stalled) or ["none"]


def check_cycles(counters: dict[str, int]) -> None:
    """See that each cycle was put down to one activity of each unit."""
    for unit in ("LOAD", "COMPUTE", "STORE", "MATRIX"):
        spent = sum(
            count
            for name, count in counters.items()
            if name.startswith(f"{unit}_") and not name.endswith("_WORDS")
        )
        assert spent == counters["CYCLES"], (unit, counters)
    assert counters["CYCLES"] > 0


def add_one(config: Config) -> list[Instruction]:
    """Return a program that stores the low bytes of two tiles of DATA, each plus 1."""
    return [
        Load(memory=Memory.UOP, dram_base=PAGE_BYTES // 4, y_size=1, x_size=1),
        Load(memory=Memory.ACC, dram_base=DATA // config.acc_tile_bytes, y_size=1, x_size=2),
        Alu(uop_end=1, iter_out=1, iter_in=2, dst_factor_in=1, src_factor_in=1,
            alu_opcode=AluOp.ADD, use_imm=True, imm=1, push_next=True),
        Store(dram_base=OUT // config.out_tile_bytes, y_size=1, x_size=2, pop_prev=True),
        Finish(),
    ]  # fmt: skip


async def adds_one(system: System) -> None:
    """See that the machine works."""
    config, data = system.config, system.memory.data
    size = 2 * config.acc_tile_bytes
    data[:] = 0
    values = np.frombuffer(system.draw.randbytes(size), "<u4")
    data[DATA : DATA + size] = values.view(np.uint8)
    await system.begin(encode_stream(add_one(config), config))
    status = await system.done()
    assert not status.error, await system.error()
    assert (data[OUT : OUT + values.size] == (values + 1).astype(np.uint8)).all()
    assert not data[OUT + values.size :].any()


def wrong(config: Config, dram_bytes: int) -> list[tuple[ErrorCode, list[Instruction], int]]:
    """Return what is wrong with a program, the program, and the instruction it is wrong with."""
    page = PAGE_BYTES // config.inp_tile_bytes
    load = Load(memory=Memory.INP, dram_base=page, y_size=1, x_size=1)
    uop = Load(memory=Memory.UOP, dram_base=PAGE_BYTES // 4, y_size=1, x_size=1)
    gemm = Gemm(uop_end=1, iter_out=3, iter_in=1)
    end = dram_bytes // config.out_tile_bytes
    return [
        (ErrorCode.SRAM_RANGE, [load, replace(load, sram_base=config.inp_depth)], 1),
        (ErrorCode.UOP_RANGE, [replace(gemm, uop_end=config.uop_depth + 1)], 0),
        (
            ErrorCode.DST_RANGE,
            [uop, replace(gemm, reset=True, dst_factor_out=config.acc_depth - 1)],
            1,
        ),
        (ErrorCode.SRC_RANGE, [uop, replace(gemm, src_factor_out=config.inp_depth - 1)], 1),
        (ErrorCode.WGT_RANGE, [uop, replace(gemm, wgt_factor_out=config.wgt_depth - 1)], 1),
        (ErrorCode.NO_NEIGHBOUR, [load, replace(load, pop_prev=True)], 1),
        (ErrorCode.STORE_PADS, [Store(y_size=1, x_size=1, y_pad_0=1)], 0),
        (ErrorCode.AFTER_FINISH, [load, Finish()], 2),
        (
            ErrorCode.DEADLOCK,
            [replace(load, push_next=True), Alu(pop_next=True), Alu(), Store(pop_prev=True)],
            1,
        ),
        (ErrorCode.BUS, [load, Store(dram_base=end, y_size=1, x_size=1)], 1),
        (ErrorCode.BUS, [load, replace(load, memory=Memory.ACC_8BIT, dram_base=end)], 1),
        (ErrorCode.BUS, [replace(load, dram_base=0)], 0),
    ]


@cocotb.test()
async def errors(dut) -> None:
    """What is wrong is in the registers; after a reset, the machine works."""
    given = parameters()
    config, draw = Config.from_json(given["config"]), random.Random(given["seed"])
    system = System(dut, config, DRAM_BYTES, draw)
    await system.reset()
    await adds_one(system)
    for code, insns, index in wrong(config, DRAM_BYTES):
        system.keep_waiting(draw.sample(CHANNELS, draw.randrange(len(CHANNELS) + 1)), host=True)
        await system.begin(encode_stream([*insns, Finish()], config))
        assert (await system.done()).error, code.name
        assert await system.error() == (code, index)
        await system.order(start=True)
        assert await system.status() == Status(done=True, error=True), "a reset comes first"
        await system.order(reset=True)
        while (await system.status()).busy:
            pass
        assert await system.status() == Status()
        assert not dut.irq.value
        assert await system.error() == (ErrorCode.NONE, 0)
        for name in (name for name in REGISTERS if name.startswith("TOKENS_")):
            assert await system.read(name) == 0, name
        await adds_one(system)
    await unknown_opcode(system)
    await page_zero(system)


async def unknown_opcode(system: System) -> None:
    """A word that is no instruction."""
    words = encode_stream([Alu(), Alu(), Finish()], system.config)
    words[1, 0] |= 7
    await system.begin(words)
    assert (await system.done()).error
    assert await system.error() == (ErrorCode.UNKNOWN_OPCODE, 1)
    await system.order(reset=True)
    await adds_one(system)


async def page_zero(system: System) -> None:
    """A program where no memory is: fetch is refused."""
    await system.begin(encode_stream([Finish()], system.config), address=0)
    assert (await system.done()).error
    assert await system.error() == (ErrorCode.BUS, 0)
    await system.order(reset=True)
    await adds_one(system)


@cocotb.test()
async def orders_while_busy(dut) -> None:
    """A start while a program runs is ignored, and where the next one is; a reset breaks it off."""
    given = parameters()
    config, draw = Config.from_json(given["config"]), random.Random(given["seed"])
    system = System(dut, config, DRAM_BYTES, draw)
    await system.reset()
    long = Gemm(uop_end=1, iter_out=60, iter_in=60, reset=True)
    words = encode_stream([Alu(uop_end=0), long, Finish()], config)
    await system.begin(words)
    await system.order(start=True)
    await system.write("INSN_ADDRESS", 0)
    await system.write("INSN_COUNT", 0)
    assert (await system.status()).busy
    assert not (await system.done()).error, await system.error()
    assert (await system.all_counters())["GEMM_CYCLES"] == 3600
    await system.begin(words)
    assert (await system.status()).busy
    await system.order(reset=True)
    while (await system.status()).busy:
        pass
    assert (await system.all_counters())["GEMM_CYCLES"] < 3600
    await adds_one(system)
