"""Alternatives to the original machine, weighed: cycles of whole networks against what they take.

    python benchmarks/codesign.py [--networks NAME ...] [--no-area] [--json | --markdown]

Every network is compiled for every machine, run on the cycle model and checked. Area is that of
benchmarks/resources.py, an ECP5's.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from vtakit.isa.config import Config

sys.path.insert(0, str(Path(__file__).parent))

from networks import measure
from resources import KINDS, synthesize

NETWORKS = ("resnet18", "mobilenetv2", "resnet8", "ds-cnn", "autoencoder")
ORIGINAL = Config()
MACHINES = {
    "original": ORIGINAL,
    "two read ports": replace(ORIGINAL, acc_read_ports=2),
    "128-bit port": replace(ORIGINAL, bus_bits=128),
    "two banks": replace(ORIGINAL, acc_banks=2),
    "two banks, two read ports": replace(ORIGINAL, acc_banks=2, acc_read_ports=2),
    "two banks, 128-bit port": replace(ORIGINAL, acc_banks=2, bus_bits=128),
}
"""What can be changed by Config, alone and together."""


def weigh(networks: list[str], *, area: bool) -> list[dict[str, Any]]:
    """Return for each machine its networks' cycles and, with `area`, its resources."""
    found: list[dict[str, Any]] = []
    for name, config in MACHINES.items():
        print(f"{name} ...", file=sys.stderr)
        runs = {network: measure(network, config) for network in networks}
        row: dict[str, Any] = {
            "machine": name,
            "config": config.to_json(),
            "networks": {
                network: {key: run[key] for key in ("cycles", "floor_cycles", "of_floor", "equal")}
                for network, run in runs.items()
            },
        }
        if area:
            row["area"] = synthesize(config)["total"]
        found.append(row)
    return found


def _rows(found: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the titles and cells of the table."""
    networks = list(found[0]["networks"])
    titles = ["machine", *networks, *(KINDS if "area" in found[0] else ())]
    cells: list[list[str]] = []
    for row in found:
        cycles = [
            f"{run['cycles']:,} ({100 * run['of_floor']:.0f} %)" for run in row["networks"].values()
        ]
        area = [f"{row['area'].get(kind, 0):,}" for kind in KINDS] if "area" in row else []
        cells.append([row["machine"], *cycles, *area])
    return titles, cells


def main() -> int:
    """Run from the command line; status 1 when a result was wrong."""
    parser = argparse.ArgumentParser(description="Machines compared: cycles against area.")
    parser.add_argument("--networks", nargs="+", metavar="NAME", default=list(NETWORKS))
    parser.add_argument("--no-area", action="store_true", help="do not synthesize")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    output.add_argument("--markdown", action="store_true", help="a table for docs/codesign.md")
    options = parser.parse_args()
    found = weigh(options.networks, area=not options.no_area)
    titles, cells = _rows(found)
    if options.json:
        print(json.dumps(found, indent=1))
    elif options.markdown:
        for line in (titles, ["---"] + ["---:"] * (len(titles) - 1), *cells):
            print(f"| {' | '.join(line)} |")
    else:
        table = Table(*titles, box=None)
        for column in table.columns[1:]:
            column.justify = "right"
        for line in cells:
            table.add_row(*line)
        Console(width=200).print(table, "cycles, and in brackets the floor's share of them")
    equal = all(run["equal"] for row in found for run in row["networks"].values())
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
