"""Whole networks on this CPU: our own code from LLVM beside ONNX Runtime, int8 and float32.

    python benchmarks/cpu.py [NAME or FILE.onnx ...] [--threads N] [--repeat N] [--json]

A NAME is a network of examples/zoo.py. All take turns in every round, warm and pinned; rounds in
which others disturb are measured again. ONNX Runtime has the fastest of its settings, and quantizes
a float network itself. A ratio is the time of ONNX Runtime over ours, the median over rounds; below
the table is their geometric mean.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from math import exp, log
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import networks
import numpy as np
import zoo
from files import save_model
from rich.console import Console
from rich.table import Table
from vtakit.cli.compare_words import duration, per_cent, times
from vtakit.cli.options import cpus_for
from vtakit.cli.rivals.contest import Candidate, entered
from vtakit.cli.rivals.cpus import model_name, pinned, quieten
from vtakit.cli.rivals.figures import figure, ratio
from vtakit.cli.rivals.measure import measure
from vtakit.cli.rivals.native import native, native_float
from vtakit.cli.rivals.onnx_runtime import as_given, quantized
from vtakit.cli.rivals.rival import Case, Rival
from vtakit.cli.rivals.watch import Watch
from vtakit.compiler.check import check_outputs, rounded_outputs
from vtakit.compiler.network import RANDOM_SAMPLES, load_network, split_samples
from vtakit.compiler.passes.quantize import random_samples
from vtakit.compiler.reference import outputs

NETWORKS = (*networks.NETWORKS, "mobilenetv2")
ROUNDS = 15
RIVALS = (
    Candidate("LLVM", native),
    Candidate("LLVM, float32", native_float),
    Candidate("ONNX Runtime", as_given),
    Candidate("ONNX Runtime, int8", quantized),
)


def case_of(name: str, folder: Path, threads: int) -> Case:
    """Return a network of the zoo or of a file, with inputs and samples to calibrate with."""
    path, stacked = Path(name), None
    if path.suffix != ".onnx":
        path, stacked = folder / f"{name}.onnx", zoo.samples(name, RANDOM_SAMPLES)
        save_model(zoo.build(name), path)
    network = load_network(path, calibration=stacked)
    if stacked is None:
        samples = random_samples(network.source, RANDOM_SAMPLES, 0)
    else:
        samples = split_samples(network.source, stacked)
    (inputs,) = random_samples(network.source, 1, 1)
    return Case(
        path,
        network,
        layers=(),
        inputs=inputs,
        samples=samples if network.was_float else (),
        threads=threads,
        cpus=cpus_for(threads),
    )


def compare(name: str, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Measure a network; return a row for each arithmetic that both compute in."""
    with tempfile.TemporaryDirectory() as folder:
        case = case_of(name, Path(folder), threads)
        with pinned(case.cpus[:1]), entered(case, RIVALS) as (rivals, missing):
            for one in missing:
                print(f"{name}: without {one.title}: {one.reason}", file=sys.stderr)
            found = measure(
                rivals,
                rounds,
                Watch(case.cpus),
                quieten=quieten if threads > 1 else lambda: None,
            )
            right = {rival.key: correct(case, rival) for rival in rivals if rival.ours}
        opponents = {rival.arithmetic: rival for rival in rivals if not rival.ours}
        return [
            row(name, ours, opponents[ours.arithmetic], found.seconds)
            | {"equal": right[ours.key], "again": found.rejected, "disturbed": found.busy}
            for ours in rivals
            if ours.ours and ours.arithmetic in opponents
        ]


def correct(case: Case, rival: Rival) -> bool:
    """Whether the last results are those of the reference."""
    graph = case.network.integers if rival.exact else case.network.source
    expected = outputs(graph, case.inputs)
    return check_outputs(rival.outputs(), expected, rounded_outputs(graph)).equal


def row(name: str, ours: Rival, other: Rival, samples: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return what one arithmetic came to; times in seconds."""
    mine, its = figure(samples[ours.key]), figure(samples[other.key])
    found = ratio(samples[other.key], samples[ours.key])
    return {
        "network": Path(name).stem,
        "arithmetic": ours.arithmetic,
        "seconds": mine.median,
        "spread": mine.spread,
        "other": other.name,
        "other_seconds": its.median,
        "other_spread": its.spread,
        "ratio": found.median,
        "ratio_spread": found.spread,
    }


def geometric_means(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the geometric mean of the ratios of each arithmetic."""
    names = dict.fromkeys(one["arithmetic"] for one in rows)
    logs = {
        name: [log(one["ratio"]) for one in rows if one["arithmetic"] == name] for name in names
    }
    return {name: exp(float(np.mean(found))) for name, found in logs.items()}


def print_table(rows: list[dict[str, Any]], means: dict[str, float], threads: int) -> None:
    """Print a row for each network and arithmetic, and the geometric means."""
    titles = ("network", "", "equal", "LLVM", "spread", "ORT", "spread", "ratio", "disturbed")
    table = Table(*titles, box=None, padding=(0, 1))
    for column in table.columns[3:]:
        column.justify = "right"
    for one in rows:
        table.add_row(
            one["network"],
            one["arithmetic"],
            "yes" if one["equal"] else "NO",
            duration(one["seconds"]),
            per_cent(one["spread"]),
            duration(one["other_seconds"]),
            per_cent(one["other_spread"]),
            times(one["ratio"]),
            str(one["disturbed"] or ""),
        )
    for name, mean in means.items():
        table.add_row("geometric mean", name, "", "", "", "", "", times(mean), "")
    console = Console(width=110)
    console.print(f"{threads} thread{'s' * (threads > 1)} of {model_name()}")
    console.print(table)


def main() -> int:
    """Run from the command line; status 1 when a result was wrong."""
    parser = argparse.ArgumentParser(description="Networks on this CPU: LLVM and ONNX Runtime.")
    parser.add_argument("networks", nargs="*", metavar="NAME or FILE.onnx")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--repeat", type=int, default=ROUNDS, metavar="N", help="rounds")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.networks or NETWORKS:
        rows += compare(name, options.threads, options.repeat)
    means = geometric_means(rows)
    if options.json:
        document = {
            "cpu": model_name(),
            "threads": options.threads,
            "networks": rows,
            "geometric_means": means,
        }
        print(json.dumps(document, indent=1))
    else:
        print_table(rows, means, options.threads)
    return 0 if all(one["equal"] for one in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
