"""Networks of the examples, read once."""

import functools
from pathlib import Path

import zoo
from vtakit.compiler.graph import Graph
from vtakit.compiler.network import RANDOM_SAMPLES, Network, load_network

KINDS = ("int8", "float32")
DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"


@functools.cache
def network(name: str, folder: Path) -> Network:
    """Return a network of the zoo, or the digits."""
    if name == "digits":
        return load_network(DIGITS)
    path = folder / f"{name}.onnx"
    path.write_bytes(zoo.build(name).SerializeToString())
    return load_network(path, calibration=zoo.samples(name, RANDOM_SAMPLES))


def graph(name: str, kind: str, folder: Path) -> Graph:
    """Return a network in integers, or as it was given."""
    found = network(name, folder)
    return found.integers if kind == "int8" else found.source
