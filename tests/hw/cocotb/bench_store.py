"""STOREs, back to back, onto a bus of which every channel waits at random."""

import random
from itertools import count
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiSlaveWrite, AxiWriteBus
from vtakit.isa.config import PAGE_BYTES, Config
from vtakit.isa.costs import BURSTS_IN_FLIGHT, IN_FLIGHT
from vtakit.isa.instructions import Store
from vtakit.isa.registers import ErrorCode

from .bench_parts import begin, fault, pauses
from .core_system import Dram
from .simulation import parameters

SHAKES = ("awvalid", "awready", "bvalid", "bready")
INPUTS = ("start", "command", "slot", "halt", "out__data")


class Engine:
    """The part, its memory, the output buffer it reads, and what it reports."""

    def __init__(self, dut: Any, config: Config) -> None:
        self.dut, self.config = dut, config
        self.dram = Dram(16 * PAGE_BYTES)
        self.buffer = random.randbytes(config.acc_depth * config.out_tile_bytes)
        bus = AxiWriteBus.from_prefix(dut, "store__axi_")
        self.memory = AxiSlaveWrite(bus, dut.clk, dut.rst, target=self.dram)
        for name in ("aw", "w", "b"):
            getattr(self.memory, f"{name}_channel").set_pause_generator(pauses())
        self.under_way: dict[int, int] = {}  # instructions by slot
        self.written: list[int] = []
        self.errors: list[tuple[int, int]] = []
        self.most_bursts = 0  # without response
        self._bursts = 0

    async def serve(self) -> None:
        """Be the output buffer; note what has written and what was wrong."""
        dut, tile, word = self.dut, self.config.out_tile_bytes, self.config.bus_bytes
        while True:
            await RisingEdge(dut.clk)
            self._count()
            if dut.store__out__en.value:
                index = int(dut.store__out__index.value)
                first = index * tile + int(dut.store__out__chunk.value) * word
                data = bytes(
                    self.buffer[at % len(self.buffer)] for at in range(first, first + word)
                )
                dut.store__out__data.value = int.from_bytes(data, "little")
            if found := fault(dut.store__error):
                self.errors.append(found)
            for slot in range(IN_FLIGHT):
                if int(dut.store__written.value) >> slot & 1:
                    self.written.append(self.under_way.pop(slot))

    def _count(self) -> None:
        """Count the bursts of which the address has been taken and no response has come."""
        axi = {name: getattr(self.dut, f"store__axi__{name}").value for name in SHAKES}
        self._bursts += bool(axi["awvalid"] and axi["awready"])
        self.most_bursts = max(self.most_bursts, self._bursts)
        self._bursts -= bool(axi["bvalid"] and axi["bready"])

    async def store(self, insns: list[Store]) -> None:
        """Run STOREs, each as soon as there is room, and wait until all have written."""
        dut = self.dut
        for index, insn in enumerate(insns):
            while index % IN_FLIGHT in self.under_way or not dut.store__front_free.value:
                await RisingEdge(dut.clk)
            self.under_way[index % IN_FLIGHT] = index
            dut.store__start.value = 1
            dut.store__slot.value = index % IN_FLIGHT
            dut.store__command.value = insn.encode(self.config) | index << 128
            await RisingEdge(dut.clk)
            dut.store__start.value = 0
            await RisingEdge(dut.clk)
            for _ in range(random.choice((0, 0, 0, 5))):
                await RisingEdge(dut.clk)
        while self.under_way and not self.errors:
            await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)


def stored(dram: bytearray, buffer: bytes, insn: Store, config: Config) -> None:
    """Do what a STORE does, row by row."""
    tile = config.out_tile_bytes
    for y in range(insn.y_size):
        source = (insn.sram_base + y * insn.x_size) * tile
        target = (insn.dram_base + y * insn.x_stride) * tile
        dram[target : target + insn.x_size * tile] = buffer[source : source + insn.x_size * tile]


def drawn(config: Config, most: int) -> Store:
    """Return a STORE that stays in its buffer and in memory."""
    while True:
        y_size, x_size = random.choice((0, 1, 1, 2, 5)), random.choice((0, 1, 2, 3, 17, 60))
        stride = random.choice((x_size, x_size + 1, x_size + 7, 64))
        rows = max(y_size - 1, 0) * stride + x_size
        room = config.acc_depth - x_size * y_size
        if room >= 0:
            base = random.randrange(PAGE_BYTES // config.out_tile_bytes, most - rows)
            return Store(
                sram_base=random.randrange(room + 1),
                dram_base=base,
                y_size=y_size,
                x_size=x_size,
                x_stride=stride,
            )


@cocotb.test()
async def stores(dut: Any) -> None:
    """Every byte of every row is written where it should, and no other."""
    config = Config.from_json(parameters()["config"])
    engine = Engine(dut, config)
    await begin(dut, *(f"store__{name}" for name in INPUTS))
    cocotb.start_soon(engine.serve())
    expected = bytearray(engine.dram.data.tobytes())
    for _ in range(8):
        engine.written.clear()
        insns = [drawn(config, len(expected) // config.out_tile_bytes) for _ in range(20)]
        for insn in insns:
            stored(expected, engine.buffer, insn, config)
        await with_timeout(engine.store(insns), 2, "ms")
        assert not engine.errors
        assert sorted(engine.written) == list(range(len(insns)))
        assert engine.dram.data.tobytes() == expected


@cocotb.test()
async def late_responses(dut: Any) -> None:
    """Without responses so many bursts are begun, and no more."""
    config = Config.from_json(parameters()["config"])
    engine = Engine(dut, config)
    for name in ("aw", "w"):
        channel = getattr(engine.memory, f"{name}_channel")
        channel.set_pause_generator(None)
        channel.pause, channel.queue_occupancy_limit = False, -1
    engine.memory.b_channel.set_pause_generator(random.random() < 0.95 for _ in count())
    await begin(dut, *(f"store__{name}" for name in INPUTS))
    cocotb.start_soon(engine.serve())
    base = PAGE_BYTES // config.out_tile_bytes
    await with_timeout(
        engine.store([Store(dram_base=base, y_size=100, x_size=1, x_stride=3)]), 1, "ms"
    )
    assert engine.most_bursts == BURSTS_IN_FLIGHT


@cocotb.test()
async def outside_the_buffer(dut: Any) -> None:
    """A row that ends outside the buffer is an error; nothing from beyond it is written."""
    config = Config.from_json(parameters()["config"])
    engine = Engine(dut, config)
    await begin(dut, *(f"store__{name}" for name in INPUTS))
    cocotb.start_soon(engine.serve())
    base = 2 * PAGE_BYTES // config.out_tile_bytes
    good = Store(dram_base=base, y_size=1, x_size=4)
    bad = Store(sram_base=config.acc_depth - 2, dram_base=base + 64, y_size=1, x_size=5)
    await with_timeout(engine.store([good, bad]), 1, "ms")
    assert engine.errors[0] == (ErrorCode.SRAM_RANGE, 1)
    begin_byte, tile = (base + 66) * config.out_tile_bytes, config.out_tile_bytes
    for _ in range(200):
        await RisingEdge(dut.clk)
    assert not any(engine.dram.data[begin_byte : begin_byte + 3 * tile])


@cocotb.test()
async def refused(dut: Any) -> None:
    """Memory that refuses a word is an error of that STORE."""
    config = Config.from_json(parameters()["config"])
    engine = Engine(dut, config)
    await begin(dut, *(f"store__{name}" for name in INPUTS))
    cocotb.start_soon(engine.serve())
    end = engine.dram.data.size // config.out_tile_bytes
    insns = [Store(dram_base=end - 4, y_size=1, x_size=4), Store(dram_base=end, y_size=1, x_size=1)]
    await with_timeout(engine.store(insns), 1, "ms")
    assert engine.errors == [(ErrorCode.BUS, 1)]
