"""The vector unit against plain integers: every operation, one a cycle, on what it just wrote."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from vtakit.hw.alu import VectorUnit
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.costs import ALU_STAGES, IN_FLIGHT
from vtakit.isa.instructions import AluOp

from .memory_programs import CONFIGS, small

SHAPES = {
    "1x2": CONFIGS["two-64"],
    "2x4": replace(small(PRESETS["tiny"]), batch=2),
    "1x16": small(PRESETS["default"]),
    "1x4, two ports": replace(small(PRESETS["tiny"]), acc_read_ports=2),
    "2x16, two ports": replace(small(PRESETS["batch2"]), acc_read_ports=2),
}
TILES = 4
BEHIND = ALU_STAGES - 3
"""Cycles from stage 3, where a step comes in, to its last stage."""

ROUNDS, LENGTH = 6, 30
MODULUS = 1 << 32
SPECIAL = (0, 1, -1, 5, 31, 32, 33, -5, -31, -32, -33, (1 << 31) - 1, -(1 << 31))


def signed(value: int) -> int:
    """Return the low 32 bits as a signed number."""
    return (value + (1 << 31)) % MODULUS - (1 << 31)


def operate(operation: AluOp, x: int, y: int) -> int:
    """Return x op y as sim/semantics.py describes it: SHR is floor(x / 2**y), modulo 2**32."""
    match operation:
        case AluOp.MIN:
            return min(x, y)
        case AluOp.MAX:
            return max(x, y)
        case AluOp.ADD:
            return signed(x + y)
        case AluOp.MUL:
            return signed(x * y)
        case AluOp.SHR if y >= 0:
            return x // 2 ** min(y, 40)
        case AluOp.SHR:
            return signed(x * 2 ** min(-y, 40))


def word(tile: list[int]) -> int:
    """Return a tile as it stands in the accumulators."""
    return int.from_bytes(np.array(tile, "<i4").tobytes(), "little")


@dataclass(frozen=True)
class Cycle:
    """A step as it comes in."""

    valid: bool
    alu: bool
    use_imm: bool
    imm: int
    dst: int
    src: int
    retire: int
    source: bool = False


IDLE = Cycle(valid=False, alu=False, use_imm=False, imm=0, dst=0, src=0, retire=0)


def cycles(draw: random.Random, ports: int) -> Iterator[Cycle]:
    """Give steps for ever; with one port, for two cycles where the source has to be read."""
    held = None  # the tile that the operand register has
    dst = src = 0
    while True:
        dst = dst if draw.random() < 0.5 else draw.randrange(TILES)
        src = draw.choice((src, dst, draw.randrange(TILES)))
        cycle = Cycle(
            valid=draw.random() < 0.9,
            alu=draw.random() < 0.9,
            use_imm=draw.random() < 0.4,
            imm=draw.choice((draw.choice(SPECIAL[:11]), draw.randint(-(1 << 15), (1 << 15) - 1))),
            dst=dst,
            src=src,
            retire=draw.choice((0, 1 << draw.randrange(IN_FLIGHT))),
        )
        works = cycle.valid and cycle.alu
        if ports == 1 and works and not cycle.use_imm and held != src:
            yield replace(cycle, source=True, retire=0)
            held = src
        yield cycle
        held = None if works and held == dst else held


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("operation", AluOp, ids=[one.name for one in AluOp])
def test_tiles_are_what_integers_give(config: Config, operation: AluOp) -> None:
    draw = random.Random(operation)
    unit = VectorUnit(config)
    ports = ("acc", "acc2")[: config.acc_read_ports]
    lanes = config.batch * config.block_out

    def drawn() -> list[int]:
        numbers = (draw.choice(SPECIAL), draw.randint(-(1 << 31), (1 << 31) - 1))
        return [draw.choice(numbers) for _ in range(lanes)]

    tiles: list[list[int]] = []
    buffer: list[int] = []  # the same, as the unit leaves it
    expected: dict[int, tuple[int, int]] = {}  # by the cycle of its write
    retired: dict[int, int] = {}

    async def drive(ctx) -> None:
        step, steps = unit.step, iter(())
        for time in range(ROUNDS * LENGTH):
            if time % LENGTH == 0:  # other tiles, since MUL and SHR soon leave nothing but zeros
                steps = cycles(draw, len(ports))
                tiles[:] = [drawn() for _ in range(TILES)]
                buffer[:] = [word(tile) for tile in tiles]
            cycle = next(steps) if time % LENGTH < LENGTH - BEHIND else IDLE
            ctx.set(step.what.alu_opcode, operation)
            ctx.set(step.what.alu, cycle.alu)
            ctx.set(step.what.use_imm, cycle.use_imm)
            ctx.set(step.what.imm, cycle.imm)
            for name in ("valid", "source", "dst", "src", "retire"):
                ctx.set(getattr(step, name), getattr(cycle, name))
            if cycle.alu:
                retired[time + BEHIND] = cycle.retire
            if cycle.alu and cycle.valid and not cycle.source:
                y = [cycle.imm] * lanes if cycle.use_imm else tiles[cycle.src]
                pairs = zip(tiles[cycle.dst], y, strict=True)
                tiles[cycle.dst] = [operate(operation, *pair) for pair in pairs]
                expected[time + BEHIND] = cycle.dst, word(tiles[cycle.dst])

            assert ctx.get(unit.written) == retired.get(time, 0)
            assert ctx.get(unit.write.en) == (time in expected)
            if time in expected:
                index, tile = expected.pop(time)
                assert (ctx.get(unit.write.index), ctx.get(unit.write.data)) == (index, tile)
                buffer[index] = tile
            shown = [ctx.get(getattr(unit, port).index) for port in ports]
            await ctx.tick()
            for port, index in zip(ports, shown, strict=True):
                ctx.set(getattr(unit, port).data, buffer[index])

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
