"""Benches of the parts that move streams, each side of which waits at random."""

import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from vtakit.isa.registers import ErrorCode

from .design_parts import QUEUE_BITS, QUEUE_DEPTH, TOKEN_DEPTH

CYCLES = 4000


def pauses() -> Iterator[bool]:
    """Give whether to pause in each cycle: with one probability for a while, then another."""
    while True:
        share = random.choice((0.1, 0.5, 0.9))
        for _ in range(random.randrange(1, 60)):
            yield random.random() < share


def fault(signal: Any) -> tuple[ErrorCode, int] | None:
    """Return code and instruction of a `hw.ports.Fault`, or None."""
    word = int(signal.value)
    return (ErrorCode(word >> 1 & 0xFF), word >> 9) if word & 1 else None


async def begin(dut: Any, *inputs: str) -> None:
    """Start the clock, and leave reset with all inputs at 0."""
    cocotb.start_soon(Clock(dut.clk, 2, unit="ns").start())
    await restart(dut, *inputs)


async def restart(dut: Any, *inputs: str) -> None:
    """Go through reset with all inputs at 0."""
    for name in inputs:
        getattr(dut, name).value = 0
    dut.rst.value = 1
    for _ in range(2):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


@cocotb.test()
async def queue(dut: Any) -> None:
    """Items come out once, in order, from the next cycle on; what waits, stands still."""
    await begin(dut, "queue__input__valid", "queue__output__ready")
    held: deque[int] = deque()
    offered: int | None = None
    fullest, puts, takes = 0, 0.0, 0.0
    for cycle in range(CYCLES):
        if cycle % 200 == 0:
            puts, takes = random.random(), random.random()
        if offered is None and random.random() < puts:
            offered = random.getrandbits(QUEUE_BITS)
        take = random.random() < takes
        dut.queue__input__valid.value = offered is not None
        if offered is not None:
            dut.queue__input__payload.value = offered
        dut.queue__output__ready.value = take
        await RisingEdge(dut.clk)
        assert dut.queue__level.value == len(held)
        assert dut.queue__output__valid.value == bool(held)
        if held:
            assert dut.queue__output__payload.value == held[0]
        room = len(held) < QUEUE_DEPTH
        assert dut.queue__input__ready.value == room
        if held and take:
            held.popleft()
        if room and offered is not None:
            held.append(offered)
            offered = None
        fullest = max(fullest, len(held))
    assert fullest == QUEUE_DEPTH


@cocotb.test()
async def tokens(dut: Any) -> None:
    """Tokens are neither lost nor made, and never more than fit."""
    await begin(dut, "tokens__push", "tokens__pop")
    held, fullest, pushes, pops = 0, 0, 0.0, 0.0
    for cycle in range(CYCLES):
        if cycle % 200 == 0:
            pushes, pops = random.random(), random.random()
        push, pop = random.random() < pushes, random.random() < pops
        dut.tokens__push.value, dut.tokens__pop.value = push, pop
        await RisingEdge(dut.clk)
        assert dut.tokens__level.value == held
        assert dut.tokens__ready.value == (held > 0)
        assert dut.tokens__full.value == (held == TOKEN_DEPTH)
        held -= pop and held > 0
        held += push and held < TOKEN_DEPTH
        fullest = max(fullest, held)
    assert fullest == TOKEN_DEPTH
