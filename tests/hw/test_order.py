"""The order of COMPUTE and MATRIX: what an instruction must follow, against looking at them all."""

import random
from dataclasses import replace

import pytest
from amaranth.sim import Simulator
from vtakit.hw.order import Order
from vtakit.isa.config import PRESETS
from vtakit.isa.instructions import Alu, Finish, Gemm, Instruction, Load, Memory, Store, Unit

from ..sim.cycle_reference import meet

CONFIG = replace(PRESETS["tiny"], acc_banks=2)
MIDDLE = (Unit.COMPUTE, Unit.MATRIX)
FLAGS = ("pop_prev", "pop_next", "push_prev", "push_next")


def drawn(draw: random.Random, flags: float) -> Instruction:
    """Return an instruction of any unit, with a token flag now and then."""
    bank = draw.randrange(2)
    insn = draw.choice(
        [
            Gemm(bank=bank),
            Gemm(bank=bank),
            Alu(bank=bank),
            Load(memory=Memory.ACC, bank=bank),
            Load(memory=Memory.ACC_8BIT, bank=bank),
            Load(memory=Memory.UOP),
            Load(memory=Memory.INP),
            Store(bank=bank),
            Finish(),
        ]
    )
    return replace(insn, **{flag: draw.random() < flags for flag in FLAGS})


@pytest.mark.parametrize("flags", [0.0, 0.1, 0.6])
def test_an_instruction_follows_the_last_of_the_other_unit_that_it_meets(flags: float) -> None:
    draw = random.Random(int(10 * flags))
    order = Order(CONFIG)

    async def drive(ctx) -> None:
        for _ in range(20):
            ctx.set(order.forget, 1)
            ctx.set(order.taken, 0)
            await ctx.tick()
            ctx.set(order.forget, 0)
            program: list[Instruction] = []
            for _ in range(60):
                insn, taken = drawn(draw, flags), draw.random() < 0.8
                unit = insn.unit(CONFIG)
                ctx.set(order.insn, insn.encode(CONFIG))
                ctx.set(order.unit, unit)
                ctx.set(order.index, len(program))
                ctx.set(order.taken, taken)
                if unit in MIDDLE:
                    met = [
                        i
                        for i, other in enumerate(program)
                        if {other.unit(CONFIG), unit} == set(MIDDLE) and meet(insn, other, CONFIG)
                    ]
                    assert ctx.get(order.after) == (met[-1] + 1 if met else 0)
                await ctx.tick()
                if taken:
                    program.append(insn)

    simulator = Simulator(order)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
