"""Unfolding: window positions as channels, where an image has fewer than a tile of the machine.

A matrix unit that multiplies blocks of 16 channels does 3 of 16 products of a first layer. With
its window, or a row of it, as channels it does nearly all; the host, which makes the image anyway,
lays the windows out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...isa.config import Config
from ..builder import GraphBuilder
from ..graph import DType, Graph, Node, Value
from ..ops.elementwise import Cast
from ..ops.linear import Conv2d
from ..ops.pool import MaxPool2d
from ..ops.shape import Pad, Reshape, Unfold
from ..vta.layer import image


def unfold(graph: Graph, config: Config) -> Graph:
    """Return the graph with the windows of first layers as channels where that takes fewer cycles.

        int32(1, 64, 112, 112) = Conv2d(7x7, strides 2, pads 3)(x: int8(1, 3, 224, 224), w)
            →  Pad(x), Unfold(7x7, strides 2), Conv2d(1x1)(int8(1, 147, 112, 112), w)

    Of int8 images that no layer on VTA computes, convolved by constants. Values keep their names.
    """
    ways = {node: way for node in graph.nodes if (way := _way(graph, node, config)) is not None}
    if not ways:
        return graph
    builder = GraphBuilder(graph.name)
    builder.reserve(value.name for value in graph.values)
    nodes: list[Node] = []
    for node in graph.nodes:
        if node in ways:
            builder.nodes.clear()
            changed = _unfolded(graph, node, ways[node], builder)
            nodes += [*builder.nodes, changed]
        else:
            nodes.append(node)
    constants = {**graph.constants, **builder.constants}
    return replace(graph, nodes=tuple(nodes), constants=constants).prune().verify()


@dataclass(frozen=True)
class _Way:
    """Which part of a window becomes channels: rows and columns of it."""

    rows: int
    cols: int


def _way(graph: Graph, node: Node, config: Config) -> _Way | None:
    """Return the way to unfold what a node reads that takes the fewest cycles; None for none."""
    op, weights = node.op, graph.constants.get(node.inputs[-1])
    if not isinstance(op, Conv2d) or op.groups > 1 or weights is None:
        return None
    data = node.inputs[0]
    if data.dtype is not DType.INT8 or data in graph.constants or _on_vta(graph, data):
        return None
    ways = list(_ways(weights))
    cycles = [_cycles(op, data, node.output, weights, way, config) for way in ways]
    best = ways[cycles.index(min(cycles))]
    return None if best == ways[0] else best


def _on_vta(graph: Graph, value: Value) -> bool:
    """Return whether a layer on VTA can have made a value, or the one that it is a view of."""
    maker = graph.producer(value)
    while maker is not None and isinstance(maker.op, Reshape):
        maker = graph.producer(maker.inputs[0])
    return maker is not None and isinstance(maker.op, Cast | MaxPool2d)


def _ways(weights: NDArray[np.generic]) -> Iterator[_Way]:
    """Yield what there is to choose from, first that nothing is unfolded."""
    _, _, rows, cols = weights.shape
    yield from dict.fromkeys((_Way(1, 1), _Way(1, cols), _Way(rows, 1), _Way(rows, cols)))


def _cycles(
    op: Conv2d,
    data: Value,
    result: Value,
    weights: NDArray[np.generic],
    way: _Way,
    config: Config,
) -> tuple[int, int]:
    """Return the cycles at least, for products or to load the image, then those to load it."""
    n, channels, rows, cols = image(data)
    _, outputs, out_rows, out_cols = image(result)
    _, _, kh, kw = weights.shape
    blocks = -(-channels * way.rows * way.cols // config.block_in)
    batches = -(-n // config.batch)
    pixels = (out_rows if way.rows > 1 else rows) * (out_cols if way.cols > 1 else cols)
    loads = batches * blocks * pixels * -(-config.inp_tile_bytes // config.bus_bytes)
    products = batches * -(-outputs // config.block_out) * out_rows * out_cols * blocks
    products *= (kh // way.rows) * (kw // way.cols)
    return max(products, loads), loads


def _unfolded(graph: Graph, node: Node, way: _Way, builder: GraphBuilder) -> Node:
    """Add what unfolds the image that a convolution reads, and return what convolves that."""
    op, (data, kernel) = node.op, node.inputs
    assert isinstance(op, Conv2d)
    weights = graph.constants[kernel]
    outputs, channels, kh, kw = weights.shape
    whole = way.rows > 1, way.cols > 1
    if any(op.pads):
        top, left, bottom, right = op.pads
        before, after = (0, 0, top, left), (0, 0, bottom, right)
        data = builder.add(Pad(before, after, op.pad_value), data, layer=node.layer)
    windows = Unfold(
        (way.rows, way.cols),
        (op.strides[0] if whole[0] else 1, op.strides[1] if whole[1] else 1),
        (op.dilations[0] if whole[0] else 1, op.dilations[1] if whole[1] else 1),
    )
    data = builder.add(windows, data, layer=node.layer)
    parts = weights.reshape(outputs, channels, way.rows, kh // way.rows, way.cols, kw // way.cols)
    matrix = parts.transpose(0, 1, 2, 4, 3, 5).reshape(outputs, -1, kh // way.rows, kw // way.cols)
    left_over = Conv2d(
        (1 if whole[0] else op.strides[0], 1 if whole[1] else op.strides[1]),
        (0, 0, 0, 0),
        (1 if whole[0] else op.dilations[0], 1 if whole[1] else op.dilations[1]),
    )
    made = builder.constant(np.ascontiguousarray(matrix), f"{kernel.name}.unfolded")
    return replace(node, op=left_over, inputs=(data, made))
