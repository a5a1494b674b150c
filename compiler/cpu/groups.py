"""Which operators run as one loop nest on a CPU, and how each value lies in memory."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..graph import DType, Graph, Node, Value
from ..ops.linear import Conv2d, Dense
from ..ops.pool import MaxPool2d, SumPool2d
from ..ops.qlinear import QLinearAveragePool
from ..ops.shape import Broadcast, Concat, Gather, Pad, Reshape, Slice, Transpose, Unfold
from .elementwise import ELEMENTWISE
from .stored import BLOCK, NO_HALO, Halo, Stored, image, is_image

ANCHORS = (Conv2d, Dense, MaxPool2d, SumPool2d, QLinearAveragePool)
"""What works on images in blocks of channels."""

MOVES = (Reshape, Transpose, Broadcast, Slice, Pad, Concat, Gather, Unfold)
"""What only moves elements, and can give its result in any form."""

SMALL = {DType.INT8: 4, DType.FLOAT32: 1}
"""Channels of a block where there are as few: a dot product's bytes, or one number."""


@dataclass(eq=False)
class Group:
    """Nodes that become one kernel: the first, and element-wise ones that only it feeds.

    A group without nodes copies `source` into another form.
    """

    nodes: list[Node]
    source: Stored | None = None
    results: list[Stored] = field(default_factory=list[Stored])

    @property
    def anchor(self) -> Node | None:
        """The node that is not element by element, if there is one."""
        first = self.nodes[0] if self.nodes else None
        return None if first is None or isinstance(first.op, ELEMENTWISE) else first

    @property
    def output(self) -> Value:
        """What it computes."""
        if self.source is not None:
            return self.source.value
        return self.nodes[-1].output

    @property
    def layer(self) -> str:
        """The layer that it is named after."""
        return self.nodes[0].layer if self.nodes else ""


@dataclass
class Plan:
    """Groups in the order in which they run, and where each value lies.

    Attributes
    ----------
    stored : dict of Value to list of Stored
        The form that it is made in, then the copies of it.
    data : dict of Group to Stored
        What an anchor on images reads.
    signed : bool
        Whether int8 stays int8 in blocks.
    """

    groups: list[Group]
    stored: dict[Value, list[Stored]]
    data: dict[Group, Stored]
    signed: bool = False

    def before(self, group: Group) -> dict[Value, list[Stored]]:
        """Return the forms that there are of each value when a group begins."""
        later = {form for one in self.groups[self.groups.index(group) :] for form in one.results}
        return {
            value: [form for form in forms if form not in later]
            for value, forms in self.stored.items()
        }

    def copy(self, value: Value, form: Stored) -> None:
        """Add a group that copies a value, as it lies so far, into another form."""
        known = self.stored.setdefault(value, [])
        self.groups.append(Group([], known[0] if known else Stored(value), [form]))
        known.append(form)


def plan(
    graph: Graph,
    constants: Mapping[Value, NDArray[np.generic]],
    *,
    signed: bool = False,
    stored: Mapping[Value, Sequence[Stored]] | None = None,
    tiles: Mapping[Value, Stored] | None = None,
    rows: Collection[Value] | None = None,
) -> Plan:
    """Return the groups of a graph, each value in the form that its readers want.

    Parameters
    ----------
    graph : Graph
    constants : mapping of Value to array
    signed : bool
        Whether int8 stays int8 in blocks.
    stored : mapping of Value to sequence of Stored
        How inputs lie; row by row, without.
    tiles : mapping of Value to Stored
        Forms in which results must lie, in an accelerator's memory.
    rows : collection of Value
        Results that are wanted row by row; all of the graph's, without.
    """
    groups = _grouped(graph)
    wanted = _wanted(graph, groups, constants)
    tiles, rows = tiles or {}, graph.outputs if rows is None else rows
    known = {value: list(forms) for value, forms in (stored or {}).items()}
    made = Plan([], known, {}, signed)
    for value in (*graph.inputs, *(value for value in graph.outputs if not value.size)):
        made.stored.setdefault(value, [Stored(value)])
    for group in groups:
        anchor = group.anchor
        if anchor is not None and isinstance(anchor.op, ANCHORS):
            source = data_of(graph, anchor)
            dots = is_dot(anchor, source, constants)
            made.data[group] = _form(made, source, wanted[source][anchor], dots)
        tile, end = tiles.get(group.output), group.output in rows
        if tile is not None and _gives(group, tile):
            form = tile
        else:
            form = _made(graph, group, made, wanted, end and not graph.consumers(group.output))
        group.results.append(form)
        made.stored[group.output] = [form]
        made.groups.append(group)
        if tile is not None and tile is not form:
            made.copy(group.output, tile)
    return made


def is_dot(anchor: Node, data: Value, constants: Mapping[Value, NDArray[np.generic]]) -> bool:
    """Return whether an anchor is sums of products over whole blocks of channels."""
    weights = constants.get(anchor.inputs[1]) if len(anchor.inputs) > 1 else None
    if weights is None or not isinstance(anchor.op, Conv2d | Dense):
        return False
    groups = anchor.op.groups if isinstance(anchor.op, Conv2d) else 1
    inner, outer = image(data.shape)[1] // groups, weights.shape[0] // groups
    return groups == 1 or (inner % BLOCK == 0 and outer % BLOCK == 0)


def _gives(group: Group, form: Stored) -> bool:
    """Return whether a group can give its result in a form other than its own."""
    anchor = group.anchor
    if anchor is None or isinstance(anchor.op, MOVES):
        return True
    return isinstance(anchor.op, ANCHORS) and form.blocked


def data_of(graph: Graph, anchor: Node) -> Value:
    """Return the image that an anchor reads: for a dense layer on flattened images, the images."""
    data = anchor.inputs[0]
    source = graph.producer(data)
    if isinstance(anchor.op, Dense) and source is not None and isinstance(source.op, Reshape):
        images = source.inputs[0]
        if len(images.shape) == 4 and images.shape[0] == data.shape[0]:
            return images
    return data


def _grouped(graph: Graph) -> list[Group]:
    """Join element-wise nodes to those that only they read, of operators the last."""
    tails: dict[Value, Group] = {}
    order: dict[Group, int] = {}
    seen = _needed(graph)
    for position, node in enumerate(graph.nodes):
        if node not in seen:
            continue
        joined: list[Group] = []
        if isinstance(node.op, ELEMENTWISE):
            for value in dict.fromkeys(node.inputs):
                group = tails.get(value)
                alone = graph.only_consumer(value) is node and value.shape == node.output.shape
                if group is not None and alone and _takes(group):
                    joined.append(group)
        anchored = [group for group in joined if group.anchor is not None]
        latest = max(anchored or joined, key=lambda group: order[group], default=None)
        chosen = latest or Group([])
        for group in joined:
            if group is chosen or group.anchor is None:
                del tails[group.output]
        for group in joined:
            if group is not chosen and group.anchor is None:  # computed where it is read
                chosen.nodes.extend(group.nodes)
                del order[group]
        chosen.nodes.append(node)
        tails[node.outputs[0]] = chosen
        order[chosen] = position
    return sorted(order, key=lambda group: order[group])


def _takes(group: Group) -> bool:
    """Return whether element-wise nodes can follow in the same loops."""
    return group.anchor is None or isinstance(group.anchor.op, ANCHORS)


def _needed(graph: Graph) -> set[Node]:
    """Return the nodes whose results are read, reshapes that dense layers see through aside.

    Nor are there any whose results have no elements.
    """
    wanted = set(graph.outputs)
    kept: set[Node] = set()
    for node in reversed(graph.nodes):
        if not wanted.intersection(node.outputs) or not node.output.size:
            continue
        kept.add(node)
        inputs = list(node.inputs)
        if isinstance(node.op, Dense):
            inputs[0] = data_of(graph, node)
        wanted.update(inputs)
    return kept


Wishes = dict[Value, dict[Node, tuple[int, Halo, float]]]
"""For each value the block, halo and filling that each anchor on images wants it in."""


def _wanted(
    graph: Graph, groups: list[Group], constants: Mapping[Value, NDArray[np.generic]]
) -> Wishes:
    wishes: Wishes = {}
    computed: dict[Value, Group] = {group.output: group for group in groups}
    for group in groups:
        anchor = group.anchor
        if anchor is None or not isinstance(anchor.op, ANCHORS):
            continue
        op, value = anchor.op, data_of(graph, anchor)
        halo, fill = NO_HALO, 0
        if isinstance(op, Conv2d | SumPool2d) and any(op.pads):
            halo, fill = op.pads, op.pad_value
        wishes.setdefault(value, {})[anchor] = (BLOCK, halo, fill)
    for value, readers in wishes.items():
        small = SMALL.get(value.dtype)
        maker = computed.get(value)
        alone = maker is None or maker.anchor is None
        dense = all(isinstance(node.op, Conv2d) and node.op.groups == 1 for node in readers)
        few = len(value.shape) == 4 and small is not None and value.shape[1] <= 4
        if small is not None and alone and dense and few:
            for node, (_, halo, fill) in readers.items():
                readers[node] = small, halo, fill
    del constants
    return wishes


def _merged(wishes: Mapping[Node, tuple[int, Halo, float]]) -> tuple[int, Halo, float]:
    """Return the form that most of the wishes agree on: the largest halo of the first filling."""
    block, halo, fill = BLOCK, NO_HALO, 0.0
    for wish_block, wish_halo, wish_fill in wishes.values():
        block = wish_block
        if not any(wish_halo):
            continue
        if any(halo) and wish_fill != fill:
            continue
        fill = wish_fill
        top, left, bottom, right = (max(pair) for pair in zip(halo, wish_halo, strict=True))
        halo = (top, left, bottom, right)
    return block, halo, fill


def _made(graph: Graph, group: Group, made: Plan, wanted: Wishes, end: bool) -> Stored:
    """Return the form in which a group gives its result; at the `end` nobody else reads it."""
    value, anchor = group.output, group.anchor
    wishes = wanted.get(value, {})
    on_images = anchor is not None and isinstance(anchor.op, ANCHORS)
    alone = anchor is None and is_image(value) and not end
    if on_images or (alone and _blocked(group, made, wishes)):
        block, halo, fill = _merged(wishes)
        return Stored(value, block, halo, fill, made.signed)
    del graph
    return Stored(value)


def _blocked(group: Group, made: Plan, wishes: Mapping[Node, tuple[int, Halo, float]]) -> bool:
    """Return whether element-wise nodes work on blocks: their input lies so, or is wanted so."""
    if wishes:
        return True
    read = [value for node in group.nodes for value in node.inputs if value in made.stored]
    same = [value for value in read if value.shape == group.output.shape]
    return any(made.stored[value][0].blocked for value in same)


def _form(made: Plan, value: Value, wish: tuple[int, Halo, float], dots: bool) -> Stored:
    """Return a value in the form that is wanted, made by a copy where it does not lie so.

    Dot products want int8 as all blocks have it, which an accelerator's tiles may not.
    """
    block, halo, fill = wish
    for stored in made.stored.get(value, ()):  # a constant has none yet
        inside = all(a <= b for a, b in zip(halo, stored.halo, strict=True))
        suits = stored.batch == 1 and (not dots or stored.signed == made.signed)
        if stored.block == block and suits and inside and (not any(halo) or stored.fill == fill):
            return stored
    form = Stored(value, block, halo, fill, made.signed)
    made.copy(value, form)
    return form
