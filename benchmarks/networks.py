"""Whole networks on the simulated machine: cycles, distance to the floor, and how long it took.

    python benchmarks/networks.py [NAME ... | --zoo] [--config CONFIG] [--json | --markdown]

The floor of a network is the sum of its layers' (compiler/vta/floor.py).
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from math import prod
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import zoo
from files import save_model
from rich.console import Console
from rich.table import Table
from vtakit.cli.network import peak_memory_bytes
from vtakit.cli.report import network_report
from vtakit.compiler.build import build_module
from vtakit.compiler.check import check_run
from vtakit.compiler.network import load_network, split_samples
from vtakit.isa.config import Config, load_config
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.session import Session

NETWORKS = ("resnet18", "resnet8", "lenet5", "mlp")
RUNS = 3


def measure(name: str, config: Config) -> dict[str, Any]:
    """Compile, run and check one network of the zoo, in a process of its own."""
    spawning = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as process:
        return process.submit(_measure, name, config).result()


def _measure(name: str, config: Config) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        model = zoo.build(name)
        save_model(model, path)
        network = load_network(path, calibration=zoo.samples(name, 4))
    begun = time.perf_counter()
    compiled = build_module(network.integers, config, keep=True)
    compile_seconds = time.perf_counter() - begun
    memory = peak_memory_bytes()
    inputs = split_samples(network.source, zoo.samples(name, 1, seed=1))[0]
    seconds: list[float] = []
    with open_device("sim", config) as device, Session(compiled.module, device) as session:
        report = session.run(inputs)  # warms up
        for _ in range(RUNS):
            report = session.run(inputs)
            seconds.append(report.seconds)
        check = check_run(compiled, session, report, inputs)
    rows = network_report(compiled, report)
    run_seconds = sorted(seconds)[RUNS // 2]
    floor = rows.floor
    assert rows.cycles is not None
    assert floor is not None
    return {
        "name": name,
        "equal": check.equal,
        "layers_on_vta": check.compared,
        "parameters": sum(prod(item.dims) for item in model.graph.initializer),
        "peak_memory_bytes": memory,
        "macs": rows.macs,
        "macs_on_vta": rows.macs_on_vta,
        "cycles": rows.cycles,
        "floor_cycles": floor,
        "of_floor": floor / rows.cycles,
        "utilisation": rows.utilisation,
        "utilisation_after_first": rows.utilisation_after_first,
        "compile_seconds": compile_seconds,
        "run_seconds": run_seconds,
        "macs_per_second": rows.macs_on_vta / run_seconds,
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print a row for each network."""
    titles = ("network", "equal", "MACs", "on VTA", "cycles", "floor", "utilisation")
    table = Table(*titles, "after the first", "compile s", "run s", "GMAC/s", box=None)
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        table.add_row(
            row["name"],
            "yes" if row["equal"] else "NO",
            f"{row['macs']:,}",
            f"{100 * row['macs_on_vta'] / row['macs']:.1f} %",
            f"{row['cycles']:,}",
            f"{100 * row['of_floor']:.1f} %",
            f"{100 * row['utilisation']:.1f} %",
            f"{100 * row['utilisation_after_first']:.1f} %",
            f"{row['compile_seconds']:.1f}",
            f"{row['run_seconds']:.3f}",
            f"{row['macs_per_second'] / 1e9:.2f}",
        )
    Console(width=160).print(table)


def print_markdown(rows: list[dict[str, Any]]) -> None:
    """Print the rows as docs/zoo.md has them."""
    titles = ("network", "parameters", "MACs", "of them on VTA", "layers on VTA", "equal", "cycles")
    titles += ("floor's share", "utilisation", "compile s", "MB")
    print(f"| {' | '.join(titles)} |\n| --- |{' ---: |' * (len(titles) - 1)}")
    for row in rows:
        cells = (
            row["name"],
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
            f"{100 * row['macs_on_vta'] / row['macs']:.1f} %",
            str(row["layers_on_vta"]),
            "yes" if row["equal"] else "NO",
            f"{row['cycles']:,}",
            f"{100 * row['of_floor']:.1f} %",
            f"{100 * row['utilisation']:.1f} %",
            f"{row['compile_seconds']:.1f}",
            f"{row['peak_memory_bytes'] / 1e6:,.0f}",
        )
        print(f"| {' | '.join(cells)} |")


def main() -> int:
    """Run from the command line; status 1 when a result was wrong."""
    parser = argparse.ArgumentParser(description="Whole networks on the simulated machine.")
    parser.add_argument("names", nargs="*", metavar="NAME", default=NETWORKS)
    parser.add_argument("--config", default="default", help="a preset or a JSON file")
    parser.add_argument("--zoo", action="store_true", help="every network of the zoo")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    output.add_argument("--markdown", action="store_true", help="a table for docs/zoo.md")
    options = parser.parse_args()
    names = list(zoo.NETWORKS) if options.zoo else options.names or NETWORKS
    if unknown := [name for name in names if name not in zoo.NETWORKS]:
        parser.error(f"no network is called {unknown[0]!r}; there are {', '.join(zoo.NETWORKS)}")
    config = load_config(options.config)
    rows = [measure(name, config) for name in names]
    if options.markdown:
        print_markdown(rows)
    elif options.json:
        print(json.dumps({"config": config.to_json(), "networks": rows}, indent=1))
    else:
        print_table(rows)
    return 0 if all(row["equal"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
