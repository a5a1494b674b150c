"""Fetch behind the memory port: memory, and the queues it fills, wait at random."""

import random
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiReadBus, AxiSlaveRead
from vtakit.isa.config import PAGE_BYTES
from vtakit.isa.costs import FETCH_BURST
from vtakit.isa.registers import ErrorCode

from .bench_parts import begin, fault, pauses, restart
from .core_system import Dram

INPUTS = ("start", "address", "count", "command__ready", "halt")
COUNTS = (1, 2, FETCH_BURST - 1, FETCH_BURST, FETCH_BURST + 1, 2 * FETCH_BURST, 75, 200)


class Fetch:
    """The part, its memory, and how ready the queues are."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.dram = Dram(16 * PAGE_BYTES)
        self.dram.data[:] = list(random.randbytes(16 * PAGE_BYTES))
        self.errors: list[tuple[ErrorCode, int]] = []
        bus = AxiReadBus.from_prefix(dut, "fetch__axi_")
        self.memory = AxiSlaveRead(bus, dut.clk, dut.rst, target=self.dram)
        self.memory.log.setLevel("ERROR")  # it tells of every word refused
        for channel in (self.memory.ar_channel, self.memory.r_channel):
            channel.set_pause_generator(pauses())

    async def run(self, address: int, count: int) -> list[tuple[int, int, bool]]:
        """Fetch a program to its end or an error; return (word, index, last) of what came."""
        dut = self.dut
        dut.fetch__start.value, dut.fetch__address.value = 1, address
        dut.fetch__count.value = count
        await RisingEdge(dut.clk)
        dut.fetch__start.value = 0
        found: list[tuple[int, int, bool]] = []
        ready = pauses()
        shown: int | None = None
        while len(found) < count and not self.errors:
            take = next(ready)
            dut.fetch__command__ready.value = take
            await RisingEdge(dut.clk)
            if error := fault(dut.fetch__error):
                self.errors.append(error)
                shown = None
            valid = bool(dut.fetch__command__valid.value)
            assert valid or shown is None, "what was offered is gone"
            if valid:
                payload = int(dut.fetch__command__payload.value)
                assert shown in (None, payload), "what is offered changed before it was taken"
                shown = payload
                if take:
                    word, index = payload & ((1 << 128) - 1), payload >> 128
                    found.append((word, index, bool(dut.fetch__last.value)))
                    shown = None
        dut.fetch__command__ready.value = 0
        return found


@cocotb.test()
async def programs(dut: Any) -> None:
    """Every instruction is handed on once, in order, the last one marked."""
    fetch = Fetch(dut)
    await begin(dut, *(f"fetch__{name}" for name in INPUTS))
    for _ in range(24):
        count = random.choice(COUNTS)
        most = (fetch.dram.data.size - PAGE_BYTES - 16 * count) // 256
        address = PAGE_BYTES + 256 * random.randrange(most + 1)
        found = await with_timeout(fetch.run(address, count), 1, "ms")
        program = fetch.dram.data[address : address + 16 * count].tobytes()
        words = [int.from_bytes(program[16 * i : 16 * i + 16], "little") for i in range(count)]
        assert found == [(word, i, i == count - 1) for i, word in enumerate(words)]
        await RisingEdge(dut.clk)
        assert dut.fetch__idle.value
        assert not fetch.errors


@cocotb.test()
async def refused(dut: Any) -> None:
    """Memory that refuses a word ends it, with the first instruction that is not there."""
    fetch = Fetch(dut)
    await begin(dut)
    for good in (0, 16, 16, 32, 48, 80):
        await restart(dut, *(f"fetch__{name}" for name in INPUTS))
        fetch.errors.clear()
        address = fetch.dram.data.size - 16 * good
        found = await with_timeout(fetch.run(address, 100), 1, "ms")
        assert [index for _, index, _ in found] == list(range(len(found)))
        assert len(found) <= good
        assert fetch.errors == [(ErrorCode.BUS, good)]
        dut.fetch__command__ready.value = 1
        await RisingEdge(dut.clk)
        for _ in range(300):
            await RisingEdge(dut.clk)
            assert not dut.fetch__command__valid.value
