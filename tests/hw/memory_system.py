"""Everything that touches memory, wired together, and a testbench that plays the rest of the core.

The units' sequencers are played in Python, one step a cycle, as sim/TIMING.md has them; compute
executes LOADs, and instructions that do nothing.
"""

import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.sim import Simulator
from vtakit.hw.buffers import AccBuffer, Buffer
from vtakit.hw.fetch import Fetch
from vtakit.hw.load import LoadEngine
from vtakit.hw.memory import ReadChannel
from vtakit.hw.store import StoreEngine
from vtakit.isa.config import Config
from vtakit.isa.costs import IN_FLIGHT
from vtakit.isa.instructions import Instruction, Load, Memory, Store, Unit, decode
from vtakit.isa.program import COUNTERS

from .memory_bus import Bus, Bytes

NONE = -1
UNITS: tuple[Unit, ...] = (Unit.LOAD, Unit.COMPUTE, Unit.STORE)
POPS = {Unit.LOAD: (NONE, 1), Unit.COMPUTE: (0, 3), Unit.STORE: (2, NONE)}
PUSHES = {Unit.LOAD: (NONE, 0), Unit.COMPUTE: (1, 2), Unit.STORE: (3, NONE)}


class MemorySystem(wiring.Component):
    """Fetch, the read channel, the engines and the buffers; `flush` resets all but the last."""

    flush: Signal

    def __init__(self, config: Config):
        self.config = config
        self.fetch = Fetch(config)
        self.channel = ReadChannel(config)
        self.load = LoadEngine(config, (Memory.INP, Memory.WGT))
        self.compute = LoadEngine(config, (Memory.UOP, Memory.ACC, Memory.ACC_8BIT))
        self.store = StoreEngine(config)
        self.uop, self.inp, self.wgt = (
            Buffer(config, memory) for memory in (Memory.UOP, Memory.INP, Memory.WGT)
        )
        self.acc = AccBuffer(config)
        self.engines = {Unit.LOAD: self.load, Unit.COMPUTE: self.compute, Unit.STORE: self.store}
        super().__init__({"flush": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for part in (self.fetch, self.channel, *self.engines.values()):
            m.submodules += ResetInserter(self.flush)(part)
        m.submodules += [self.uop, self.inp, self.wgt, self.acc]
        wiring.connect(m, self.fetch.reader, self.channel.fetch)
        wiring.connect(m, self.compute.reader, self.channel.compute)
        wiring.connect(m, self.load.reader, self.channel.load)
        wiring.connect(m, self.compute.fill_uop, self.uop.fill)
        wiring.connect(m, self.compute.fill_acc, self.acc.fill)
        wiring.connect(m, self.load.fill_wgt, self.wgt.fill)
        wiring.connect(m, self.load.fill_inp, self.inp.fill)
        wiring.connect(m, self.store.out, self.acc.out)
        return m


@dataclass(eq=False)
class Command:
    """An instruction of a unit: its number, its word, and itself; under way, its slot too."""

    index: int
    word: int
    insn: Instruction
    slot: int = 0
    written: bool = False


@dataclass
class Run:
    """What a run gave: cycles by instruction, cycles in all, counters, and an error or None."""

    starts: list[int]
    ends: list[int]
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    error: tuple[int, int] | None = None

    @property
    def cycles(self) -> int:
        return max(self.ends)


class Units:
    """The sequencers of the three units and the token queues between them, in a run."""

    def __init__(self, system: MemorySystem, result: Run) -> None:
        self.system, self.config, self.result = system, system.config, result
        self.queues: dict[Unit, deque[Command]] = {unit: deque() for unit in UNITS}
        self.under_way: dict[Unit, deque[Command]] = {unit: deque() for unit in UNITS}
        self.last: dict[Unit, Command | None] = dict.fromkeys(UNITS)
        self.slots = dict.fromkeys(UNITS, 0)
        self.tokens = [0] * 4

    def step(self, ctx, cycle: int, command: Command | None) -> Callable[[], None]:
        """Decide a cycle in which fetch shows `command`; return what is to be done at its end."""
        held = list(self.tokens)
        room = {u: len(queue) < self.config.command_queue_depth for u, queue in self.queues.items()}
        oldest = {u: flying[0] if flying else None for u, flying in self.under_way.items()}
        for unit in UNITS:
            self._start(ctx, unit, cycle, held)
            self._end(unit, oldest[unit], cycle, held)
        taken = command is not None and room[command.insn.unit(self.config)]
        ctx.set(self.system.fetch.command.ready, taken)

        def finish() -> None:
            for unit in UNITS:
                written = ctx.get(self.system.engines[unit].written)
                for op in self.under_way[unit]:
                    op.written |= bool(written >> op.slot & 1)
            if taken:
                assert command is not None
                self.queues[command.insn.unit(self.config)].append(command)

        return finish

    def _start(self, ctx, unit: Unit, cycle: int, held: list[int]) -> None:
        engine, queue, flying = self.system.engines[unit], self.queues[unit], self.under_way[unit]
        ctx.set(engine.start, 0)
        if not queue or not ctx.get(engine.front_free) or len(flying) == IN_FLIGHT:
            return
        op, last = queue[0], self.last[unit]
        if flying and last is not None and last.insn.opcode != op.insn.opcode:
            return
        flags = (op.insn.pop_prev, op.insn.pop_next)
        pops = [q for q, flag in zip(POPS[unit], flags, strict=True) if flag]
        if not all(held[q] for q in pops):
            return
        for q in pops:
            self.tokens[q] -= 1
        self.last[unit] = queue.popleft()
        self.slots[unit] = op.slot = (self.slots[unit] + 1) % IN_FLIGHT
        op.written = not isinstance(op.insn, Load | Store)
        flying.append(op)
        self.result.starts[op.index] = cycle
        ctx.set(engine.start, isinstance(op.insn, Load | Store))
        ctx.set(engine.command.insn, op.word)
        ctx.set(engine.command.index, op.index)
        ctx.set(engine.slot, op.slot)

    def _end(self, unit: Unit, oldest: Command | None, cycle: int, held: list[int]) -> None:
        if oldest is None or not oldest.written:
            return
        flags = (oldest.insn.push_prev, oldest.insn.push_next)
        pushes = [q for q, flag in zip(PUSHES[unit], flags, strict=True) if flag]
        if all(held[q] < self.config.token_queue_depth for q in pushes):
            for q in pushes:
                self.tokens[q] += 1
            self.under_way[unit].popleft()
            self.result.ends[oldest.index] = cycle + 1


class Testbench:
    """Run programs on a memory system with memory `dram`; for the other arguments see `Bus`."""

    __test__ = False

    def __init__(
        self,
        config: Config,
        dram: Bytes,
        latency: int = 32,
        *,
        draw: random.Random | None = None,
        refused: range = range(0),
    ) -> None:
        self.config, self.dram = config, dram
        self.system = MemorySystem(config)
        read, write = self.system.channel.axi, self.system.store.axi
        self.bus = Bus(read, write, config.bus_bytes, dram, latency, draw, refused)
        fetch, engines = self.system.fetch, self.system.engines.values()
        self.parts = (fetch, *engines)

    def simulate(self, body: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        """Simulate a testbench function of a context."""
        simulator = Simulator(self.system)
        simulator.add_clock(1e-6)
        simulator.add_testbench(body)
        simulator.run()

    async def run(self, ctx, address: int, count: int, limit: int = 100_000) -> Run:
        """Run a program of `count` instructions in memory, to its end or to an error."""
        fetch, result = self.system.fetch, Run([NONE] * count, [NONE] * count)
        ctx.set(fetch.start, 1)
        ctx.set(fetch.address, address)
        ctx.set(fetch.count, count)
        await self._cycle(ctx)
        ctx.set(fetch.start, 0)
        ctx.set(fetch.count, 0)
        units = Units(self.system, result)
        for cycle in range(limit):
            finish = units.step(ctx, cycle, self._command(ctx, count))
            await self.bus.step(ctx)
            finish()
            self._note(ctx, result)
            await ctx.tick()
            if NONE not in result.ends or result.error is not None:
                break
        else:
            raise AssertionError(f"not at its end after {limit} cycles: {result}")
        for engine in self.system.engines.values():
            ctx.set(engine.start, 0)
        ctx.set(fetch.command.ready, 0)
        if result.error is None:
            assert ctx.get(fetch.idle)
            assert self.bus.is_idle()
        await self._cycle(ctx)
        return result

    async def stop(self, ctx, limit: int = 5000) -> None:
        """Begin nothing new, wait until nothing is on the bus, and reset."""
        for part in self.parts:
            ctx.set(part.halt, 1)
        for _ in range(limit):
            if all(ctx.get(part.drained) for part in (*self.parts, self.system.channel)):
                break
            await self._cycle(ctx)
        else:
            raise AssertionError(f"not drained after {limit} cycles")
        assert self.bus.is_idle()
        ctx.set(self.system.flush, 1)
        await self._cycle(ctx)
        ctx.set(self.system.flush, 0)
        for part in self.parts:
            ctx.set(part.halt, 0)

    async def contents(self, ctx, memory: Memory) -> Bytes:
        """Return what a buffer holds, uint8 (depth, element_bytes)."""
        size, depth = memory.element_bytes(self.config), memory.depth(self.config)
        read = getattr(self.system, memory.name.lower()).read
        rows: list[bytes] = []
        for index in range(depth):
            ctx.set(read.index, index)
            await ctx.tick()
            rows.append(ctx.get(read.data).to_bytes(size, "little"))
        return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, size).copy()

    async def _cycle(self, ctx) -> None:
        await self.bus.step(ctx)
        await ctx.tick()

    def _command(self, ctx, count: int) -> Command | None:
        """Return what fetch shows."""
        shown = self.system.fetch.command
        if not ctx.get(shown.valid):
            return None
        index, word = ctx.get(shown.payload.index), ctx.get(shown.payload.insn)
        assert ctx.get(self.system.fetch.last) == (index == count - 1)
        return Command(index, word, decode(word, self.config))

    def _note(self, ctx, result: Run) -> None:
        """Add to the counters; write the first error down."""
        load, compute, store = self.system.engines.values()
        for name, rise in {
            "inp_load_nbytes": load.inp_bytes,
            "wgt_load_nbytes": load.wgt_bytes,
            "uop_load_nbytes": compute.uop_bytes,
            "acc_load_nbytes": compute.acc_bytes,
            "out_store_nbytes": store.out_bytes,
        }.items():
            result.counters[name] += ctx.get(rise)
        for part in self.parts:
            if result.error is None and ctx.get(part.error.valid):
                result.error = (ctx.get(part.error.code), ctx.get(part.error.index))
