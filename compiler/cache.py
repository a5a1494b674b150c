"""Compiled networks kept in the user's cache, by what they were compiled from.

A file there is that of the module (`runtime.modulefile`) with one more member, `MEMBER`: what a
report and a check need besides, the layers and how tensors lie in device memory.
"""

import json
import os
import zipfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..isa.config import Config
from ..runtime.cache import cache_folder, trim
from ..runtime.module import Module, ModuleError
from ..runtime.native.jit import this_cpu
from ..runtime.native.programfile import DAMAGED
from .build import Compiled, LayerInfo, Progress, build_module
from .graph import Graph, Value
from .keys import key
from .passes.pack import Packed
from .passes.unfold import unfold

KEPT = 32
"""Networks that the cache holds; the ones not used for longest go first."""

MEMBER = "compiled.json"


def cached_module(
    graph: Graph,
    config: Config,
    *,
    keep: bool = False,
    measured: int = 6,
    on_cpu: Collection[str] = (),
    cpu_macs: float | None = None,
    progress: Progress | None = None,
) -> tuple[Compiled, bool]:
    """Return what `build_module` does, and whether it came from the user's cache.

    What cannot be read there is compiled again, and where nothing can be written nothing is kept.
    A kept network has no schedules: `LayerInfo.choice` is None.

    Raises
    ------
    GraphError
        As `build_module`.
    """

    def build() -> Compiled:
        return build_module(
            graph,
            config,
            keep=keep,
            measured=measured,
            on_cpu=on_cpu,
            cpu_macs=cpu_macs,
            progress=progress,
        )

    try:
        folder = cache_folder("vta")
    except OSError:
        return build(), False
    settings = (config, keep, measured, sorted(on_cpu), cpu_macs, this_cpu())
    path = folder / f"{key(graph, *settings)}.zip"
    with suppress(ModuleError, OSError, IndexError, *DAMAGED):
        compiled = _load(path, graph, config)
        with suppress(OSError):
            path.touch()
        return compiled, True
    compiled = build()
    with suppress(ModuleError, OSError):
        _save(compiled, path)
    trim(folder, "*.zip", KEPT)
    return compiled, False


def _save(compiled: Compiled, path: Path) -> None:
    """Write a network to a file, which exists whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        compiled.module.save(partial)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(MEMBER, json.dumps(_document(compiled)))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _load(path: Path, graph: Graph, config: Config) -> Compiled:
    module = Module.load(path)
    with zipfile.ZipFile(path) as archive:
        document: dict[str, Any] = json.loads(archive.read(MEMBER))
    graph = unfold(graph, config)
    values = _values(graph)
    made: list[Packed] = []
    tensors: list[dict[str, Any]] = document["tensors"]
    for one in tensors:
        number: int | None = one["whole"]
        whole = None if number is None else made[number]
        places = {name: tuple(one[name]) for name in ("tiles", "halo", "repeats")}
        kept = {**one, **places, "value": values[int(one["value"])], "whole": whole}
        made.append(Packed(config=config, **kept))
    pairs: list[tuple[int, int]] = document["packed"]
    packed = {values[number]: made[place] for number, place in pairs}
    layers: list[LayerInfo] = []
    for layer in document["layers"]:
        kept: dict[str, Any] = {**layer, "value": values[int(layer["value"])]}
        layers.append(LayerInfo(**kept))
    return Compiled(module, graph, tuple(layers), packed)


def _document(compiled: Compiled) -> dict[str, Any]:
    numbers = {value: number for number, value in enumerate(_values(compiled.graph))}
    layers = [
        {name: held for name, held in vars(layer).items() if name != "choice"}
        | {"value": numbers[layer.value]}
        for layer in compiled.layers
    ]
    made: dict[Packed, int] = {}
    for one in compiled.packed.values():
        for part in (*reversed(list(_wholes(one))), one):
            made.setdefault(part, len(made))
    tensors = [
        {name: held for name, held in vars(one).items() if name != "config"}
        | {"value": numbers[one.value], "whole": made[one.whole] if one.whole else None}
        for one in made
    ]
    packed = [(numbers[value], made[one]) for value, one in compiled.packed.items()]
    return {"layers": layers, "tensors": tensors, "packed": packed}


def _wholes(packed: Packed) -> Iterator[Packed]:
    """Yield what a tensor is a part of, what that is a part of, and so on."""
    while packed.whole is not None:
        packed = packed.whole
        yield packed


def _values(graph: Graph) -> list[Value]:
    """Return what a graph's inputs and nodes give, in their order."""
    return [*graph.inputs, *(value for node in graph.nodes for value in node.outputs)]
