"""Random programs of LOADs and STOREs, memory for them, and the comparison with the references."""

import random
from dataclasses import replace

import numpy as np
from vtakit.isa.config import PAGE_BYTES, PRESETS, Config
from vtakit.isa.instructions import Alu, Finish, Instruction, Load, Memory, Store, Unit
from vtakit.isa.stream import encode_stream

from ..sim.cycle_reference import CycleReference
from ..sim.interpreter import Interpreter
from .memory_system import Bytes, Run, Testbench

FAR = 1 << 32
DATA_BYTES = 16 * PAGE_BYTES
PROGRAM = 4 * PAGE_BYTES  # behind it, page by page, there is only data
LOADED = (Memory.UOP, Memory.WGT, Memory.INP, Memory.ACC, Memory.ACC_8BIT)


def small(config: Config, depth: int = 64) -> Config:
    """Return the machine with buffers of so many elements, at most."""
    sizes = {
        f"{name}_buffer_bytes": getattr(config, f"{name}_tile_bytes")
        * min(depth, getattr(config, f"{name}_depth"))
        for name in ("uop", "inp", "wgt", "acc")
    }
    return replace(config, command_queue_depth=8, token_queue_depth=4, **sizes)


SHAPES = {
    "tiny": PRESETS["tiny"],
    "small": PRESETS["small"],
    "default": PRESETS["default"],
    "batch2": PRESETS["batch2"],
    "big": PRESETS["big"],
    "two": Config(
        1,
        2,
        2,
        uop_buffer_bytes=256,
        inp_buffer_bytes=64,
        wgt_buffer_bytes=64,
        acc_buffer_bytes=256,
    ),  # fmt: skip
}
BUSES = (32, 64, 128, 256, 512)
CONFIGS = {
    f"{name}-{bus}": replace(small(config), bus_bits=bus)
    for name, config in SHAPES.items()
    for bus in BUSES
}
"""Tiles from a sixteenth of a bus word to 256 of them."""

FEW = {name: CONFIGS[name] for name in ("tiny-64", "default-64", "big-32", "two-512", "batch2-256")}


def new_dram(draw: random.Random) -> Bytes:
    """Return 4 GiB, of which the ends are random; the rest is zero and takes no memory."""
    dram = np.zeros(FAR, np.uint8)
    noise = np.random.default_rng(draw.randrange(1 << 30))
    dram[:DATA_BYTES] = noise.integers(0, 256, DATA_BYTES, np.uint8)
    dram[FAR - DATA_BYTES :] = noise.integers(0, 256, DATA_BYTES, np.uint8)
    return dram


def a_load(draw: random.Random, config: Config, memory: Memory) -> Load:
    """Return a LOAD that fits buffer and memory."""
    depth, size = memory.depth(config), memory.element_bytes(config)
    while True:
        insn = Load(
            memory=memory,
            sram_base=draw.randrange(depth),
            y_size=draw.choice((0, 1, 1, 2, 3, draw.randrange(8))),
            x_size=draw.choice((0, 1, 2, draw.randrange(6), draw.randrange(depth))),
            x_stride=draw.choice((0, 1, draw.randrange(12), 1 << 15)),
            y_pad_0=draw.choice((0, 0, 1, 2)),
            y_pad_1=draw.choice((0, 0, 1, 2)),
            x_pad_0=draw.choice((0, 0, 1, 3)),
            x_pad_1=draw.choice((0, 0, 1, 3)),
        )
        width = insn.x_pad_0 + insn.x_size + insn.x_pad_1
        height = insn.y_pad_0 + insn.y_size + insn.y_pad_1
        if insn.x_size == 0 or insn.sram_base + width * height <= depth:
            return replace(insn, dram_base=a_base(draw, insn, size))


def a_store(draw: random.Random, config: Config) -> Store:
    """Return a STORE that fits buffer and memory."""
    depth, size = Memory.OUT.depth(config), Memory.OUT.element_bytes(config)
    while True:
        insn = Store(
            sram_base=draw.randrange(depth),
            y_size=draw.choice((0, 1, 1, 2, 3, draw.randrange(8))),
            x_size=draw.choice((0, 1, 2, draw.randrange(6), draw.randrange(depth))),
            x_stride=draw.choice((0, 1, draw.randrange(12), draw.randrange(1 << 9))),
        )
        if insn.x_size == 0 or insn.sram_base + insn.x_size * insn.y_size <= depth:
            # Of the lower part, and far from the program.
            first = (PROGRAM + 2 * PAGE_BYTES) // size
            return replace(insn, dram_base=first + draw.randrange(2 * PAGE_BYTES // size))


def a_base(draw: random.Random, insn: Load, size: int) -> int:
    """Return a place in memory, now and then such that rows go round its end."""
    pitch, length = insn.x_stride * size, insn.x_size * size
    while True:
        base = draw.randrange(PAGE_BYTES // size, DATA_BYTES // size)
        if draw.random() < 0.3:
            base = (FAR - draw.randrange(1, 4 * length + 8 * size) // size * size) // size
            base |= draw.randrange(16) << 32 - (size - 1).bit_length()  # bits that fall off
            base %= 1 << 32
        rows = [(base * size + y * pitch) % FAR for y in range(insn.y_size if insn.x_size else 0)]
        if all(row >= PAGE_BYTES and row + length <= FAR for row in rows):
            return base


def with_tokens(draw: random.Random, insns: list[Instruction]) -> list[Instruction]:
    """Give instructions tokens at random, each pushed before it is popped."""
    chained: list[Instruction] = []
    given = dict.fromkeys(((0, 1), (1, 0), (1, 2), (2, 1)), 0)
    for insn in insns:
        unit, flags = int(insn.unit), {}
        for side, name in ((-1, "prev"), (1, "next")):
            other = unit + side
            if not 0 <= other <= 2:
                continue
            if given[other, unit] and draw.random() < 0.5:
                given[other, unit] -= 1
                flags[f"pop_{name}"] = True
            if given[unit, other] < 3 and draw.random() < 0.3:
                given[unit, other] += 1
                flags[f"push_{name}"] = True
        chained.append(replace(insn, **flags))
    return chained


def a_program(
    draw: random.Random, config: Config, count: int, units: tuple[Unit, ...]
) -> list[Instruction]:
    """Return instructions of these units, with FINISH after them."""
    insns: list[Instruction] = []
    while len(insns) < count:
        match draw.choice(units):
            case Unit.LOAD:
                memory = draw.choice((Memory.INP, Memory.WGT))
                insns.append(a_load(draw, config, memory))
            case Unit.COMPUTE:
                memory = draw.choice((Memory.UOP, Memory.ACC, Memory.ACC_8BIT))
                insns.append(a_load(draw, config, memory) if draw.random() < 0.9 else Alu())
            case Unit.STORE:
                insns.append(a_store(draw, config))
    return [*with_tokens(draw, insns), Finish()]


def in_memory(dram: Bytes, insns: list[Instruction], config: Config) -> Bytes:
    """Put a program where PROGRAM is; return its words."""
    words = encode_stream(insns, config)
    assert words.size <= 2 * PAGE_BYTES
    dram[PROGRAM : PROGRAM + words.size] = words.reshape(-1)
    return words


def compare(
    bench: Testbench, before: Bytes, words: Bytes, result: Run, held: dict[Memory, Bytes]
) -> None:
    """Compare a run, and what buffers hold after it, with the references.

    `before` is the memory before it, and is changed. What no LOAD filled is 0 in both.
    """
    config, exact = bench.config, bench.bus.draw is None
    plain = Interpreter(config, before)
    reference = CycleReference(words, plain, bench.bus.latency)
    cycles = reference.run()
    if exact:
        assert result.starts == reference.starts
        assert result.ends == reference.ends
        assert result.cycles == cycles
    assert result.counters == plain.counters
    uops = np.array([uop.encode(config) for uop in plain.uop], "<u4").view(np.uint8)
    used = np.uint32((1 << 32) - 1)
    for memory, values in {
        Memory.INP: plain.inp,
        Memory.WGT: plain.wgt,
        Memory.ACC: plain.acc.astype("<i4"),
    }.items():
        wanted = values.view(np.uint8).reshape(held[memory].shape)
        wrong = np.flatnonzero((held[memory] != wanted).any(axis=1))
        assert wrong.size == 0, f"{memory.name} elements {wrong}"
    width = sum(
        slot_width
        for slot_width in (config.acc_index_bits, config.src_index_bits, config.wgt_index_bits)
    )
    used = np.uint32((1 << width) - 1)
    assert np.array_equal(held[Memory.UOP].view("<u4").reshape(-1) & used, uops.view("<u4") & used)
    for part in (slice(0, DATA_BYTES), slice(FAR - DATA_BYTES, FAR)):
        assert np.array_equal(bench.dram[part], before[part])


def run_and_compare(
    config: Config,
    seed: int,
    units: tuple[Unit, ...],
    count: int,
    latency: int = 32,
    *,
    pressure: bool = False,
) -> None:
    """Run one random program on hardware and references."""
    draw = random.Random(seed)
    dram, before = (new_dram(random.Random(seed)) for _ in range(2))
    words = in_memory(dram, insns := a_program(draw, config, count, units), config)
    in_memory(before, insns, config)
    bench = Testbench(config, dram, latency, draw=draw if pressure else None)

    async def body(ctx) -> None:
        result = await bench.run(ctx, PROGRAM, len(insns), limit=100_000)
        assert result.error is None
        memories = (Memory.UOP, Memory.WGT, Memory.INP, Memory.ACC)
        held = {memory: await bench.contents(ctx, memory) for memory in memories}
        compare(bench, before, words, result, held)

    bench.simulate(body)
