"""Networks quantized by ONNX Runtime: the outputs of the VTA run beside ONNX Runtime's own.

    python benchmarks/agreement.py [NAME ...] [--pictures N] [--config CONFIG] [--json]

NAME is one of the zoo or `digits`; each is quantized by `quantize_static` in four ways. ONNX
Runtime runs each as a session does by default, with int8 kernels for int8 activations (the entry
`session.qdqisint8allowed`), and without graph optimizations, which is in float. `equal`, `within 1`
and `most` tell how many units of the last place the outputs are apart, `same class` whether the
greatest output is the same. `unproved` is the share of all possible sums, over all channels of all
layers, for which VTA's result is not the integer kernel's; nan where some layer has no such kernel.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import numpy as np
import onnx
import onnxruntime as ort
import zoo
from files import load_arrays, load_model, save_model
from numpy.typing import NDArray
from quantize import Activations, Scheme, quantize
from rich.console import Console
from rich.table import Table
from vtakit.compiler.build import build_module
from vtakit.compiler.check import check_run
from vtakit.compiler.network import load_network, split_samples
from vtakit.isa.config import Config, load_config
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.session import Session

NAMES = ("digits", "mlp", "lenet5", "resnet8", "resnet18")
PICTURES = {"resnet18": 4}
"""How many, where it is not MOST_PICTURES."""
MOST_PICTURES = 450
DIGITS = Path(__file__).parents[1] / "examples" / "digits"
SCHEMES = [Scheme(kind, channels) for kind, channels in product(Activations, (True, False))]
SESSIONS = {"default": "", "int8": "session.qdqisint8allowed", "unoptimized": ""}

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Run:
    """What VTA gave for the pictures, stacked, and what it took."""

    outputs: NDArray[Any]
    layers_equal: bool
    unproved: float
    cycles: int
    compile_seconds: float


def pictures(name: str, count: int) -> Arrays:
    """Pictures to compare on, stacked, by the input's name; not those of the calibration."""
    if name != "digits":
        return zoo.samples(name, count, seed=1)
    (key,) = (value.name for value in load_model(DIGITS / "digits.onnx").graph.input)
    return {key: load_arrays(DIGITS / "test.npz")["images"][:count]}


def quantized(name: str, scheme: Scheme) -> onnx.ModelProto:
    """The network as `quantize_static` writes it."""
    if name == "digits":
        calibration = load_arrays(DIGITS / "calibration.npz")
        return quantize(load_model(DIGITS / "digits.onnx"), calibration, scheme)
    return quantize(zoo.build(name), zoo.samples(name, zoo.CALIBRATION_SAMPLES), scheme)


def last_place(model: onnx.ModelProto) -> float:
    """The scale of the output."""
    scales = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    output = model.graph.output[0].name
    (node,) = (node for node in model.graph.node if output in node.output)
    return float(scales[node.input[1]])


def run_vta(path: Path, stacked: Arrays, config: Config) -> Run:
    """Compile a network and run it; every layer of the first run is checked."""
    begun = time.perf_counter()
    network = load_network(path)
    compiled = build_module(network.integers, config, keep=True)
    seconds = time.perf_counter() - begun
    found: list[NDArray[Any]] = []
    with open_device("sim", config) as device, Session(compiled.module, device) as session:
        inputs = split_samples(network.source, stacked)
        report = session.run(inputs[0])
        equal = check_run(compiled, session, report, inputs[0]).equal
        for picture in inputs:
            (output,) = session.run(picture).outputs.values()
            found.append(output)
    sums = sum(item.sums for item in network.agreements)
    differing = sum(item.differing or 0 for item in network.agreements)
    unproved = differing / sums
    if any(item.differing is None for item in network.agreements):
        unproved = float("nan")
    assert report.cycles is not None
    return Run(np.concatenate(found), equal, unproved, report.cycles, seconds)


def run_onnx_runtime(path: Path, stacked: Arrays, kind: str) -> NDArray[np.float32]:
    """The outputs of ONNX Runtime, picture by picture, on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if SESSIONS[kind]:
        options.add_session_config_entry(SESSIONS[kind], "1")
    if kind == "unoptimized":
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    count = len(next(iter(stacked.values())))
    feeds = [{name: array[i : i + 1] for name, array in stacked.items()} for i in range(count)]
    return np.concatenate([np.asarray(session.run(None, feed)[0]) for feed in feeds])


def measure(name: str, scheme: Scheme, count: int, config: Config) -> list[dict[str, Any]]:
    """Compare one quantized network with each kind of session."""
    stacked = pictures(name, count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        model = quantized(name, scheme)
        save_model(model, path)
        ours = run_vta(path, stacked, config)
        kinds = [kind for kind in SESSIONS if kind != "int8" or scheme.activations.value == kind]
        theirs = {kind: run_onnx_runtime(path, stacked, kind) for kind in kinds}
    rows: list[dict[str, Any]] = []
    for kind, outputs in theirs.items():
        apart = np.rint(np.abs(ours.outputs - outputs) / last_place(model))
        rows.append({
            "name": name,
            "activations": scheme.activations.value,
            "per_channel": scheme.per_channel,
            "session": kind,
            "pictures": len(outputs),
            "equal": float((apart == 0).mean()),
            "within_1": float((apart <= 1).mean()),
            "most": int(apart.max()),
            "same_class": float((ours.outputs.argmax(1) == outputs.argmax(1)).mean()),
            "layers_equal": ours.layers_equal,
            "unproved": ours.unproved,
            "cycles": ours.cycles,
            "compile_seconds": ours.compile_seconds,
        })  # fmt: skip
    return rows


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print a row for each network, scheme and session."""
    titles = ("network", "activations", "weights", "ONNX Runtime", "pictures", "equal", "within 1")
    more = ("most", "same class", "layers", "unproved", "cycles", "compile s")
    table = Table(*titles, *more, box=None)
    for column in table.columns[4:]:
        column.justify = "right"
    for row in rows:
        table.add_row(
            row["name"],
            row["activations"],
            "per channel" if row["per_channel"] else "per tensor",
            row["session"],
            str(row["pictures"]),
            f"{100 * row['equal']:.2f} %",
            f"{100 * row['within_1']:.2f} %",
            str(row["most"]),
            f"{100 * row['same_class']:.2f} %",
            "equal" if row["layers_equal"] else "NOT EQUAL",
            f"{row['unproved']:.1e}",
            f"{row['cycles']:,}",
            f"{row['compile_seconds']:.1f}",
        )
    Console(width=160).print(table)


def main() -> int:
    """Run from the command line; status 1 when a layer on VTA was wrong."""
    parser = argparse.ArgumentParser(description="Outputs on VTA beside ONNX Runtime's.")
    parser.add_argument("names", nargs="*", metavar="NAME", default=NAMES)
    parser.add_argument("--pictures", type=int, metavar="N", help="how many of each network")
    parser.add_argument("--config", default="default", help="a preset or a JSON file")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    config = load_config(options.config)
    rows: list[dict[str, Any]] = []
    for name, scheme in product(options.names or NAMES, SCHEMES):
        count = options.pictures or PICTURES.get(name, MOST_PICTURES)
        rows += measure(name, scheme, count, config)
    if options.json:
        print(json.dumps({"config": config.to_json(), "networks": rows}, indent=1))
    else:
        print_table(rows)
    return 0 if all(row["layers_equal"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
