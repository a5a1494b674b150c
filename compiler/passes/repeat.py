"""Repeating: images that become larger ones by repeating each of their pixels."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..graph import DType, Graph, Node, Value
from ..ops.shape import Gather
from .partition import Placed

Repeats = tuple[int, int]
"""How many rows and columns of the larger image a pixel fills."""


def repeated(
    items: Sequence[Placed], graph: Graph
) -> list[tuple[tuple[Value, ...], Value, Repeats]]:
    """Return images that only the CPU reads, to repeat their pixels.

        y = Gather(axis=2)(x, [0, 0, 1, 1, 2, 2]); z = Gather(axis=3)(y, [0, 0, 1, 1])
            →  (x, y), z, (2, 2)

    With each come the values before the larger image, that image and the repeats.
    """
    readers = Counter(value for item in items for value in set(item.inputs))
    readers.update(graph.outputs)
    found: dict[Value, tuple[tuple[Value, ...], Repeats]] = {}
    for item in items:
        node = item.group.nodes[0]
        times = _times(node, graph) if item.layer is None and len(item.group.nodes) == 1 else 1
        source = node.inputs[0]
        if times == 1 or readers[source] > 1:
            continue
        chain, (rows, cols) = found.pop(source, ((), (1, 1)))
        assert isinstance(node.op, Gather)
        repeats = (rows * times, cols) if node.op.axis == 2 else (rows, cols * times)
        found[node.output] = ((*chain, source), repeats)
    return [(chain, large, repeats) for large, (chain, repeats) in found.items()]


def _times(node: Node, graph: Graph) -> int:
    """Return how often a Gather repeats each row or column of int8 images; 1 for another node."""
    op, source = node.op, node.inputs[0]
    if not isinstance(op, Gather) or op.axis not in (2, 3):
        return 1
    indices = graph.constants.get(node.inputs[1])
    if indices is None or source.dtype is not DType.INT8 or len(source.shape) != 4:
        return 1
    extent = source.shape[op.axis]
    times = indices.size // extent
    whole = times > 1 and np.array_equal(indices, np.repeat(np.arange(extent), times))
    return times if whole else 1
