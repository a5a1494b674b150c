"""Buffers against arrays: fills at any alignment, tiles read beside them, the output buffer."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from vtakit.hw.buffers import AccBuffer, Buffer
from vtakit.hw.ports import BankShape, Interface
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.instructions import Memory

from .memory_bus import Bytes
from .memory_programs import CONFIGS

SHAPES = {
    **{name: CONFIGS[name] for name in ("default-64", "big-32", "small-128", "batch2-256")},
    "tiny-64": replace(CONFIGS["tiny-64"], acc_read_ports=2),
    "two-512": CONFIGS["two-512"],
    "a buffer of less than a word": replace(
        PRESETS["tiny"],
        bus_bits=512,
        uop_buffer_bytes=8,
        inp_buffer_bytes=16,
        wgt_buffer_bytes=32,
        acc_buffer_bytes=32,
    ),
}
each_config = pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)


class Filled:
    """What a buffer holds, as bytes (depth, element_bytes), and how it is filled."""

    def __init__(self, draw: random.Random, config: Config, memory: Memory) -> None:
        self.draw, self.memory = draw, memory
        self.depth, self.shape = memory.depth(config), BankShape(config, memory)
        self.bus_bytes = config.bus_bytes
        self.elements = np.zeros((self.depth, memory.element_bytes(config)), np.uint8)

    def fill(self, ctx, port: Interface, *, idle: bool = False) -> set[int]:
        """Fill something that is drawn; return the elements that are filled at the cycle's end."""
        draw, shape = self.draw, self.shape
        word = draw.randbytes(self.bus_bytes)
        values = np.frombuffer(word, np.uint8)
        extend = self.memory is Memory.ACC and draw.random() < 0.5
        if extend:
            values = values.view(np.int8).astype("<i4").view(np.uint8)
        index = draw.randrange(1 - shape.banks, self.depth)
        lanes = [
            lane
            for lane in range(shape.banks)
            if 0 <= index + lane < self.depth and draw.random() < 0.7 and not idle
        ]
        chunks = [chunk for chunk in range(shape.chunks) if draw.random() < 0.7]
        ctx.set(port.index, index % (1 << shape.index_bits))
        ctx.set(port.lanes, sum(1 << lane for lane in lanes))
        ctx.set(port.chunks, sum(1 << chunk for chunk in chunks))
        ctx.set(port.data, int.from_bytes(word, "little"))
        if self.memory is Memory.ACC:
            ctx.set(port.extend, extend)
        size = shape.chunk_bits // 8
        for lane in lanes:
            for chunk in chunks:
                first = (lane * shape.chunks + chunk) * size % values.size
                to = self.elements[index + lane, chunk * size : (chunk + 1) * size]
                to[:] = values[first : first + size]
        return {index + lane for lane in lanes}


def as_bytes(value: int, count: int) -> Bytes:
    """Return a number's bytes."""
    return np.frombuffer(value.to_bytes(count, "little"), np.uint8)


def simulate(part: Buffer | AccBuffer, body) -> None:
    simulator = Simulator(part)
    simulator.add_clock(1e-6)
    simulator.add_testbench(body)
    simulator.run()


@each_config
@pytest.mark.parametrize("memory", [Memory.UOP, Memory.INP, Memory.WGT], ids=lambda x: x.name)
def test_a_tile_is_what_words_made_it(config: Config, memory: Memory) -> None:
    draw = random.Random(1)
    buffer, model = Buffer(config, memory), Filled(draw, config, memory)

    async def body(ctx) -> None:
        for _ in range(200):
            index = draw.randrange(model.depth)
            ctx.set(buffer.read.index, index)
            before = model.elements[index].copy()
            filled = model.fill(ctx, buffer.fill)
            await ctx.tick()
            if index not in filled:
                assert (as_bytes(ctx.get(buffer.read.data), before.size) == before).all()

    simulate(buffer, body)


@each_config
def test_accumulators_are_read_as_they_are_written_and_stored_by_words(config: Config) -> None:
    """Either a fill or a write in a cycle; all read ports, and the output buffer, beside it."""
    draw = random.Random(2)
    buffer, model = AccBuffer(config), Filled(draw, config, Memory.ACC)
    bus, out_bytes = config.bus_bytes, config.out_tile_bytes
    parts, together = max(1, out_bytes // bus), max(1, bus // out_bytes)

    async def body(ctx) -> None:
        word: dict[int, int] = {}  # what the output buffer shows, by the byte's place
        for _ in range(200):
            before = model.elements.copy()
            writes = draw.random() < 0.5
            changed = model.fill(ctx, buffer.fill, idle=writes)
            ctx.set(buffer.write.en, writes)
            written = draw.randrange(model.depth)
            tile = draw.randbytes(config.acc_tile_bytes)
            ctx.set(buffer.write.index, written)
            ctx.set(buffer.write.data, int.from_bytes(tile, "little"))
            if writes:
                model.elements[written] = np.frombuffer(tile, np.uint8)
                changed = {written}
            reads = [draw.choice((written, draw.randrange(model.depth))) for _ in buffer.reads]
            for name, index in zip(buffer.reads, reads, strict=True):
                ctx.set(getattr(buffer, name).index, index)

            asks, index = draw.random() < 0.7, draw.randrange(1 - together, model.depth)
            chunk = draw.randrange(parts)
            ctx.set(buffer.out.en, asks)
            ctx.set(buffer.out.index, index % (1 << model.shape.index_bits))
            ctx.set(buffer.out.chunk, chunk)
            if asks:
                word = {}
                for lane in range(together):
                    element = index + lane
                    if 0 <= element < model.depth and element not in changed:
                        low = before[element].reshape(-1, 4)[:, 0]
                        low = low[chunk * bus :][:bus] if parts > 1 else low
                        word |= {lane * out_bytes + i: int(byte) for i, byte in enumerate(low)}
            await ctx.tick()
            for name, index in zip(buffer.reads, reads, strict=True):
                if writes or index not in changed:
                    data = as_bytes(ctx.get(getattr(buffer, name).data), config.acc_tile_bytes)
                    assert (data == model.elements[index]).all()
            shown = as_bytes(ctx.get(buffer.out.data), bus)
            assert {place: int(shown[place]) for place in word} == word

    simulate(buffer, body)
