"""The SDRAM controller: random bursts beside an array, on a chip that checks every time."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge
from vtakit.isa.costs import MAX_BURST_WORDS

from .design_sdram import SMALL
from .simulation import parameters


class Controller:
    """Drives `bursts`."""

    def __init__(self, dut, bus_bytes: int) -> None:
        self.dut = dut
        self.bus_bytes = bus_bytes

    async def start(self) -> None:
        self.dut.valid.value = 0
        self.dut.rst.value = 1
        cocotb.start_soon(Clock(self.dut.clk, 10, "ns").start())
        for _ in range(3):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0

    async def burst(self, address: int, words: list[tuple[int, int]], *, write: bool) -> list[int]:
        """Write (data, strobe) words, or read as many; return those read."""
        dut = self.dut
        dut.valid.value = 1
        dut.write.value = int(write)
        dut.address.value = address
        dut.words.value = len(words)
        sent = 0
        found: list[int] = []
        while True:
            data, strobe = words[min(sent, len(words) - 1)]
            dut.data.value, dut.strobe.value = data, strobe
            await ReadOnly()
            ready, taken = bool(dut.ready.value), bool(dut.next.value)
            if dut.found.value:
                found.append(int(dut.found_data.value))
            await RisingEdge(dut.clk)
            sent += taken
            if ready:
                dut.valid.value = 0
                assert sent == (len(words) if write else 0)
                assert len(found) == (0 if write else len(words))
                return found


@cocotb.test()
async def random_bursts(dut) -> None:
    given = parameters()
    draw = random.Random(given["seed"])
    bus_bytes = given["bus_bits"] // 8
    size_words = SMALL.size_bytes // bus_bytes
    memory = bytearray(SMALL.size_bytes)
    controller = Controller(dut, bus_bytes)
    await controller.start()
    for first in range(0, size_words, MAX_BURST_WORDS):  # nothing is known of it before
        words = [(0, (1 << bus_bytes) - 1)] * MAX_BURST_WORDS
        await controller.burst(first, words, write=True)
    for _ in range(given["bursts"]):
        count = draw.choice([1, 1, 2, draw.randint(1, MAX_BURST_WORDS), MAX_BURST_WORDS])
        first = draw.randrange(size_words - count + 1)
        if draw.random() < 0.5:
            words = [
                (draw.getrandbits(8 * bus_bytes), draw.choice([-1, draw.getrandbits(bus_bytes)])
                 & (1 << bus_bytes) - 1)
                for _ in range(count)
            ]  # fmt: skip
            await controller.burst(first, words, write=True)
            for index, (data, strobe) in enumerate(words):
                for byte in range(bus_bytes):
                    if strobe >> byte & 1:
                        memory[(first + index) * bus_bytes + byte] = data >> 8 * byte & 0xFF
        else:
            found = await controller.burst(first, [(0, 0)] * count, write=False)
            for index, word in enumerate(found):
                at = (first + index) * bus_bytes
                assert word == int.from_bytes(memory[at : at + bus_bytes], "little")
        for _ in range(draw.choice([0, 0, 0, draw.randrange(20), draw.randrange(3000)])):
            await RisingEdge(dut.clk)
        assert int(dut.broken.value) == 0
