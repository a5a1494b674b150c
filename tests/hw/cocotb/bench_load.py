"""LOADs of both units, back to back, by a port that grants late and words that come with gaps."""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from vtakit.hw.ports import BankShape
from vtakit.isa.config import PAGE_BYTES, Config
from vtakit.isa.costs import IN_FLIGHT
from vtakit.isa.instructions import Load, Memory
from vtakit.isa.registers import ErrorCode

from ...sim.cycle_reference import bursts_of
from ...sim.interpreter import Bytes, Interpreter
from ..memory_programs import DATA, a_load, contents, new_dram, used_of_uops
from .bench_parts import begin, fault, pauses, restart
from .simulation import parameters

UNITS = {
    "load": (Memory.INP, Memory.WGT),
    "compute": (Memory.UOP, Memory.ACC, Memory.ACC_8BIT),
}
INPUTS = ("start", "command", "slot", "halt", "reader__request__ready", "reader__data__valid",
          "reader__data__data", "reader__data__error")  # fmt: skip
ROUNDS, LOADS = 30, 20
PATIENCE_CYCLES = 50_000


class Engine:
    """A unit's LOADs: the part, the port it asks, and the buffers that it fills.

    Words of which the first byte is in `refused` come as errors.
    """

    def __init__(self, dut: Any, unit: str, config: Config, dram: Bytes) -> None:
        self.dut, self.unit, self.config, self.dram = dut, unit, config, dram
        self.refused = range(0)
        self.buffers = {
            memory: np.zeros((memory.depth(config), memory.element_bytes(config)), np.uint8)
            for memory in UNITS[unit]
            if memory is not Memory.ACC_8BIT
        }
        self.nbytes = dict.fromkeys(self.buffers, 0)
        self.bursts: list[int] = []
        self.written: list[int] = []
        self.errors: list[tuple[ErrorCode, int]] = []
        self._under_way: dict[int, int] = {}
        self._coming: deque[int] = deque()
        self._grants, self._gaps = pauses(), pauses()
        self._shown: int | None = None

    async def run(self, insns: Sequence[Load]) -> None:
        """Run LOADs, each as soon as there is room, until all have written or one is wrong."""
        waiting = deque(enumerate(insns))
        free = False
        for _ in range(PATIENCE_CYCLES):
            start = free and bool(waiting) and waiting[0][0] % IN_FLIGHT not in self._under_way
            self._set("start", start)
            if start:
                index, insn = waiting.popleft()
                self._under_way[index % IN_FLIGHT] = index
                self._set("slot", index % IN_FLIGHT)
                self._set("command", insn.encode(self.config) | index << 128)
            await self.cycle()
            free = not start and bool(self._get("front_free"))
            if self.errors or not (waiting or self._under_way):
                break
        else:
            raise AssertionError(f"LOADs {list(self._under_way.values())} do not end")
        self._set("start", 0)
        await self.cycle()

    async def cycle(self) -> None:
        """Play the port for a cycle, and note what comes out."""
        self._set("reader__request__ready", ready := next(self._grants))
        comes = bool(self._coming) and not next(self._gaps)
        self._set("reader__data__valid", comes)
        if comes:
            at = self._coming.popleft()
            word = self.dram[at : at + self.config.bus_bytes].tobytes()
            self._set("reader__data__data", int.from_bytes(word, "little"))
            self._set("reader__data__error", at in self.refused)
        await RisingEdge(self.dut.clk)
        self._ask(ready)
        self._fill()
        if error := fault(getattr(self.dut, f"{self.unit}__error")):
            self.errors.append(error)
        written = self._get("written")
        for slot in range(IN_FLIGHT):
            if written >> slot & 1:
                self.written.append(self._under_way.pop(slot))

    def _ask(self, ready: bool) -> None:
        """Take a request, which must stand until then."""
        if not self._get("reader__request__valid"):
            assert self._shown is None, "a request went away"
            return
        payload = self._get("reader__request__payload")
        assert self._shown in (None, payload), "a request changed before it was granted"
        self._shown = None if ready else payload
        if ready:
            address, words = payload & 0xFFFFFFFF, payload >> 32
            end = address + words * self.config.bus_bytes
            assert address % self.config.bus_bytes == 0
            assert address // PAGE_BYTES == (end - 1) // PAGE_BYTES
            self.bursts.append(words)
            self._coming.extend(range(address, end, self.config.bus_bytes))

    def _fill(self) -> None:
        """Do with the buffers what `hw.ports.FillSignature` says."""
        for memory, buffer in self.buffers.items():
            name = memory.name.lower()
            self.nbytes[memory] += self._get(f"{name}_bytes")
            lanes, chunks = (self._get(f"fill_{name}__{x}") for x in ("lanes", "chunks"))
            if not lanes:
                continue
            shape = BankShape(self.config, memory)
            index, word = (self._get(f"fill_{name}__{x}") for x in ("index", "data"))
            payload = np.frombuffer(word.to_bytes(self.config.bus_bytes, "little"), np.uint8)
            if memory is Memory.ACC and self._get("fill_acc__extend"):
                payload = payload.view(np.int8).astype("<i4").view(np.uint8)
            size = shape.chunk_bits // 8
            for lane in (lane for lane in range(shape.banks) if lanes >> lane & 1):
                element = (index + lane) % (1 << shape.index_bits)
                assert element < len(buffer), f"{memory.name} element {element}"
                for chunk in (chunk for chunk in range(shape.chunks) if chunks >> chunk & 1):
                    at = (lane * buffer.shape[1] + chunk * size) % payload.size
                    buffer[element, chunk * size : (chunk + 1) * size] = payload[at : at + size]

    def _get(self, name: str) -> int:
        return int(getattr(self.dut, f"{self.unit}__{name}").value)

    def _set(self, name: str, value: int) -> None:
        getattr(self.dut, f"{self.unit}__{name}").value = value


async def engine_of(dut: Any, unit: str, config: Config) -> Engine:
    """Return an engine after reset."""
    await restart(dut, *(f"{unit}__{name}" for name in INPUTS))
    return Engine(dut, unit, config, new_dram(1))


@cocotb.test()
@cocotb.parametrize(unit=list(UNITS))
async def loads(dut: Any, unit: str) -> None:
    """Elements, zeros around them, bursts and counters are the interpreter's."""
    config, draw = Config.from_json(parameters()["config"]), random.Random(parameters()["seed"])
    await begin(dut)
    engine = await engine_of(dut, unit, config)
    wanted = Interpreter(config, engine.dram)
    for _ in range(ROUNDS):
        engine.written.clear()
        engine.bursts.clear()
        memories = [draw.choice(UNITS[unit]) for _ in range(LOADS)]
        insns = [a_load(draw, config, memory, memory.depth(config)) for memory in memories]
        for insn in insns:
            wanted.execute(insn)
        await engine.run(insns)
        assert not engine.errors
        assert sorted(engine.written) == list(range(LOADS))
        assert engine.bursts == [words for insn in insns for words in bursts_of(insn, config)]
    for memory, buffer in engine.buffers.items():
        mask = used_of_uops(config) if memory is Memory.UOP else 0xFF
        np.testing.assert_array_equal(buffer & mask, contents(wanted)[memory], memory.name)
        assert engine.nbytes[memory] == wanted.counters[f"{memory.name.lower()}_load_nbytes"]


@cocotb.test()
@cocotb.parametrize(unit=list(UNITS))
async def outside_the_buffer(dut: Any, unit: str) -> None:
    """Elements that do not fit are an error, and none gets beyond the buffer or to its begin."""
    config = Config.from_json(parameters()["config"])
    await begin(dut)
    for memory in UNITS[unit]:
        engine = await engine_of(dut, unit, config)
        good = Load(
            memory=memory,
            dram_base=DATA.start // memory.element_bytes(config),
            y_size=1,
            x_size=4,
        )
        far = Load(
            memory=memory,
            sram_base=memory.depth(config) - 4,
            dram_base=good.dram_base,
            y_size=1,
            x_size=4,
            x_pad_1=1,
        )
        await engine.run([good, far])
        assert engine.errors[0] == (ErrorCode.SRAM_RANGE, 1), memory.name
        before = {memory: buffer.copy() for memory, buffer in engine.buffers.items()}
        for _ in range(200):
            await engine.cycle()
        for memory, buffer in engine.buffers.items():
            np.testing.assert_array_equal(buffer[:4], before[memory][:4], memory.name)


@cocotb.test()
@cocotb.parametrize(unit=list(UNITS))
async def refused(dut: Any, unit: str) -> None:
    """A word that memory refuses is an error of the LOAD that it is for."""
    config, draw = Config.from_json(parameters()["config"]), random.Random(parameters()["seed"])
    await begin(dut)
    for memory in UNITS[unit]:
        engine = await engine_of(dut, unit, config)
        size = memory.element_bytes(config)
        whole = Load(memory=memory, y_size=2, x_size=16, x_stride=16)
        pages = [DATA.start + i * PAGE_BYTES for i in range(4)]
        wrong = draw.randrange(len(pages))
        engine.refused = range(pages[wrong] + size * 8, pages[wrong] + PAGE_BYTES)
        await engine.run([replace(whole, dram_base=page // size) for page in pages])
        assert engine.errors[0] == (ErrorCode.BUS, wrong), memory.name
