"""How fast the simulator runs recorded programs, with and without its cycle model.

    python benchmarks/replay.py [PROGRAM.npz ...] [--json]

Without programs it makes two of its own: a matrix product of 512 x 512 x 512 in large instructions,
and one of many small instructions. The original's C++ simulator, which has no cycle model, ran such
a product at 5.2 billion multiply-accumulates a second and such small instructions at 13.4 million a
second, at -O2 on one core of a machine like those this was measured on.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from vtakit.isa.config import Config
from vtakit.isa.instructions import AluOp, Memory
from vtakit.isa.program import Program
from vtakit.runtime.kernel import Axis, Nest
from vtakit.runtime.queue import CommandQueue
from vtakit.runtime.stream import alignment
from vtakit.sim.machine import Machine

REPEATS = 15
ENGINES = {"sim": True, "functional": False}


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="How fast the simulator is.")
    parser.add_argument("programs", nargs="*", type=Path, metavar="PROGRAM.npz")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    programs = {path.stem: Program.load(path) for path in options.programs}
    rows = measure(programs or {"matmul": large_product(), "small": small_instructions()})
    if options.json:
        print(json.dumps({"repeats": REPEATS, "programs": rows}, indent=1))
    else:
        print_table(rows)
    return 0


def measure(programs: dict[str, Program]) -> list[dict[str, Any]]:
    """Time every program on every engine, in turns, and return a row for each pair."""
    machines = {
        (name, engine): Machine(program.config)
        for name, program in programs.items()
        for engine in ENGINES
    }
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in machines}
    results: dict[tuple[str, str], Any] = {}
    for _ in range(REPEATS + 1):
        for (name, engine), machine in machines.items():
            program = programs[name]
            machine.reset()
            machine.dram[: program.dram_before.size] = program.dram_before
            begun = time.perf_counter()
            results[name, engine] = machine.run(program.insns, timing=ENGINES[engine])
            seconds[name, engine].append(time.perf_counter() - begun)
    rows: list[dict[str, Any]] = []
    for (name, engine), times in seconds.items():
        program, result = programs[name], results[name, engine]
        median = statistics.median(times[1:])  # the first one warms up
        gemms = result.counters.original()["gemm_counter"]
        macs = gemms * program.config.macs_per_cycle
        rows.append(
            {
                "name": name,
                "engine": engine,
                "seconds": median,
                "fastest_seconds": min(times[1:]),
                "instructions": len(program.insns),
                "instructions_per_second": len(program.insns) / median,
                "macs": macs,
                "macs_per_second": macs / median,
                "cycles": result.cycles,
                "cycles_per_second": None if result.cycles is None else result.cycles / median,
            }
        )
    return rows


def large_product(size: int = 512, seed: int = 0) -> Program:
    """Return a matrix product, size x size x size, in 32 x 32-tile instructions."""
    config = Config()
    tiles = size // config.block_in
    rows = 32
    queue = CommandQueue(config)
    weights = size * size
    out = 2 * weights
    for block in range(tiles):
        half = block % 2 * (config.wgt_depth // 2)
        byte = weights + block * tiles * config.wgt_tile_bytes
        queue.load(Memory.WGT, half, byte, x_size=tiles)
        for first in range(0, size, rows):
            inp = first // rows % 2 * (config.inp_depth // 2)
            acc = first // rows % 2 * (config.acc_depth // 2)
            queue.load(Memory.INP, inp, first * size, x_size=rows * tiles)
            queue.gemm(Nest((Axis(rows, 1),), acc), reset=True)
            axes = (Axis(rows, 1, tiles), Axis(tiles, 0, 1, 1))
            queue.gemm(Nest(axes, acc, inp, half))
            queue.alu(Nest((Axis(rows, 1),), acc), AluOp.SHR, 8)
            tile = config.out_tile_bytes
            queue.store(acc, out + (first * tiles + block) * tile, x_size=1, y_size=rows,
                        x_stride=tiles)  # fmt: skip
    return _program(queue, config, 3 * size * size, seed)


def small_instructions(count: int = 25_000, seed: int = 0) -> Program:
    """Return a program of `count` steps of LOAD, GEMM, ALU and STORE, each on a single tile."""
    config = Config()
    queue = CommandQueue(config)
    queue.load(Memory.WGT, 0, 0, x_size=16)
    for step in range(count):
        tile = step % 64
        queue.load(Memory.INP, tile, 4096 + tile * config.inp_tile_bytes, x_size=1)
        queue.gemm(Nest((Axis(1),), tile, tile, step % 16))
        queue.alu(Nest((Axis(1),), tile), AluOp.ADD, 1)
        queue.store(tile, 8192 + tile * config.out_tile_bytes, x_size=1)
    return _program(queue, config, 16384, seed)


def _program(queue: CommandQueue, config: Config, arena_bytes: int, seed: int) -> Program:
    stream = queue.finish()
    arena = alignment(config)
    uops = -(-(arena + arena_bytes) // arena) * arena
    dram = np.random.default_rng(seed).integers(0, 256, uops + stream.uops.size, np.uint8)
    dram[uops:] = stream.uops
    return Program(config, stream.relocate(arena, uops), dram)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print a row for each program and engine."""
    titles = ("program", "engine", "ms", "fastest", "instructions", "M instructions/s", "GMAC/s")
    table = Table(*titles, "cycles", "M cycles/s", box=None)
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        cycles = row["cycles"]
        table.add_row(
            row["name"],
            row["engine"],
            f"{1e3 * row['seconds']:.2f}",
            f"{1e3 * row['fastest_seconds']:.2f}",
            f"{row['instructions']:,}",
            f"{row['instructions_per_second'] / 1e6:.2f}",
            f"{row['macs_per_second'] / 1e9:.2f}",
            "" if cycles is None else f"{cycles:,}",
            "" if cycles is None else f"{row['cycles_per_second'] / 1e6:.1f}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    sys.exit(main())
