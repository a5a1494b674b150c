"""The hardware, compiled by Verilator: its matrix unit's share of cycles, and the simulator's lead.

    python benchmarks/rtl.py [PROGRAM.npz ...] [--networks NAME ...] [--bus BITS ...] [--json]

Programs (a matrix product of 512 x 512 x 512 where none is given) run on hardware and simulator.
`GEMM busy` is the matrix unit's share of the cycles from the first GEMM's start to the last one's
end. The compute unit has other work in these: micro-ops of ALU, and words that its own LOADs move,
each of a cycle. `at most` is the matrix unit's share of the floor, which is all of that, or the
words of the load unit if those are more. A long LOAD shows how many of its cycles move a word.
Networks of the zoo, and digits, run whole on both, one after the other, and are timed.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import numpy as np
import zoo
from files import save_model
from replay import large_product
from rich.console import Console
from rich.table import Table
from vtakit.compiler.build import build_module
from vtakit.compiler.network import load_network
from vtakit.compiler.passes.quantize import random_samples
from vtakit.isa.config import PAGE_BYTES, Config, load_config
from vtakit.isa.instructions import Finish, Load, Memory, Opcode
from vtakit.isa.program import Program
from vtakit.isa.stream import decode_stream, encode_stream
from vtakit.runtime.drivers.in_process import DEFAULT_DRAM_BYTES, InProcess
from vtakit.runtime.drivers.rtl_machine import RtlMachine
from vtakit.runtime.session import RunReport, Session
from vtakit.sim.machine import Machine, Result

NETWORKS = ("digits", "resnet8", "resnet18")
DIGITS = Path(__file__).parents[1] / "examples" / "digits" / "digits.onnx"
RUNS = 5
"""Of the simulator, of which the median counts; hardware runs once."""


def both(config: Config, dram_bytes: int) -> tuple[Machine, RtlMachine]:
    """Return the simulator and the hardware, with memories of that size."""

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    size = -(-dram_bytes // PAGE_BYTES) * PAGE_BYTES
    return Machine(config, dram_bytes=size), RtlMachine(config, dram_bytes=size, say=say)


def run_program(program: Program, config: Config) -> tuple[Result, bool]:
    """Run a program on both; return the hardware's result, and whether they are the same."""
    results: list[Result] = []
    drams: list[np.ndarray] = []
    for machine in both(config, program.dram_before.size):
        machine.dram[: program.dram_before.size] = program.dram_before
        results.append(machine.run(program.insns, record=True))
        drams.append(machine.dram)
        machine.close()
    sim, rtl = results
    same = (
        np.array_equal(drams[0], drams[1])
        and sim.counters == rtl.counters
        and sim.cycles == rtl.cycles
    )
    for name in ("starts", "ends"):
        same &= np.array_equal(getattr(sim, name), getattr(rtl, name))
    return rtl, same


def matrix_unit(name: str, program: Program, bus_bits: int) -> dict[str, Any]:
    """Return how busy a program keeps the matrix unit, and how busy its traffic lets it be."""
    config = replace(program.config, bus_bits=bus_bits)
    result, same = run_program(program, config)
    cycles = result.counters.cycles
    assert cycles is not None
    assert result.starts is not None
    assert result.ends is not None
    columns = decode_stream(program.insns, config)
    gemms = np.flatnonzero(columns["opcode"] == Opcode.GEMM)
    first, last = gemms[0], gemms[-1]
    window = int(result.ends[gemms].max() - result.starts[first])
    own = range(first, last + 1)  # what the compute unit has to do from first to last
    loaded = sum(
        -(-int(columns["x_size"][i]) * Memory(int(columns["memory"][i])).element_bytes(config)
          // config.bus_bytes) * int(columns["y_size"][i])
        for i in own
        if columns["opcode"][i] == Opcode.LOAD
        and columns["memory"][i] not in (Memory.INP, Memory.WGT)
    )  # fmt: skip
    alu = sum(
        max(0, int(columns["uop_end"][i] - columns["uop_begin"][i]))
        * int(columns["iter_out"][i] * columns["iter_in"][i])
        for i in own
        if columns["opcode"][i] == Opcode.ALU
    )
    read = cycles.load_words + cycles.compute_words + cycles.fetch_words
    floor = max(cycles.gemm + alu + loaded, cycles.load_words)
    return {
        "name": name,
        "bus_bits": bus_bits,
        "equal": same,
        "cycles": result.cycles,
        "window_cycles": window,
        "gemm_cycles": cycles.gemm,
        "alu_cycles": alu,
        "compute_words": loaded,
        "read_words": read,
        "written_words": cycles.store_words,
        "floor_cycles": floor,
        "gemm_busy": cycles.gemm / window,
        "gemm_busy_at_most": cycles.gemm / floor,
        "of_floor": floor / window,
    }


def long_load(config: Config) -> dict[str, Any]:
    """Return how many cycles of a LOAD of the whole weight buffer move a word."""
    size = config.wgt_depth
    load = Load(memory=Memory.WGT, dram_base=PAGE_BYTES // config.wgt_tile_bytes + 1, y_size=1,
                x_size=size)  # fmt: skip
    insns = encode_stream([load, Finish()], config)
    dram = np.zeros((size + 2) * config.wgt_tile_bytes + PAGE_BYTES, np.uint8)
    result, same = run_program(Program(config, insns, dram), config)
    assert result.starts is not None
    assert result.ends is not None
    words = size * config.wgt_tile_bytes // config.bus_bytes
    took = int(result.ends[0] - result.starts[0])
    return {
        "name": f"LOAD of {size * config.wgt_tile_bytes >> 10} KiB",
        "bus_bits": config.bus_bits,
        "equal": same,
        "cycles": took,
        "words": words,
        "words_per_cycle": words / took,
    }


def run_network(name: str, config: Config) -> dict[str, Any]:
    """Compile a network and run it on both; return cycles and times."""
    with tempfile.TemporaryDirectory() as folder:
        path = DIGITS
        if name != "digits":
            path = Path(folder) / f"{name}.onnx"
            save_model(zoo.build(name), path)
        network = load_network(path)
    inputs = random_samples(network.source, 1, 1)[0]
    module = build_module(network.integers, config).module
    reports: list[RunReport] = []
    seconds: list[float] = []
    for machine, runs in zip(both(config, DEFAULT_DRAM_BYTES), (RUNS, 1), strict=True):
        with InProcess(machine, record=False) as device, Session(module, device) as session:
            if runs > 1:
                session.run(inputs)  # warms up
            times: list[float] = []
            for _ in range(runs):
                begun = time.perf_counter()
                reports.append(session.run(inputs))
                times.append(time.perf_counter() - begun)
            seconds.append(sorted(times)[runs // 2])
    sim, rtl = reports[0], reports[-1]
    same = sim.cycles == rtl.cycles and sim.counters == rtl.counters
    same &= all(np.array_equal(sim.outputs[key], rtl.outputs[key]) for key in sim.outputs)
    assert rtl.cycles is not None
    return {
        "name": name,
        "bus_bits": config.bus_bits,
        "equal": same,
        "cycles": rtl.cycles,
        "rtl_seconds": seconds[1],
        "rtl_cycles_per_second": rtl.cycles / seconds[1],
        "sim_seconds": seconds[0],
        "sim_times_faster": seconds[1] / seconds[0],
    }


def print_tables(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print a table for each kind."""
    titles = {
        "programs": ("program", "bus", "equal", "cycles", "first to last GEMM", "GEMM", "ALU",
                     "LOAD", "GEMM busy", "at most", "of floor"),
        "loads": ("load", "bus", "equal", "cycles", "words", "words a cycle"),
        "networks": ("network", "bus", "equal", "cycles", "RTL s", "M cycles/s", "sim s",
                     "sim faster"),
    }  # fmt: skip
    for kind, rows in found.items():
        table = Table(*titles[kind], box=None)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            cells = [row["name"], str(row["bus_bits"]), "yes" if row["equal"] else "NO"]
            match kind:
                case "programs":
                    counts = ("cycles", "window_cycles", "gemm_cycles", "alu_cycles",
                              "compute_words")  # fmt: skip
                    cells += [f"{row[name]:,}" for name in counts]
                    shares = ("gemm_busy", "gemm_busy_at_most", "of_floor")
                    cells += [f"{100 * row[name]:.1f} %" for name in shares]
                case "loads":
                    cells += [f"{row['cycles']:,}", f"{row['words']:,}"]
                    cells.append(f"{100 * row['words_per_cycle']:.1f} %")
                case _:
                    speed = row["rtl_cycles_per_second"] / 1e6
                    cells += [f"{row['cycles']:,}", f"{row['rtl_seconds']:.2f}", f"{speed:.2f}"]
                    cells += [f"{row['sim_seconds']:.4f}", f"{row['sim_times_faster']:,.0f} x"]
            table.add_row(*cells)
        if rows:
            Console(width=140).print(table)


def main() -> int:
    """Run from the command line; status 1 where the two differ."""
    parser = argparse.ArgumentParser(description="The hardware beside the simulator.")
    parser.add_argument("programs", nargs="*", type=Path, metavar="PROGRAM.npz")
    parser.add_argument("--networks", nargs="*", metavar="NAME", default=NETWORKS)
    parser.add_argument("--bus", nargs="*", type=int, metavar="BITS", default=(64, 256))
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    options = parser.parse_args()
    programs = {path.stem: Program.load(path) for path in options.programs}
    programs = programs or {"matmul": large_product()}
    default = load_config("default")
    found = {
        "programs": [
            matrix_unit(name, program, bits)
            for name, program in programs.items()
            for bits in options.bus
        ],
        "loads": [long_load(replace(default, bus_bits=bits)) for bits in options.bus],
        "networks": [run_network(name, default) for name in options.networks],
    }
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print_tables(found)
    return 0 if all(row["equal"] for rows in found.values() for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
