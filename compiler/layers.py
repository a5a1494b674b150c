"""What a report says of a graph's layers: the operator that each is named after, and its work."""

from dataclasses import dataclass

from .graph import Graph, Node
from .ops.elementwise import Binary, Cast, Unary
from .ops.linear import Conv2d, ConvTranspose2d, Dense, MatMul
from .ops.pool import MaxPool2d, SumPool2d
from .ops.shape import Broadcast, Reshape


@dataclass(frozen=True)
class LayerWork:
    """A layer's operator, by ONNX's name where it has one, and its multiply-accumulates."""

    kind: str
    macs: int


def layer_work(graph: Graph) -> dict[str, LayerWork]:
    """Return the layers of a graph by name, in the order in which they begin."""
    nodes: dict[str, list[Node]] = {}
    for node in graph.nodes:
        nodes.setdefault(node.layer, []).append(node)
    return {
        name: LayerWork(operator_name(min(found, key=_rank)), sum(map(macs, found)))
        for name, found in nodes.items()
    }


def operator_name(node: Node) -> str:
    """Return ONNX's name of what a node does, where it has one, else our own."""
    match node.op:
        case Conv2d():
            return "Conv"
        case ConvTranspose2d():
            return "ConvTranspose"
        case Dense():
            return "Gemm"
        case MaxPool2d():
            return "MaxPool"
        case SumPool2d(window=window):
            whole = window == node.inputs[0].shape[2:]
            return "GlobalAveragePool" if whole else "AveragePool"
        case op:
            return type(op).__name__


def macs(node: Node) -> int:
    """Return the multiply-accumulates of an operator."""
    match node.op:
        case Conv2d():
            return node.output.size * node.inputs[1].size // node.inputs[1].shape[0]
        case ConvTranspose2d():  # a pixel's channels of one group, times all that they add to
            return node.inputs[0].size * node.inputs[1].size // node.inputs[1].shape[0]
        case Dense() | MatMul():
            return node.output.size * node.inputs[0].shape[-1]
        case _:
            return 0


def _rank(node: Node) -> int:
    """Return how little a node says of its layer."""
    if macs(node):
        return 0
    return 2 if isinstance(node.op, (Binary, Cast, Unary, Broadcast, Reshape)) else 1
