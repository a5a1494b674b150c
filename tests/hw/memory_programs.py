"""Random programs of LOADs and STOREs, memory for them, and the comparison with the references.

Programs have no races: LOADs and STOREs keep to parts of memory, and, where a STORE may run beside
a LOAD, of the accumulators, of their own.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from vtakit.isa.config import PAGE_BYTES, PRESETS, Config
from vtakit.isa.instructions import Alu, Finish, Instruction, Load, Memory, Store, Unit, Uop
from vtakit.isa.stream import encode_stream

from ..sim.cycle_reference import CycleReference
from ..sim.interpreter import Interpreter
from .memory_bus import Bytes
from .memory_system import Testbench

FAR = 1 << 32
DATA = range(PAGE_BYTES, 16 * PAGE_BYTES)
FAR_DATA = range(FAR - 16 * PAGE_BYTES, FAR)
STORED = range(16 * PAGE_BYTES, 64 * PAGE_BYTES)
PROGRAM = 4 * PAGE_BYTES
LOADED = (Memory.UOP, Memory.WGT, Memory.INP, Memory.ACC, Memory.ACC_8BIT)
ALL = (Unit.LOAD, Unit.COMPUTE, Unit.STORE)

Transfer = TypeVar("Transfer", Load, Store)


def small(config: Config, depth: int = 64) -> Config:
    """Return the machine with buffers of so many elements, at most, and with short queues."""
    sizes = {
        f"{name}_buffer_bytes": getattr(config, f"{name}_tile_bytes")
        * min(depth, getattr(config, f"{name}_depth"))
        for name in ("uop", "inp", "wgt", "acc")
    }
    return replace(config, command_queue_depth=8, token_queue_depth=4, **sizes)


SHAPES = {
    **{name: config for name, config in PRESETS.items() if config.acc_banks == 1},
    "two": Config(
        block_in=2,
        block_out=2,
        uop_buffer_bytes=256,
        inp_buffer_bytes=128,
        wgt_buffer_bytes=64,
        acc_buffer_bytes=256,
    ),
}
BUSES = (32, 64, 128, 256, 512)
CONFIGS = {
    f"{name}-{bus}": replace(small(config), bus_bits=bus)
    for name, config in SHAPES.items()
    for bus in BUSES
}
"""Tiles from a thirty-second of a bus word to 256 of them."""


def new_dram(seed: int) -> Bytes:
    """Return 4 GiB, of which the data is random; the rest is zero and takes no memory."""
    dram = np.zeros(FAR, np.uint8)
    noise = np.random.default_rng(seed)
    for part in (DATA, FAR_DATA):
        dram[part.start : part.stop] = noise.integers(0, 256, len(part), np.uint8)
    return dram


def a_load(draw: random.Random, config: Config, memory: Memory, depth: int) -> Load:
    """Return a LOAD that fills some of the buffer's first `depth` elements."""

    def one() -> Load | None:
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
        fits = insn.x_size == 0 or insn.sram_base + width * height <= depth
        return placed(draw, config, insn, DATA) if fits else None

    return _first(one)


def a_store(draw: random.Random, config: Config, begin: int, *, far: bool = False) -> Store:
    """Return a STORE of some accumulators from `begin` on; with `far`, round memory's end."""
    depth, size = Memory.OUT.depth(config), Memory.OUT.element_bytes(config)
    around = len(FAR_DATA) + STORED.start  # so much leads from there to STORED

    def one() -> Store | None:
        insn = Store(
            sram_base=draw.randrange(begin, depth),
            y_size=draw.choice((0, 1, 1, 2, 3, draw.randrange(8))),
            x_size=draw.choice((0, 1, 2, draw.randrange(6), draw.randrange(depth))),
            x_stride=draw.choice((0, 1, draw.randrange(12), draw.randrange(1 << 9))),
        )
        if far:
            insn = replace(insn, x_stride=around // size % (1 << 16) + draw.randrange(20))
        if insn.x_size and insn.sram_base + insn.x_size * insn.y_size > depth:
            return None
        return placed(draw, config, insn, FAR_DATA if far else STORED)

    return _first(one)


def placed(draw: random.Random, config: Config, insn: Transfer, part: range) -> Transfer | None:
    """Return it with a first row in `part`, or near memory's end, and all where it may be."""
    size = insn.memory.element_bytes(config)
    pitch, length = insn.x_stride * size, insn.x_size * size
    base = draw.randrange(part.start, part.stop) // size
    if isinstance(insn, Load) and draw.random() < 0.3:
        base = (FAR - draw.randrange(1, 4 * length + 8 * size)) // size
    if draw.random() < 0.3:
        base |= draw.randrange(16) << 32 - (size - 1).bit_length()  # bits that fall off
        base %= 1 << 32
    for y in range(insn.y_size if insn.x_size else 0):
        row = (base * size + y * pitch) % FAR
        end = row + length
        in_stored = row >= STORED.start and end <= STORED.stop
        in_data = row >= DATA.start and end <= STORED.start
        far = row >= STORED.stop and end <= FAR
        if not (far or (in_data if isinstance(insn, Load) else in_stored)):
            return None
    return replace(insn, dram_base=base)


def _first(one: Callable[[], Transfer | None]) -> Transfer:
    """Return the first that could be made."""
    while True:
        if (insn := one()) is not None:
            return insn


def with_tokens(draw: random.Random, insns: Sequence[Instruction]) -> list[Instruction]:
    """Give instructions tokens at random, each pushed before it is popped."""
    chained: list[Instruction] = []
    given = dict.fromkeys(((0, 1), (1, 0), (1, 2), (2, 1)), 0)
    for insn in insns:
        unit, flags = int(insn.unit(PRESETS["default"])), dict[str, bool]()
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


def fill_accumulators(config: Config) -> Load:
    """Return a LOAD of all of them, of memory in which no program stands."""
    row = min(config.acc_depth, 32)
    return Load(
        memory=Memory.ACC,
        dram_base=8 * PAGE_BYTES // config.acc_tile_bytes,
        x_size=row,
        y_size=config.acc_depth // row,
        x_stride=1,
    )


def a_program(
    draw: random.Random, config: Config, count: int, units: tuple[Unit, ...] = ALL
) -> list[Instruction]:
    """Return about `count` instructions of these units, and those without which they would race."""
    half = config.acc_depth // 2
    far = Unit.LOAD not in units and Unit.COMPUTE not in units and draw.random() < 0.5
    insns: list[Instruction] = []
    while len(insns) < count:
        match draw.choice(units):
            case Unit.LOAD:
                memory = draw.choice((Memory.INP, Memory.WGT))
                insns.append(a_load(draw, config, memory, memory.depth(config)))
            case Unit.COMPUTE:
                memory = draw.choice((Memory.UOP, Memory.ACC, Memory.ACC_8BIT))
                shared = Unit.STORE in units and memory is not Memory.UOP
                depth = half if shared else memory.depth(config)
                insns.append(a_load(draw, config, memory, depth) if draw.random() < 0.9 else Alu())
            case Unit.STORE:
                insns.append(a_store(draw, config, half, far=far))
    insns = with_tokens(draw, insns)
    if Unit.STORE in units:
        first = next((i for i, insn in enumerate(insns) if isinstance(insn, Store)), None)
        if first is not None:
            insns[first] = replace(insns[first], pop_prev=True)
        insns.insert(0, replace(fill_accumulators(config), push_next=True))
    return [*insns, Finish()]


def in_memory(dram: Bytes, insns: Sequence[Instruction], config: Config) -> Bytes:
    """Put a program where PROGRAM is; return its words."""
    words = encode_stream(insns, config)
    assert words.size <= 4 * PAGE_BYTES
    dram[PROGRAM : PROGRAM + words.size] = words.reshape(-1)
    return words


def run_and_compare(
    config: Config,
    programs: Sequence[Sequence[Instruction]],
    latency: int = 32,
    draw: random.Random | None = None,
) -> None:
    """Run programs one after the other on hardware and references; with `draw`, under pressure."""
    wanted = Interpreter(config, new_dram(1))
    bench = Testbench(config, new_dram(1), latency, draw=draw)

    async def body(ctx) -> None:
        for insns in programs:
            await run_one(bench, ctx, insns, wanted)
        await compare_contents(bench, ctx, wanted)

    bench.simulate(body)


async def run_one(bench: Testbench, ctx, insns: Sequence[Instruction], wanted: Interpreter) -> None:
    """Run a program on hardware and references; compare cycles (if exact) and counters."""
    wanted.counters = dict.fromkeys(wanted.counters, 0)
    words = in_memory(bench.dram, insns, bench.config)
    in_memory(wanted.dram, insns, bench.config)
    result = await bench.run(ctx, PROGRAM, len(insns))
    assert result.error is None
    reference = CycleReference(words, wanted, bench.bus.latency)
    cycles = reference.run()
    if bench.bus.draw is None:
        assert result.starts == reference.starts
        assert result.ends == reference.ends
        assert result.cycles == cycles
    assert result.counters == wanted.counters


async def compare_contents(bench: Testbench, ctx, wanted: Interpreter) -> None:
    """Compare buffers and memory; what nothing has filled is 0 in both."""
    for memory, elements in contents(wanted).items():
        found = await bench.contents(ctx, memory)
        if memory is Memory.UOP:
            found &= used_of_uops(bench.config)
        wrong = np.flatnonzero((found != elements).any(axis=1))
        assert wrong.size == 0, f"{memory.name} elements {wrong}"
    for part in (slice(0, STORED.stop), slice(FAR_DATA.start, FAR)):
        assert np.array_equal(bench.dram[part], wanted.dram[part])


def contents(state: Interpreter) -> dict[Memory, Bytes]:
    """Return what its buffers hold, each uint8 (depth, element_bytes)."""
    uop = np.array([uop.encode(state.config) for uop in state.uop], "<u4")
    buffers = {
        Memory.UOP: uop,
        Memory.INP: state.inp,
        Memory.WGT: state.wgt,
        Memory.ACC: state.banks[0].astype("<i4"),
    }
    return {
        memory: values.reshape(len(values), -1).view(np.uint8) for memory, values in buffers.items()
    }


def used_of_uops(config: Config) -> Bytes:
    """Return a micro-op's bits that belong to a field, all that the interpreter keeps."""
    uop = Uop(
        dst=config.acc_depth - 1,
        src=(1 << config.src_index_bits) - 1,
        wgt=config.wgt_depth - 1,
    )
    return np.frombuffer(uop.encode(config).to_bytes(4, "little"), np.uint8)
