"""The loops of GEMM and ALU: the micro-ops of nested Python loops, however they are taken."""

import random
from typing import Any

import pytest
from amaranth.sim import Simulator
from vtakit.hw.loops import Loops
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.instructions import Gemm

from .memory_programs import CONFIGS
from .micro_ops import loop, micro_ops

SHAPES = {"default": PRESETS["default"], "tiny": PRESETS["tiny"], "two": CONFIGS["two-64"]}


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("eager", [True, False], ids=["every cycle", "at times"])
def test_micro_ops_are_those_of_nested_loops(config: Config, eager: bool) -> None:
    draw = random.Random(4)
    loops = Loops(config)

    async def drive(ctx) -> None:
        for _ in range(80):
            insn = loop(draw, config)
            expected = list(micro_ops(insn))
            assert not ctx.get(loops.valid)
            ctx.set(loops.insn, insn.encode(config))
            assert ctx.get(loops.any) == bool(expected)
            ctx.set(loops.start, 1)
            await ctx.tick()
            ctx.set(loops.start, 0)
            ctx.set(loops.insn, draw.getrandbits(128))
            for one in expected:
                step = eager
                while True:
                    assert ctx.get(loops.valid)
                    shown = [ctx.get(part) for part in (loops.uop, loops.dst, loops.src)]
                    assert shown == [one.uop, one.dst, one.src]
                    assert ctx.get(loops.last) == one.last
                    if isinstance(insn, Gemm):
                        assert ctx.get(loops.wgt) == one.wgt
                    step = step or draw.random() < 0.5
                    ctx.set(loops.step, step)
                    await ctx.tick()
                    if step:
                        break
            ctx.set(loops.step, 0)

    simulator = Simulator(loops)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()


def test_offsets_are_as_great_as_the_fields_let_them_be() -> None:
    """The last iteration of the most that an instruction can ask for, of one loop at a time."""
    config = PRESETS["tiny"]
    loops = Loops(config)
    most = (1 << 14) - 1
    acc, inp, wgt = config.acc_depth - 1, config.inp_depth - 1, config.wgt_depth - 1

    async def drive(ctx) -> None:
        for where in ("out", "in"):
            other = "in" if where == "out" else "out"
            fields: dict[str, Any] = {
                **{f"iter_{where}": most, f"iter_{other}": 1},
                **{f"dst_factor_{where}": acc, f"src_factor_{where}": inp},
                f"wgt_factor_{where}": wgt,
            }
            insn = Gemm(uop_end=1, **fields)
            ctx.set(loops.insn, insn.encode(config))
            ctx.set(loops.start, 1)
            await ctx.tick()
            ctx.set(loops.start, 0)
            ctx.set(loops.step, 1)
            for _ in range(most - 1):
                await ctx.tick()
            shown = [ctx.get(part) for part in (loops.dst, loops.src, loops.wgt)]
            assert shown == [(most - 1) * factor for factor in (acc, inp, wgt)]
            assert ctx.get(loops.last)
            await ctx.tick()
            ctx.set(loops.step, 0)
            assert not ctx.get(loops.valid)

    simulator = Simulator(loops)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
