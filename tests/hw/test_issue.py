"""Micro-ops issued: cycle by cycle what nested loops and the rule of the operand register give."""

import random
from collections import defaultdict
from dataclasses import dataclass, replace

import pytest
from amaranth.sim import Simulator
from vtakit.hw.issue import Issue
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.costs import IN_FLIGHT
from vtakit.isa.instructions import Alu, Finish, Gemm, Uop
from vtakit.isa.registers import ErrorCode

from .memory_programs import CONFIGS, small
from .micro_ops import loop, micro_ops

SHAPES = {
    "default": PRESETS["default"],
    "tiny, of 8 tiles": small(PRESETS["tiny"], 8),
    "two read ports": replace(small(PRESETS["small"], 16), acc_read_ports=2),
    "two": CONFIGS["two-64"],
}


@dataclass
class Cycle:
    """What is expected in a cycle: a step, and an error."""

    valid: bool = False
    source: bool = False
    indices: tuple[int, ...] = ()
    retire: int = 0
    code: ErrorCode = ErrorCode.NONE
    hit: bool = False


def fault(config: Config, insn: Gemm | Alu, dst: int, src: int, wgt: int) -> ErrorCode:
    """Return what is wrong with the indices of a micro-op."""
    multiplies = isinstance(insn, Gemm) and not insn.reset
    if dst >= config.acc_depth:
        return ErrorCode.DST_RANGE
    if isinstance(insn, Alu) and src >= config.acc_depth:
        return ErrorCode.SRC_RANGE
    if multiplies and src >= config.inp_depth:
        return ErrorCode.SRC_RANGE
    if multiplies and wgt >= config.wgt_depth:
        return ErrorCode.WGT_RANGE
    return ErrorCode.NONE


def expected(
    config: Config, insn: Gemm | Alu, uops: list[Uop], slot: int
) -> tuple[list[int], dict[int, Cycle]]:
    """Return the micro-op's address cycle by cycle, and what comes of it two cycles later."""
    addresses: list[int] = []
    cycles: dict[int, Cycle] = defaultdict(Cycle)
    held = None
    for one in micro_ops(insn):
        uop = uops[one.uop]
        dst, src, wgt = uop.dst + one.dst, uop.src + one.src, uop.wgt + one.wgt
        code = fault(config, insn, dst, src, wgt)
        tensor = isinstance(insn, Alu) and not insn.use_imm and config.acc_read_ports == 1
        addresses.append(one.uop)
        cycle = cycles[len(addresses) + 1]
        cycle.code, cycle.hit = code, tensor and held == src
        if tensor and held != src:
            cycle.valid, cycle.source, cycle.indices = not code, True, (dst, src, wgt)
            addresses.append(-1)
            cycle = cycles[len(addresses) + 1]
        cycle.valid, cycle.indices = not code, (dst, src, wgt)
        cycle.retire = one.last << slot
        held = src if src != dst else None
    return addresses, cycles


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("factor", [1, 0], ids=["within", "beyond"])
def test_steps_are_those_of_nested_loops(config: Config, factor: int) -> None:
    """Small factors seldom lead out of a buffer, those that are as great as they may be often."""
    draw = random.Random(factor)
    issue = Issue(config)
    few = min(config.acc_depth, config.inp_depth, config.wgt_depth) // 2
    uops = [Uop(dst=draw.randrange(few), src=draw.randrange(few), wgt=draw.randrange(few))]
    while len(uops) < config.uop_depth:
        last = uops[-1]
        src = last.src if draw.random() < 0.4 else draw.randrange(few)
        uops.append(Uop(dst=draw.randrange(few), src=src, wgt=draw.randrange(few)))
    words = [uop.encode(config) for uop in uops]
    met: set[ErrorCode] = set()

    async def drive(ctx) -> None:
        for number in range(60):
            insn = Finish() if number % 20 == 9 else loop(draw, config, factor=factor)
            slot = number % IN_FLIGHT
            addresses, cycles = [], {}
            if isinstance(insn, Gemm | Alu):
                addresses, cycles = expected(config, insn, uops, slot)
            assert ctx.get(issue.front_free)
            ctx.set(issue.command.insn, insn.encode(config))
            ctx.set(issue.command.index, number)
            ctx.set(issue.slot, slot)
            ctx.set(issue.start, 1)
            assert ctx.get(issue.nothing) == (not addresses) << slot
            shown = ctx.get(issue.uop.index)
            await ctx.tick()
            ctx.set(issue.uop.data, words[shown])
            ctx.set(issue.start, 0)
            ctx.set(issue.command.insn, draw.getrandbits(128))
            is_alu = isinstance(insn, Alu)
            for time, address in enumerate([*addresses, None, None, None]):
                cycle, step = cycles.get(time, Cycle()), issue.step
                assert ctx.get(step.valid) == cycle.valid
                assert ctx.get(step.source) == cycle.source
                assert ctx.get(step.retire) == cycle.retire
                if cycle.valid:
                    used = 1 if cycle.source else 3 if isinstance(insn, Gemm) else 2
                    parts = (step.src,) if cycle.source else (step.dst, step.src, step.wgt)
                    wanted = cycle.indices[1:2] if cycle.source else cycle.indices
                    if isinstance(insn, Gemm) and insn.reset:
                        used = 1
                    assert [ctx.get(part) for part in parts[:used]] == list(wanted[:used])
                assert ctx.get(issue.error.valid) == bool(cycle.code)
                if cycle.code:
                    assert ctx.get(issue.error.code) == cycle.code
                    assert ctx.get(issue.error.index) == number
                    met.add(cycle.code)
                    break  # the machine stops
                assert ctx.get(issue.front_free) == (address is None)
                shown = ctx.get(issue.uop.index)
                assert ctx.get(issue.gemm) == (address is not None and not is_alu)
                assert ctx.get(issue.alu) == (address is not None and is_alu)
                counts = is_alu or (isinstance(insn, Gemm) and not insn.reset)
                assert ctx.get(issue.counted) == (address not in (None, -1) and counts)
                assert ctx.get(issue.hit) == cycles.get(time + 1, Cycle()).hit
                await ctx.tick()
                ctx.set(issue.uop.data, words[shown])
            await ctx.tick().until(issue.front_free)
            await ctx.tick().repeat(3)

    simulator = Simulator(issue)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    if not factor:
        assert met >= {ErrorCode.DST_RANGE, ErrorCode.SRC_RANGE}
