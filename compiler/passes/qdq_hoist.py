"""Quantizing a layer's result before it is moved, where a model does so after."""

from ..builder import GraphBuilder
from ..graph import Graph, Node, Value
from ..ops.elementwise import Add, Maximum, Minimum, Mul
from ..ops.quantize import DequantizeLinear, QuantizeLinear
from ..ops.shape import Reshape, Slice, Transpose

MOVES = (Reshape, Transpose, Slice)
"""What moves elements and makes none."""

STEPS = (Add, Maximum, Minimum, Mul)
"""What, of one tensor and a scalar, does the same to every element, wherever it is."""


def hoist(graph: Graph) -> Graph:
    """Return a graph in which layers are quantized before their result is moved.

        Conv, Transpose, Relu,    →    Conv, Relu, QuantizeLinear,
        QuantizeLinear                 Transpose

    Where nothing else reads what is between; the scale has to be one number. A transposed
    convolution, which is a convolution whose channels then change places, so is a layer of
    integers.
    """
    chains = {node: chain for node in graph.nodes if (chain := _chain(graph, node))}
    inside = {part for chain in chains.values() for part in chain}
    builder = GraphBuilder(graph.name)
    builder.reserve(value.name for value in graph.values)
    new: dict[Value, Value] = {}
    for value in graph.inputs:
        builder.adopt_input(value)
        new[value] = value
    for value, array in graph.constants.items():
        new[value] = builder.adopt(value, array)

    def add(node: Node, *inputs: Value) -> tuple[Value, ...]:
        return builder.add_many(node.op, *inputs, layer=node.layer)

    for node in graph.nodes:
        if node in inside:
            continue
        chain = chains.get(node)
        if chain is None:
            made = add(node, *(new[value] for value in node.inputs))
            new.update(zip(node.outputs, made, strict=True))
            continue
        steps = [part for part in chain if not isinstance(part.op, MOVES)]
        moves = [part for part in chain if isinstance(part.op, MOVES)]
        moved = {part.inputs[_data(graph, part)] for part in chain} | {node.inputs[0]}
        at = new[chain[0].inputs[_data(graph, chain[0])]]
        for part in (*steps, node):
            inputs = [at if value in moved else new[value] for value in part.inputs]
            (at,) = add(part, *inputs)
        for part in moves:
            (at,) = add(part, at)
        new[node.output] = at
    result = builder.build([new[value] for value in graph.outputs])
    computed = {value for node in result.nodes for value in node.outputs}
    names = {value: old.name for old, value in new.items() if value in computed}
    return result.rename(names)


def _chain(graph: Graph, node: Node) -> list[Node]:
    """Return what is between a layer and `node`, if that quantizes its moved result."""
    if not isinstance(node.op, QuantizeLinear) or node.inputs[1].shape:
        return []
    chain: list[Node] = []
    value = node.inputs[0]
    while True:
        part = graph.producer(value)
        if part is None or isinstance(part.op, DequantizeLinear):
            return []
        alone = graph.only_consumer(value) is not None
        place = _data(graph, part) if isinstance(part.op, (*MOVES, *STEPS)) else -1
        if not alone or place < 0:
            break
        chain.insert(0, part)
        value = part.inputs[place]
    while chain and not isinstance(chain[0].op, MOVES):
        chain.pop(0)
    return chain


def _data(graph: Graph, node: Node) -> int:
    """Return which input is moved or changed element by element; -1 when there is none."""
    if isinstance(node.op, MOVES):
        return 0
    places = [
        place
        for place, value in enumerate(node.inputs)
        if value not in graph.constants or value.shape
    ]
    data = [place for place in places if node.inputs[place].shape == node.output.shape]
    return data[0] if len(places) == len(data) == 1 else -1
