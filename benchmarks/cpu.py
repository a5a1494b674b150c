"""Whole networks on this CPU: our own code from LLVM beside ONNX Runtime and OpenVINO.

    python benchmarks/cpu.py [NAME or FILE.onnx ...] [--threads N] [--repeat N] [--json]

A NAME is a network of examples/zoo.py, in float. Each runs in three forms: float32, and quantized
by ONNX Runtime to int8 weights with uint8 or with int8 activations; all rivals read the same file.
"own" is our code for the integers that our own quantizer makes of the network. All take turns in
every round, warm and pinned; rounds in which others disturb are measured again, and others have
the fastest of their settings. A ratio is a rival's time over ours from the same file, or over
"own": the median over rounds. Below the table are their geometric means.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from vtakit.cli.compare_words import duration, times
from vtakit.cli.options import cpus_for
from vtakit.cli.rivals.contest import Candidate, entered
from vtakit.cli.rivals.cpus import model_name, pinned, quieten
from vtakit.cli.rivals.figures import figure, ratio
from vtakit.cli.rivals.measure import measure
from vtakit.cli.rivals.native import Native
from vtakit.cli.rivals.onnx_runtime import OnnxRuntime
from vtakit.cli.rivals.openvino import OpenVino
from vtakit.cli.rivals.ort_int8 import quantize
from vtakit.cli.rivals.rival import Case, Rival
from vtakit.cli.rivals.watch import Watch
from vtakit.compiler.check import check_outputs, rounded_outputs
from vtakit.compiler.graph import Graph
from vtakit.compiler.network import RANDOM_SAMPLES, load_network, split_samples
from vtakit.compiler.passes.quantize import random_samples
from vtakit.compiler.reference import outputs

NETWORKS = (*networks.NETWORKS, "mobilenetv2")
ROUNDS = 15
FORMS = ("uint8", "int8", "float32")
"""Of activations."""
OURS, OWN = "llvm", "llvm-own"
OTHERS = {"ort": "ORT", "openvino": "OV"}


@dataclass(frozen=True, eq=False)
class Entrant:
    """Who takes part: with which form, and of our own code, what it computes."""

    form: str
    kind: str
    rival: Rival
    graph: Graph | None = None

    def make(self, case: Case) -> Rival:
        """Return the rival, as a candidate's factory."""
        return self.rival


def case_of(name: str, folder: Path, threads: int) -> Case:
    """Return a network of the zoo or of a file, with inputs and samples to calibrate with."""
    path, stacked = Path(name), None
    if path.suffix != ".onnx":
        path, stacked = folder / f"{name}.onnx", zoo.samples(name, RANDOM_SAMPLES)
        save_model(zoo.build(name), path)
    network = load_network(path, calibration=stacked)
    if not network.was_float:
        raise SystemExit(f"{path} is quantized already; give the float model")
    if stacked is None:
        samples = random_samples(network.source, RANDOM_SAMPLES, 0)
    else:
        samples = split_samples(network.source, stacked)
    (inputs,) = random_samples(network.source, 1, 1)
    return Case(path, network, (), inputs, samples, threads, cpus_for(threads))


def entrants(case: Case, folder: Path) -> list[Entrant]:
    """Return all who take part."""
    found: list[Entrant] = []
    for form in FORMS:
        path, network = case.model, case.network
        if form != "float32":
            path = folder / f"{case.model.stem}-{form}.onnx"
            path.write_bytes(quantize(case, signed=form == "int8"))
            network = load_network(path)
        graph = network.source if form == "float32" else network.integers
        exact = form != "float32"
        ours = Native(f"{OURS}-{form}", case, graph, form, exact=exact)
        found.append(Entrant(form, OURS, ours, graph))
        found.append(Entrant(form, "ort", OnnxRuntime(f"ort-{form}", case, path, form)))
        found.append(Entrant(form, "openvino", OpenVino(f"openvino-{form}", case, path, form)))
    integers = case.network.integers
    own = Native(OWN, case, integers, "int8", exact=True)
    return [*found, Entrant("int8", OWN, own, integers)]


def compare(name: str, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Measure a network; return a row for each form."""
    with tempfile.TemporaryDirectory() as folder:
        case = case_of(name, Path(folder), threads)
        every = entrants(case, Path(folder))
        candidates = [Candidate(one.rival.key, one.make) for one in every]
        with pinned(case.cpus[:1]), entered(case, candidates) as (rivals, missing):
            for one in missing:
                print(f"{name}: without {one.title}: {one.reason}", file=sys.stderr)
            found = measure(
                rivals,
                rounds,
                Watch(case.cpus),
                quieten=quieten if threads > 1 else lambda: None,
            )
            equal = all(correct(case, one) for one in every)
        extra = {"equal": equal, "again": found.rejected, "disturbed": found.busy}
        return [row(name, form, every, found.seconds) | extra for form in FORMS]


def correct(case: Case, one: Entrant) -> bool:
    """Whether the last results of our own code are those of the reference."""
    if one.graph is None:
        return True
    expected = outputs(one.graph, case.inputs)
    return check_outputs(one.rival.outputs(), expected, rounded_outputs(one.graph)).equal


def row(
    name: str, form: str, every: Sequence[Entrant], samples: Mapping[str, list[float]]
) -> dict[str, Any]:
    """Return what one form came to; times in seconds."""
    taken = {
        one.kind: samples[one.rival.key]
        for one in every
        if (one.form == form or (one.kind == OWN and form != "float32"))
        and one.rival.key in samples
    }
    return {
        "network": Path(name).stem,
        "form": form,
        "seconds": {kind: vars(figure(found)) for kind, found in taken.items()},
        "ratios": {
            f"{other}/{mine}": vars(ratio(taken[other], taken[mine]))
            for other in OTHERS
            for mine in (OURS, OWN)
            if other in taken and mine in taken
        },
    }


def geometric_means(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the geometric means of the ratios of each form."""
    found: dict[str, dict[str, float]] = {}
    for form in FORMS:
        same = [one["ratios"] for one in rows if one["form"] == form]
        found[form] = {
            key: exp(float(np.mean([log(ratios[key]["median"]) for ratios in same])))
            for key in (same[0] if same else ())
        }
    return found


def print_table(
    rows: list[dict[str, Any]], means: dict[str, dict[str, float]], threads: int
) -> None:
    """Print a row for each network and form, and the geometric means."""
    pairs = [(other, mine) for mine in (OURS, OWN) for other in OTHERS]
    titles = [f"{OTHERS[other]} / {'LLVM' if mine == OURS else 'own'}" for other, mine in pairs]
    kinds = (OURS, OWN, *OTHERS)
    table = Table(
        *("network", "", "equal", "LLVM", "own", *OTHERS.values(), *titles, "disturbed"),
        box=None,
        padding=(0, 1),
    )
    for column in table.columns[3:]:
        column.justify = "right"
    for one in rows:
        table.add_row(
            one["network"],
            one["form"],
            "yes" if one["equal"] else "NO",
            *(_spread(one["seconds"].get(kind)) for kind in kinds),
            *(_times(one["ratios"].get(f"{a}/{b}", {}).get("median")) for a, b in pairs),
            str(one["disturbed"] or ""),
        )
    for form, mean in means.items():
        ratios = (_times(mean.get(f"{a}/{b}")) for a, b in pairs)
        table.add_row("(geometric mean)", form, *[""] * 5, *ratios, "")
    console = Console(width=170)
    console.print(f"{threads} thread{'s' * (threads > 1)} of {model_name()}")
    console.print(table)


def _spread(found: Mapping[str, float] | None) -> str:
    return f"{duration(found['median'])} ±{found['spread'] / 2:.1%}" if found else ""


def _times(found: float | None) -> str:
    return times(found) if found else ""


def main() -> int:
    """Run from the command line; status 1 when a result was wrong."""
    parser = argparse.ArgumentParser(
        description="Networks on this CPU: LLVM, ONNX Runtime, OpenVINO."
    )
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
