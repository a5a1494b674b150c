"""Everything that touches memory, wired together, and a testbench that plays the rest of the core.

The units' sequencers are played in Python, one step a cycle, as sim/TIMING.md has them; compute
executes LOADs, and instructions that do nothing.
"""

import random
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator
from vtakit.hw.buffers import AccBuffer, Buffer
from vtakit.hw.fetch import Fetch
from vtakit.hw.load import LoadEngine
from vtakit.hw.memory import ReadChannel
from vtakit.hw.store import StoreEngine
from vtakit.isa.config import PAGE_BYTES, Config
from vtakit.isa.costs import IN_FLIGHT
from vtakit.isa.instructions import Instruction, Load, Memory, Store, Unit, decode
from vtakit.isa.program import COUNTERS

Bytes = npt.NDArray[np.uint8]
NONE = -1
POPS = {Unit.LOAD: (NONE, 1), Unit.COMPUTE: (0, 3), Unit.STORE: (2, NONE)}
PUSHES = {Unit.LOAD: (NONE, 0), Unit.COMPUTE: (1, 2), Unit.STORE: (3, NONE)}
BUFFERS = (Memory.UOP, Memory.WGT, Memory.INP)


class MemorySystem(wiring.Component):
    """Fetch, the read channel, the engines and the buffers."""

    def __init__(self, config: Config):
        self.config = config
        self.fetch = Fetch(config)
        self.channel = ReadChannel(config)
        self.load = LoadEngine(config, (Memory.INP, Memory.WGT))
        self.compute = LoadEngine(config, (Memory.UOP, Memory.ACC, Memory.ACC_8BIT))
        self.store = StoreEngine(config)
        self.buffers = {memory: Buffer(config, memory) for memory in BUFFERS}
        self.acc = AccBuffer(config)
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parts = (self.fetch, self.channel, self.load, self.compute, self.store, self.acc)
        m.submodules += [*parts, *self.buffers.values()]
        wiring.connect(m, self.fetch.reader, self.channel.fetch)
        wiring.connect(m, self.compute.reader, self.channel.compute)
        wiring.connect(m, self.load.reader, self.channel.load)
        wiring.connect(m, self.compute.fill_uop, self.buffers[Memory.UOP].fill)
        wiring.connect(m, self.compute.fill_acc, self.acc.fill)
        wiring.connect(m, self.load.fill_wgt, self.buffers[Memory.WGT].fill)
        wiring.connect(m, self.load.fill_inp, self.buffers[Memory.INP].fill)
        wiring.connect(m, self.store.out, self.acc.out)
        return m

    def engine(self, unit: Unit) -> LoadEngine | StoreEngine:
        """Return the engine of a unit."""
        return {Unit.LOAD: self.load, Unit.COMPUTE: self.compute, Unit.STORE: self.store}[unit]


class Bus:
    """Memory behind the two channels, a step a cycle.

    Parameters
    ----------
    latency
        Of the exact model: always ready, and words and responses at the earliest.
    draw
        Instead, everything comes when chance lets it, in the orders that AXI allows.
    refused
        Bytes that reads and writes of a word at them are refused for.
    """

    def __init__(
        self,
        system: MemorySystem,
        dram: Bytes,
        latency: int,
        draw: random.Random | None = None,
        refused: range = range(0),
    ) -> None:
        self.system, self.dram, self.latency, self.draw = system, dram, latency, draw
        self.refused = refused
        self.bytes = system.config.bus_bytes
        self.cycle = 0
        self.words: deque[tuple[int, int, bool]] = deque()  # earliest cycle, address, last
        self.addresses: deque[tuple[int, int]] = deque()  # of write bursts: first byte, words
        self.data: deque[tuple[int, int, bool]] = deque()  # words written: data, strobe, last
        self.responses: deque[tuple[int, int]] = deque()  # earliest cycle, response
        self.shown: dict[str, tuple[int, ...]] = {}

    def chance(self) -> bool:
        return self.draw is None or self.draw.random() < self.odds

    async def read(self, ctx) -> None:
        """Play AR and R for this cycle."""
        axi = self.system.channel.axi
        if self.draw is not None and self.cycle % 64 == 0:
            self.odds = self.draw.choice((0.1, 0.5, 0.9, 1.0))
        ready = self.chance()
        ctx.set(axi.arready, ready)
        valid = ctx.get(axi.arvalid)
        address, words = ctx.get(axi.araddr), ctx.get(axi.arlen) + 1
        self._stands("ar", valid, ready, (address, words))
        if valid and ready:
            self._is_a_burst(address, words)
            for i in range(words):
                self.words.append(
                    (self.cycle + self.latency, address + i * self.bytes, i == words - 1)
                )
        comes = self.words and self.words[0][0] <= self.cycle and self.chance()
        ctx.set(axi.rvalid, bool(comes))
        if comes:
            _, address, last = self.words.popleft()
            word = self.dram[address : address + self.bytes].tobytes()
            ctx.set(axi.rdata, int.from_bytes(word, "little"))
            ctx.set(axi.rlast, last)
            ctx.set(axi.rresp, 3 if address in self.refused else 0)

    async def write(self, ctx) -> None:
        """Play AW, W and B for this cycle."""
        axi = self.system.store.axi
        address_ready, data_ready = self.chance(), self.chance()
        if self.draw is not None and self.cycle // 256 % 2:
            # Channels may wait for each other: an address for its word, a word for its address.
            if self.cycle // 512 % 2:
                address_ready = bool(address_ready and ctx.get(axi.wvalid) or self.data)
            else:
                data_ready = bool(data_ready and self.addresses)
        ctx.set(axi.awready, address_ready)
        ctx.set(axi.wready, data_ready)
        valid = ctx.get(axi.awvalid)
        address, words = ctx.get(axi.awaddr), ctx.get(axi.awlen) + 1
        self._stands("aw", valid, address_ready, (address, words))
        if valid and address_ready:
            self._is_a_burst(address, words)
            self.addresses.append((address, words))
        word_valid = ctx.get(axi.wvalid)
        word = tuple(ctx.get(x) for x in (axi.wdata, axi.wstrb, axi.wlast))
        self._stands("w", word_valid, data_ready, word)
        if word_valid and data_ready:
            self.data.append((word[0], word[1], bool(word[2])))
        if self.draw is None:
            assert not self.data or self.addresses, "a word before its address"
        self._store()
        comes = self.responses and self.responses[0][0] <= self.cycle and self.chance()
        ctx.set(axi.bvalid, bool(comes))
        if comes:
            ctx.set(axi.bresp, self.responses.popleft()[1])
        self.cycle += 1

    def _store(self) -> None:
        """Write the bursts of which address and words are there."""
        while self.addresses:
            address, words = self.addresses[0]
            if len(self.data) < words:
                return
            self.addresses.popleft()
            refused = 0
            for i in range(words):
                data, strobe, last = self.data.popleft()
                assert last == (i == words - 1)
                for lane in range(self.bytes):
                    if strobe >> lane & 1:
                        self.dram[address + i * self.bytes + lane] = data >> 8 * lane & 0xFF
                refused |= 2 if address + i * self.bytes in self.refused else 0
            self.responses.append((self.cycle + self.latency, refused))

    def _stands(self, channel: str, valid: int, ready: bool, payload: tuple[int, ...]) -> None:
        """Check that what was shown and not taken is still there."""
        if channel in self.shown:
            assert valid, f"{channel} went away"
            assert payload == self.shown[channel], f"{channel} changed"
        self.shown.pop(channel, None)
        if valid and not ready:
            self.shown[channel] = payload

    def _is_a_burst(self, address: int, words: int) -> None:
        assert address % self.bytes == 0
        assert 1 <= words <= 64
        assert address // PAGE_BYTES == (address + words * self.bytes - 1) // PAGE_BYTES


@dataclass(eq=False)
class UnderWay:
    """An instruction between start and end, in a slot of its unit."""

    index: int
    insn: Instruction
    slot: int
    written: bool = False


@dataclass
class Run:
    """What a run gave: cycles by instruction, cycles in all, counters, and an error or None."""

    starts: list[int]
    ends: list[int]
    cycles: int = 0
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    error: tuple[int, int] | None = None
    drained_after: int = 0


class Testbench:
    """Run programs on a memory system."""

    __test__ = False

    def __init__(self, config: Config, dram: Bytes, latency: int = 32, **bus: object) -> None:
        self.config = config
        self.system = MemorySystem(config)
        self.bus = Bus(self.system, dram, latency, **bus)  # pyright: ignore[reportArgumentType]
        self.dram = dram

    def simulate(self, body) -> None:
        """Simulate a testbench function of a context."""
        simulator = Simulator(self.system)
        simulator.add_clock(1e-6)
        simulator.add_testbench(body)
        simulator.run()

    async def run(self, ctx, address: int, count: int, limit: int = 20_000) -> Run:
        """Run a program of `count` instructions, of which the words are in memory."""
        system, config = self.system, self.config
        fetch = system.fetch
        result = Run([-1] * count, [-1] * count)
        ctx.set(fetch.start, 1)
        ctx.set(fetch.address, address)
        ctx.set(fetch.count, count)
        await self._idle_cycle(ctx)
        ctx.set(fetch.start, 0)
        ctx.set(fetch.count, 0)
        queues: dict[Unit, deque[tuple[int, int, Instruction]]] = {u: deque() for u in Unit}
        under_way: dict[Unit, deque[UnderWay]] = {u: deque() for u in Unit}
        last: dict[Unit, Instruction | None] = dict.fromkeys(Unit)
        slots = dict.fromkeys(Unit, 0)
        tokens = [0] * 4
        for cycle in range(limit):
            before, full = list(tokens), config.token_queue_depth
            insn = None
            if ctx.get(fetch.command.valid):
                word = ctx.get(fetch.command.payload.insn)
                index = ctx.get(fetch.command.payload.index)
                assert ctx.get(fetch.last) == (index == count - 1)
                insn = decode(word, config)
            dispatched = insn and len(queues[insn.unit]) < config.command_queue_depth
            ctx.set(fetch.command.ready, bool(dispatched))
            for unit in Unit:
                engine, flying = system.engine(unit), under_way[unit]
                ctx.set(engine.start, 0)
                oldest = flying[0] if flying else None
                starts = queues[unit] and ctx.get(engine.front_free)
                if starts:
                    index, word, insn_ = queues[unit][0]
                    previous = last[unit]
                    starts = len(flying) < IN_FLIGHT
                    if flying and previous is not None and previous.opcode != insn_.opcode:
                        starts = False
                    flags = (insn_.pop_prev, insn_.pop_next)
                    pops = [q for q, f in zip(POPS[unit], flags, strict=True) if f]
                    starts = starts and all(before[q] for q in pops)
                    if starts:
                        for q in pops:
                            tokens[q] -= 1
                        queues[unit].popleft()
                        slot = slots[unit] = (slots[unit] + 1) % IN_FLIGHT
                        nothing = not isinstance(insn_, Load | Store)
                        flying.append(UnderWay(index, insn_, slot, nothing))
                        last[unit] = insn_
                        result.starts[index] = cycle
                        if not nothing:
                            ctx.set(engine.start, 1)
                            ctx.set(engine.command.insn, word)
                            ctx.set(engine.command.index, index)
                            ctx.set(engine.slot, slot)
                if oldest is not None and oldest.written:
                    flags = (oldest.insn.push_prev, oldest.insn.push_next)
                    pushes = [q for q, f in zip(PUSHES[unit], flags, strict=True) if f]
                    if all(before[q] < full for q in pushes):
                        for q in pushes:
                            tokens[q] += 1
                        flying.popleft()
                        result.ends[oldest.index] = cycle + 1
            await self.bus.read(ctx)
            await self.bus.write(ctx)
            for unit in Unit:
                written = ctx.get(system.engine(unit).written)
                for op in under_way[unit]:
                    op.written = op.written or bool(written >> op.slot & 1)
            if dispatched:
                assert insn is not None
                index, word = (ctx.get(fetch.command.payload[x]) for x in ("index", "insn"))
                queues[insn.unit].append((index, word, insn))
            self._count(ctx, result)
            for part in (fetch, system.load, system.compute, system.store):
                if ctx.get(part.error.valid) and result.error is None:
                    result.error = (ctx.get(part.error.code), ctx.get(part.error.index))
            await ctx.tick()
            if -1 not in result.ends:
                result.cycles = max(result.ends)
                assert ctx.get(fetch.idle)
                break
            if result.error is not None:
                await self._halt(ctx, result)
                break
        else:
            raise AssertionError(f"not at its end after {limit} cycles: {result}")
        for unit in Unit:
            ctx.set(system.engine(unit).start, 0)
        ctx.set(fetch.command.ready, 0)
        await self._idle_cycle(ctx)
        return result

    async def _idle_cycle(self, ctx) -> None:
        await self.bus.read(ctx)
        await self.bus.write(ctx)
        await ctx.tick()

    async def _halt(self, ctx, result: Run) -> None:
        """Begin nothing new, and wait until nothing is on the bus."""
        system = self.system
        engines = (system.fetch, system.load, system.compute, system.store)
        for engine in engines:
            ctx.set(engine.halt, 1)
        for part in engines[1:]:
            ctx.set(part.start, 0)
        while not all(ctx.get(part.drained) for part in (*engines, system.channel)):
            await self._idle_cycle(ctx)
            result.drained_after += 1
            assert result.drained_after < 5000
        assert not self.bus.words
        assert not self.bus.responses
        assert not self.bus.addresses

    def _count(self, ctx, result: Run) -> None:
        system, counters = self.system, result.counters
        counters["inp_load_nbytes"] += ctx.get(system.load.inp_bytes)
        counters["wgt_load_nbytes"] += ctx.get(system.load.wgt_bytes)
        counters["uop_load_nbytes"] += ctx.get(system.compute.uop_bytes)
        counters["acc_load_nbytes"] += ctx.get(system.compute.acc_bytes)
        counters["out_store_nbytes"] += ctx.get(system.store.out_bytes)

    async def contents(self, ctx, memory: Memory) -> Bytes:
        """Return what a buffer holds, uint8 (depth, element_bytes)."""
        size = memory.element_bytes(self.config)
        read = self.system.acc.read if memory is Memory.ACC else self.system.buffers[memory].read
        rows: list[bytes] = []
        for index in range(memory.depth(self.config) + 1):
            if index:
                rows.append(ctx.get(read.data).to_bytes(size, "little"))
            ctx.set(read.index, index % memory.depth(self.config))
            await ctx.tick()
        return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, size)
