"""Fusing: the primitive operators that must run together become one group."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..graph import DType, Graph, Node, Value


@dataclass(frozen=True, eq=False)
class Group:
    """Nodes that run as one: a layer on VTA, or operators on the CPU.

    `nodes` are in topological order; `inputs` are the values they read that neither they compute
    nor the graph holds as constants; `outputs` are those that others, or the graph's user, read.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def layer(self) -> str:
        """The source layer that it is named after: its first node's."""
        return self.nodes[0].layer


def fuse(graph: Graph) -> tuple[Group, ...]:
    """Join the nodes that hand each other int32 values, which only live in accumulators.

        conv: int8 -> int32, add: int32, shift: int32, cast: int32 -> int8, softmax: float
            →  [conv, add, shift, cast], [softmax]

    Bias, requantization, activation and residual addition so end up with the convolution that
    they follow, whatever they are. Groups come in topological order. Where joining would make
    two groups wait for each other, their nodes stay single.
    """
    component = _components(graph)
    groups: dict[int, list[Node]] = {}
    for index, node in enumerate(graph.nodes):
        groups.setdefault(component[index], []).append(node)
    while True:
        ordered, stuck = _order(graph, list(groups.values()))
        if not stuck:
            return tuple(_group(graph, nodes) for nodes in ordered)
        knot = _knot(graph, stuck)
        groups = dict(
            enumerate(
                [nodes for nodes in groups.values() if nodes is not knot]
                + [[node] for node in knot]
            )
        )


def _components(graph: Graph) -> list[int]:
    """Return for each node the least index of a node that int32 values join it to."""
    parent = list(range(len(graph.nodes)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    made_by = {value: i for i, node in enumerate(graph.nodes) for value in node.outputs}
    for index, node in enumerate(graph.nodes):
        for value in node.inputs:
            if value.dtype is DType.INT32 and value in made_by:
                low, high = sorted((root(index), root(made_by[value])))
                parent[high] = low
    return [root(index) for index in range(len(parent))]


def _order(graph: Graph, groups: Iterable[list[Node]]) -> tuple[list[list[Node]], list[list[Node]]]:
    """Return the groups in an order that computes values before they are read, and the rest."""
    ready = set(graph.inputs) | set(graph.constants)
    waiting = list(groups)
    ordered: list[list[Node]] = []
    while waiting:
        still: list[list[Node]] = []
        for nodes in waiting:
            own = {value for node in nodes for value in node.outputs}
            if all(value in ready or value in own for node in nodes for value in node.inputs):
                ready |= own
                ordered.append(nodes)
            else:
                still.append(nodes)
        if len(still) == len(waiting):
            return ordered, still
        waiting = still
    return ordered, []


def _knot(graph: Graph, stuck: list[list[Node]]) -> list[Node]:
    """Return a group of those that nothing can run before, whose nodes must stay single.

    The nodes of one alone can be such that others must run between them; or those of two, each
    reading what the other computes, in which case either does.
    """
    single = [[node] for node in graph.nodes]
    alone = (nodes for nodes in stuck if _waits_for_itself(nodes, single))
    return next(alone, None) or next(nodes for nodes in stuck if _waits_for_itself(nodes, stuck))


def _waits_for_itself(nodes: list[Node], units: list[list[Node]]) -> bool:
    """Return whether units other than `nodes` read what these compute and compute what they read.

    A unit runs as a whole: once it reads something, all that it computes comes after that.
    """
    own = {value for node in nodes for value in node.outputs}
    others = [unit for unit in units if not set(nodes).issuperset(unit)]
    reached = set(own)
    count = 0
    while len(reached) > count:
        count = len(reached)
        for unit in others:
            if any(not reached.isdisjoint(node.inputs) for node in unit):
                reached.update(value for node in unit for value in node.outputs)
    return any(value in reached - own for node in nodes for value in node.inputs)


def _group(graph: Graph, nodes: list[Node]) -> Group:
    own = {value for node in nodes for value in node.outputs}
    read = dict.fromkeys(value for node in nodes for value in node.inputs)
    inside = set(nodes)
    outputs = [
        value
        for node in nodes
        for value in node.outputs
        if value in graph.outputs or any(user not in inside for user in graph.consumers(value))
    ]
    inputs = [value for value in read if value not in own and value not in graph.constants]
    return Group(tuple(nodes), tuple(inputs), tuple(outputs))
