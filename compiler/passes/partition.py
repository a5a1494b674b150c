"""Partitioning: which groups run on VTA, which on the CPU, and why."""

from collections.abc import Mapping
from dataclasses import dataclass

from ...isa.config import Config
from ..graph import DType, Graph, Node, Value
from ..ops.shape import Reshape
from ..vta.layer import Layer, Unsupported, image, match
from ..vta.tiling import TilingError, candidates
from .fuse import Group, fuse


@dataclass(frozen=True, eq=False)
class Placed:
    """A group and where it runs: on VTA as `layer`, or on the CPU for `reason`."""

    group: Group
    layer: Layer | None
    reason: str = ""

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The values it reads; a layer may see through a Reshape."""
        return self.layer.inputs if self.layer else self.group.inputs


def partition(
    graph: Graph, config: Config, refused: Mapping[Value, str] | None = None
) -> tuple[Placed, ...]:
    """Place every group that the outputs need, in topological order.

    A group runs on VTA when it is a layer that the machine has instructions for, some tiling of it
    fits the buffers, and the halos that readers of one tensor ask for agree. `refused` holds, by
    their outputs, layers that have turned out not to, and why.
    """
    placed: list[Placed] = []
    halos: dict[Value, int] = {}
    for group in fuse(graph):
        try:
            layer = match(group, graph)
            if refused and layer.output in refused:
                raise Unsupported(refused[layer.output])
            candidates(layer.workload(config), config)
            _agree(layer, halos, graph)
            placed.append(Placed(group, layer))
        except (Unsupported, TilingError) as reason:
            placed.append(Placed(group, None, str(reason)))
    return _needed(graph, placed)


def is_view(placed: Placed) -> bool:
    """Return whether a group only renames (N, C, 1, 1) as (N, C) or back: the same tiles."""
    if placed.layer is not None or len(placed.group.nodes) != 1:
        return False
    return _renames(placed.group.nodes[0])


def _renames(node: Node) -> bool:
    if not isinstance(node.op, Reshape):
        return False
    source, target = node.inputs[0], node.output
    if not {len(source.shape), len(target.shape)} <= {2, 4}:
        return False
    return source.dtype is DType.INT8 and image(source) == image(target)


def _agree(layer: Layer, halos: dict[Value, int], graph: Graph) -> None:
    """Note the halo that a layer wants around its input; Unsupported where another differs."""
    if layer.halo is None or layer.data is None:
        return
    source = layer.data
    while (node := graph.producer(source)) is not None and _renames(node):
        source = node.inputs[0]
    other = halos.setdefault(source, layer.halo)
    if other != layer.halo:
        raise Unsupported(
            f"it wants {source.name} surrounded by {layer.halo}, and another layer by {other}"
        )


def _needed(graph: Graph, placed: list[Placed]) -> tuple[Placed, ...]:
    wanted = set(graph.outputs)
    kept: list[Placed] = []
    for item in reversed(placed):
        if wanted.intersection(item.group.outputs):
            wanted.update(item.inputs)
            kept.append(item)
    return tuple(reversed(kept))
