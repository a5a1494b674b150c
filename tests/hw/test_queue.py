"""Queues: every item comes out once, in order, in the cycle in which it should."""

import random
from collections import deque

import pytest
from amaranth.lib import data
from amaranth.sim import Simulator
from vtakit.hw.queue import Queue

ITEM = data.StructLayout({"low": 5, "high": 6})


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 8])
def test_items_come_out_in_order_from_the_next_cycle_on(depth: int) -> None:
    queue = Queue(ITEM, depth)
    draw = random.Random(depth)

    async def drive(ctx) -> None:
        held: deque[int] = deque()
        puts = takes = 0.0
        for cycle in range(2000):
            if cycle % 100 == 0:
                puts, takes = draw.random(), draw.random()
            assert ctx.get(queue.level) == len(held)
            assert ctx.get(queue.input.ready) == (len(held) < depth)
            assert ctx.get(queue.output.valid) == bool(held)
            if held:
                assert ctx.get(queue.output.payload.as_value()) == held[0]
            put, take = draw.random() < puts, draw.random() < takes
            item = draw.randrange(1 << 11)
            ctx.set(queue.input.valid, put)
            ctx.set(queue.input.payload.as_value(), item)
            ctx.set(queue.output.ready, take)
            fits = len(held) < depth
            if held and take:
                held.popleft()
            if put and fits:
                held.append(item)
            await ctx.tick()

    simulator = Simulator(queue)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
