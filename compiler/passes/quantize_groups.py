"""Which float nodes become one integer layer: an anchor and what follows it element by element."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from ..graph import DType, Graph, Node, Value
from ..ops.elementwise import Add, Div, Maximum, Minimum, Mul, Sub
from ..ops.linear import Conv2d, Dense
from ..ops.pool import MaxPool2d, SumPool2d
from ..ops.shape import Broadcast, Concat, Gather, Pad, Reshape, Slice, Transpose
from .quantize_numbers import Reals

MOVEMENT = (MaxPool2d, Reshape, Transpose, Concat, Slice, Gather, Broadcast, Pad)
"""Operators whose results are elements of their inputs: they keep the quantization."""

SELECTION = (Maximum, Minimum)
"""Of two tensors of one quantization these, too, only choose."""

LEAST_SLOPE = 2.0**-8
"""Of a LeakyRelu that is taken in: less is no slope that 15 bits after the point say well."""

Known = Callable[[Value], Reals | None]
"""Gives the real value of a constant, exactly; None for what is computed."""


@dataclass(frozen=True, eq=False)
class Addend:
    """A tensor that is added to a group's sum, and what it is multiplied by before."""

    value: Value
    factor: float


@dataclass(frozen=True, eq=False)
class Group:
    """last = clip(leaky(factor * anchor(operands) + offset + addend)): one integer layer.

    What is negative, leaky multiplies by `slope`. `anchor` is a convolution, dense layer, sum over
    windows, product of two tensors, or None for a single operand as it is. `nodes` are all nodes it
    stands for, in order. `factor` and `offset` broadcast against `last`.
    """

    layer: str
    anchor: Node | None
    operands: tuple[Value, ...]
    last: Value
    nodes: tuple[Node, ...]
    factor: Reals
    offset: Reals
    addend: Addend | None = None
    low: float = -inf
    high: float = inf
    slope: float = 1.0

    @property
    def clipped(self) -> bool:
        """Whether an activation has been taken in, after which nothing but a Clip can be."""
        return self.low != -inf or self.high != inf or self.slope != 1


def macs(node: Node) -> int:
    """Return the multiply-accumulates of a convolution or dense layer; 0 of other nodes."""
    if not isinstance(node.op, (Conv2d, Dense)):
        return 0
    weights = node.inputs[1]
    return node.output.size * weights.size // weights.shape[0]


def is_selection(node: Node, known: Known) -> bool:
    """Whether a node is the maximum or minimum of two computed tensors of one shape."""
    a, b = (*node.inputs, *node.inputs)[:2]
    computed = known(a) is None and known(b) is None
    return isinstance(node.op, SELECTION) and computed and a.shape == b.shape


def begin(node: Node, known: Known) -> Group | None:
    """Return the group that starts with `node`, nothing after it taken in yet; None without."""
    if node.outputs[0].dtype is not DType.FLOAT32:
        return None
    one, zero = np.ones(()), np.zeros(())
    out = node.outputs[0]
    match node.op:
        case Conv2d() | Dense():
            operands = node.inputs[:1]
            return Group(node.layer, node, operands, out, (node,), one, zero)
        case SumPool2d():
            return Group(node.layer, node, node.inputs, out, (node,), one, zero)
        case Mul() if all(known(value) is None for value in node.inputs):
            a, b = node.inputs
            if a.shape == out.shape or b.shape == out.shape:
                return Group(node.layer, node, (a, b), out, (node,), one, zero)
        case Add() | Sub() | Mul() | Div() | Maximum() | Minimum():
            computed = [value for value in node.inputs if known(value) is None]
            for value in computed:
                plain = Group(node.layer, None, (value,), value, (), one, zero)
                group = extend(plain, node, known)
                if group is not None and not is_selection(node, known):
                    return group
        case _:
            pass
    return None


def extend(group: Group, node: Node, known: Known) -> Group | None:
    """Return the group with `node`, which reads `group.last`, taken in; None when it cannot be."""
    if len(node.inputs) != 2 or node.output.shape != group.last.shape:
        return None
    first = node.inputs[0] is group.last
    other = node.inputs[1] if first else node.inputs[0]
    group = replace(group, last=node.output, nodes=(*group.nodes, node))
    constant = known(other)
    if constant is None:
        if group.clipped or group.addend is not None or other.shape != node.output.shape:
            return None
        if isinstance(node.op, Add):
            return replace(group, addend=Addend(other, 1.0))
        if isinstance(node.op, Sub):
            group = group if first else _scaled(group, np.full((), -1.0))
            return replace(group, addend=Addend(other, -1.0 if first else 1.0))
        return None
    if constant.size == 1:
        constant = constant.reshape(())
    match node.op:
        case Maximum() if constant.ndim == 0:
            bound = constant.item()
            return replace(group, low=max(group.low, bound), high=max(group.high, bound))
        case Minimum() if constant.ndim == 0:
            bound = constant.item()
            return replace(group, low=min(group.low, bound), high=min(group.high, bound))
        case Add() if not group.clipped:
            return replace(group, offset=group.offset + constant)
        case Sub() if not group.clipped and first:
            return replace(group, offset=group.offset - constant)
        case Sub() if not group.clipped:
            group = _scaled(group, np.full((), -1.0))
            return replace(group, offset=group.offset + constant)
        case Mul() if _may_scale(group, constant):
            return _scaled(group, constant)
        case Div() if first and (constant != 0).all() and _may_scale(group, constant):
            return _scaled(group, 1 / constant)
        case _:
            return None


def _may_scale(group: Group, constant: Reals) -> bool:
    return not group.clipped and (group.addend is None or constant.ndim == 0)


def _scaled(group: Group, constant: Reals) -> Group:
    addend = group.addend
    if addend is not None:
        addend = Addend(addend.value, addend.factor * constant.item())
    factor, offset = group.factor * constant, group.offset * constant
    return replace(group, factor=factor, offset=offset, addend=addend)


def grow(
    group: Group,
    graph: Graph,
    known: Known,
    taken: set[Node],
    *,
    residual: bool,
    leaky: bool = False,
) -> Group:
    """Return the group with all that follows it taken in, as far as it goes.

    It ends before a node that is `taken`, at a value with several readers, and, unless `residual`,
    before it would add a second tensor. With `leaky` it may have a slope.
    """
    while True:
        if leaky and (sloping := _with_slope(group, graph, known, taken)) is not None:
            group = sloping
        node = graph.only_consumer(group.last)
        if node is None or node in taken or node.inputs.count(group.last) != 1:
            return group
        longer = extend(group, node, known)
        if longer is None or (longer.addend is not group.addend and not _kept(longer, residual)):
            return group
        group = longer


def _kept(group: Group, residual: bool) -> bool:
    return residual or isinstance(group.nodes[-1].op, (Mul, Div))


def _with_slope(group: Group, graph: Graph, known: Known, taken: set[Node]) -> Group | None:
    """Return the group with the LeakyRelu that follows it, max(x, slope * x); None without one."""
    x, users = group.last, graph.consumers(group.last)
    if group.clipped or x in graph.outputs or len(users) != 2 or taken.intersection(users):
        return None
    scaled, chosen = users if isinstance(users[0].op, Mul) else reversed(users)
    if not isinstance(scaled.op, Mul) or not isinstance(chosen.op, Maximum):
        return None
    slope = known(scaled.inputs[1] if scaled.inputs[0] is x else scaled.inputs[0])
    if slope is None or slope.size != 1 or not LEAST_SLOPE <= slope.item() < 1:
        return None
    if set(chosen.inputs) != {x, scaled.output} or graph.only_consumer(scaled.output) is None:
        return None
    nodes = (*group.nodes, scaled, chosen)
    return replace(group, last=chosen.output, nodes=nodes, slope=slope.item())
