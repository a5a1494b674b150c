"""Token counters: what is pushed can be popped, once."""

import random

import pytest
from amaranth.sim import Simulator
from vtakit.hw.tokens import TokenCounter


@pytest.mark.parametrize("depth", [1, 2, 3, 8])
def test_it_holds_what_was_pushed_and_not_yet_popped(depth: int) -> None:
    counter = TokenCounter(depth)
    draw = random.Random(depth)

    async def drive(ctx) -> None:
        held, pushes, pops = 0, 0.0, 0.0
        for cycle in range(2000):
            if cycle % 100 == 0:
                pushes, pops = draw.random(), draw.random()
            assert ctx.get(counter.level) == held
            assert ctx.get(counter.ready) == (held > 0)
            assert ctx.get(counter.full) == (held == depth)
            push, pop = draw.random() < pushes, draw.random() < pops
            ctx.set(counter.push, push)
            ctx.set(counter.pop, pop)
            held -= pop and held > 0
            held += push and held < depth
            await ctx.tick()

    simulator = Simulator(counter)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
