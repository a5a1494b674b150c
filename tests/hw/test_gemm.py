"""The matrix unit against NumPy: a micro-op every cycle, on the same tile or on others."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from vtakit.hw.gemm import MatrixUnit
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.costs import GEMM_STAGES, IN_FLIGHT

from .memory_programs import CONFIGS, small

SHAPES = {
    "2x4": replace(small(PRESETS["tiny"]), batch=2),
    "1x2": CONFIGS["two-64"],
    "1x8": small(PRESETS["small"]),
    "1x16": small(PRESETS["default"]),
    "2x16": small(PRESETS["batch2"]),
    "1x32": small(PRESETS["big"]),
}
TILES = 6
"""Tiles of each kind that micro-ops are of."""

BEHIND = GEMM_STAGES - 3
"""Cycles from stage 3, where a step comes in, to its last stage."""


def word(tile: np.ndarray) -> int:
    """Return a tile as it stands in its buffer."""
    return int.from_bytes(np.ascontiguousarray(tile).tobytes(), "little")


def tiles(bytes_of: np.random.Generator, shape: tuple[int, ...], kind: type) -> np.ndarray:
    """Return tiles of random values, some of the least and the greatest."""
    limits = np.iinfo(kind)
    drawn = bytes_of.integers(limits.min, limits.max, shape, kind, endpoint=True)
    drawn[0], drawn[1] = limits.min, limits.max
    return drawn


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_tiles_are_what_numpy_has(config: Config) -> None:
    draw, bytes_of = random.Random(5), np.random.default_rng(5)
    unit = MatrixUnit(config)
    inp = tiles(bytes_of, (TILES, config.batch, config.block_in), np.int8)
    wgt = tiles(bytes_of, (TILES, config.block_out, config.block_in), np.int8)
    acc = tiles(bytes_of, (TILES, config.batch, config.block_out), np.int32)
    inputs, weights = [word(tile) for tile in inp], [word(tile) for tile in wgt]
    buffer = [word(tile) for tile in acc]  # as the unit leaves it
    expected: dict[int, tuple[int, int]] = {}  # by the cycle of its write
    retired: dict[int, int] = {}

    async def drive(ctx) -> None:
        step, share = unit.step, 1.0
        last = draw.randrange(TILES)
        for cycle in range(160):
            if cycle % 40 == 0:
                share = draw.choice((0.3, 1.0)) if cycle else 1.0
            valid, alu, reset = draw.random() < share, draw.random() < 0.1, draw.random() < 0.1
            last = last if draw.random() < 0.6 else draw.randrange(TILES)
            src, of = draw.randrange(TILES), draw.randrange(TILES)
            retire = draw.choice((0, 0, 1 << draw.randrange(IN_FLIGHT)))
            ctx.set(step.valid, valid)
            ctx.set(step.what.alu, alu)
            ctx.set(step.what.reset, reset)
            for part, value in ((step.dst, last), (step.src, src), (step.wgt, of)):
                ctx.set(part, value)
            ctx.set(step.retire, retire)
            if not alu:
                retired[cycle + BEHIND] = retire
            if valid and not alu:
                sums = inp[src].astype(np.int64) @ wgt[of].astype(np.int64).T
                acc[last] = 0 if reset else (acc[last] + sums).astype(np.int32)
                expected[cycle + BEHIND] = last, word(acc[last])

            assert ctx.get(unit.written) == retired.get(cycle, 0)
            assert ctx.get(unit.write.en) == (cycle in expected)
            if cycle in expected:
                index, tile = expected.pop(cycle)
                assert (ctx.get(unit.write.index), ctx.get(unit.write.data)) == (index, tile)
                buffer[index] = tile
            shown = [ctx.get(port.index) for port in (unit.inp, unit.wgt, unit.acc)]
            await ctx.tick()
            for port, index, store in zip(
                (unit.inp, unit.wgt, unit.acc), shown, (inputs, weights, buffer), strict=True
            ):
                ctx.set(port.data, store[index] if index < TILES else 0)

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
