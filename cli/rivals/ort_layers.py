"""ONNX Runtime's time by layer: from its profile's events to the layers of our network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .rival import OTHER

Event = Mapping[str, Any]

RUN_ENDS = "model_run"
SUFFIX = "_kernel_time"

_DECORATED = re.compile(r"^fused (?P<one>.+)|(?P<two>.+?)(_token_\d+|_nchwc|_nhwc|/\w+Fusion)$")
"""Names that optimizations make of a node's, or of its output's."""


def load_named(model: str | bytes) -> tuple[str | bytes, Any]:
    """Return a model whose nodes all have names, to be opened and to be looked at.

    ONNX Runtime's profile can only tell by them which is which. A node without one gets that of its
    layer; the model is returned as it came where all have one, since it may have weights in files.
    """
    import onnx

    from ...compiler.importers.onnx_file import layer_name

    proto = onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(model)
    unnamed = [node for node in proto.graph.node if not node.name]
    if not unnamed:
        return model, proto
    for node in unnamed:
        node.name = layer_name(node)
    return proto.SerializeToString(), proto


def owners(model: Any, layers: Sequence[str]) -> dict[str, str]:
    """Return the layer that each node and each value of an ONNX model belongs to, by name.

    A node that gave a layer its name belongs to it; any other was fused into a layer before it: the
    latest of those that its inputs belong to. Weights and what is made of them belong to none.

        conv1, relu1, conv2, add(relu1, conv2)    →    relu1 to conv1, add to conv2
    """
    order = {name: place for place, name in enumerate(layers)}
    nodes: dict[str, str] = {}
    values = {value.name: value.name for value in model.graph.input if value.name in order}
    for node in model.graph.node:
        read = {values[name] for name in node.input if name in values}
        layer = node.name if node.name in order else max(read, key=order.__getitem__, default=None)
        if layer is not None:
            nodes[node.name] = layer
            values.update((name, layer) for name in node.output if name)
    return values | nodes


def read_profile(path: Path) -> list[Event]:
    """Return the events of a profile's file."""
    return json.loads(path.read_text())


def seconds_by_layer(events: Sequence[Event], owner: Mapping[str, str]) -> dict[str, float]:
    """Return the mean seconds of an inference by layer; `OTHER` for what no layer owns.

    The mean is over the faster half of the runs. Events count whole microseconds, rounded down.
    """
    runs: list[tuple[float, dict[str, float]]] = []
    current: dict[str, float] = {}
    for event in events:
        seconds = event["dur"] / 1e6
        if event["cat"] == "Node" and event["name"].endswith(SUFFIX):
            layer = owner_of(event["name"].removesuffix(SUFFIX), owner)
            current[layer] = current.get(layer, 0.0) + seconds
        elif event["name"] == RUN_ENDS:
            runs.append((sum(current.values()), current))
            current = {}
    runs.sort(key=lambda run: run[0])
    kept = [run for _, run in runs[: (len(runs) + 1) // 2]]
    names = dict.fromkeys(name for run in kept for name in run)
    return {name: sum(run.get(name, 0.0) for run in kept) / len(kept) for name in names}


def owner_of(name: str, owner: Mapping[str, str]) -> str:
    """Return the layer of an operator that ONNX Runtime ran, by its name.

    fused fc1  →  of fc1        relu1.output_nchwc  →  of relu1.output
    conv1_token_4  →  of conv1  ReorderOutput       →  OTHER
    """
    while name not in owner:
        match = _DECORATED.match(name)
        if match is None:
            return OTHER
        name = match["one"] or match["two"]
    return owner[name]
