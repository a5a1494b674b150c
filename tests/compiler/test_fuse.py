"""passes.fuse: which operators run together, and in which order the groups come."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.graph import DType, Graph, Value
from vtakit.compiler.ops.elementwise import Add, Cast, Mul
from vtakit.compiler.ops.linear import Conv2d
from vtakit.compiler.ops.reduce import Softmax
from vtakit.compiler.passes.fuse import Group, fuse
from vtakit.compiler.passes.quantize import quantize, random_samples

from .integer_layers import Layers
from .random_networks import float_networks, integer_networks


def kinds(group: Group) -> list[str]:
    return [type(node.op).__name__ for node in group.nodes]


def assert_ordered(graph: Graph, groups: tuple[Group, ...]) -> None:
    """Assert that groups hold each node once, and read nothing that is not yet computed."""
    assert sorted(map(id, graph.nodes)) == sorted(id(n) for group in groups for n in group.nodes)
    ready: set[Value] = {*graph.inputs, *graph.constants}
    for group in groups:
        assert ready.issuperset(group.inputs), group.layer
        for node in group.nodes:
            assert ready.issuperset(node.inputs)
            ready.update(node.outputs)


def assert_ends(graph: Graph, group: Group) -> None:
    """Assert that a group's inputs and outputs are those that its nodes have, seen one by one."""
    made = {value for node in group.nodes for value in node.outputs}
    read = {value for node in group.nodes for value in node.inputs}
    assert set(group.inputs) == read - made - set(graph.constants)
    outside = [node for node in graph.nodes if node not in group.nodes]
    needed = {value for node in outside for value in node.inputs} | set(graph.outputs)
    assert set(group.outputs) == made & needed
    assert len(group.inputs) == len(set(group.inputs))


def test_a_layers_epilogue_runs_with_it_and_float_operators_do_not() -> None:
    layers = Layers()
    y = layers.conv(layers.input(1, 4, 6, 6), 5)
    wide = layers.builder.add(Cast(DType.FLOAT32), y, layer="float")
    graph = layers.build(layers.builder.add(Softmax(1), wide, layer="softmax"))
    groups = fuse(graph)
    epilogue = ["Add", "Mul", "ShiftRight", "Maximum", "Minimum", "Cast"]
    assert [kinds(group) for group in groups] == [["Conv2d", *epilogue], ["Cast"], ["Softmax"]]
    assert [group.layer for group in groups] == ["conv1", "float", "softmax"]
    assert groups[0].inputs == graph.inputs
    assert groups[0].outputs == (y,)


def test_a_residual_addition_joins_the_convolution_whose_accumulators_it_adds_to() -> None:
    layers = Layers()
    x = layers.input(1, 4, 6, 6)
    inner = layers.conv(x, 4, pads=(1, 1, 1, 1))
    graph = layers.build(layers.conv(inner, 4, pads=(1, 1, 1, 1), add=x))
    first, second = fuse(graph)
    assert first.inputs == (x,)
    assert set(second.inputs) == {inner, x}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_int32_never_passes_between_groups(data: st.DataObject) -> None:
    source = data.draw(float_networks(most_channels=4))
    graphs = [quantize(source, random_samples(source, 1, 0))]
    graphs.append(data.draw(integer_networks(most_channels=4)))
    for graph in graphs:
        groups = fuse(graph)
        assert_ordered(graph, groups)
        for group in groups:
            assert_ends(graph, group)
            assert all(value.dtype is not DType.INT32 for value in group.outputs)


def test_nodes_that_others_must_run_between_stay_single() -> None:
    layers = Layers()
    x = layers.input(1, 4, 6, 6)
    wide = layers.builder.add(Cast(DType.INT32), x, layer="wide")
    narrow = layers.narrow(wide, 1, "narrow")
    pooled = layers.max_pool(narrow, (1, 1))  # int8 to int8: a group of its own
    again = layers.builder.add(Cast(DType.INT32), pooled, layer="again")
    total = layers.builder.add(Add(), again, wide, layer="total")
    graph = layers.build(layers.narrow(total, 1, "total"))
    groups = fuse(graph)
    assert_ordered(graph, groups)
    assert all(len(group.nodes) == 1 for group in groups)


def test_of_two_groups_that_wait_for_each_other_one_stays_single() -> None:
    layers = Layers()
    add = layers.builder.add
    one = add(Cast(DType.INT32), layers.input(1, 4, 6, 6), layer="one")
    other = add(Mul(), one_of(layers), layers.constant(3), layer="other")
    to_other = add(Cast(DType.INT32), layers.narrow(one, 1, "one"), layer="other")
    to_one = add(Cast(DType.INT32), layers.narrow(other, 1, "other"), layer="one")
    outputs = [
        layers.narrow(add(Add(), to_other, other, layer="other"), 1, "other"),
        layers.narrow(add(Add(), to_one, one, layer="one"), 1, "one"),
    ]
    graph = layers.build(*outputs)
    groups = fuse(graph)
    assert_ordered(graph, groups)
    sizes = sorted(len(group.nodes) for group in groups)
    assert sizes[-1] > 1, "one of the two stays whole"
    assert sizes[:-1] == [1] * (len(graph.nodes) - sizes[-1])


def one_of(layers: Layers) -> Value:
    return layers.builder.add(Cast(DType.INT32), layers.input(1, 4, 6, 6), layer="other")


def test_two_convolutions_whose_accumulators_are_added_are_one_group() -> None:
    layers = Layers()
    x = layers.input(1, 4, 6, 6)
    sums = [
        layers.builder.add(Conv2d(), x, layers.weights(3, 4, 1, 1), layer=f"conv{i}")
        for i in range(2)
    ]
    total = layers.builder.add(Add(), *sums, layer="total")
    (group,) = fuse(layers.build(layers.narrow(total, 8, "total")))
    assert kinds(group).count("Conv2d") == 2


def test_constants_join_nothing() -> None:
    layers = Layers()
    shared = layers.constant(np.arange(4).reshape(4, 1, 1))
    ends = []
    for _ in range(2):
        wide = layers.builder.add(Cast(DType.INT32), layers.input(1, 4, 3, 3), layer="wide")
        ends.append(layers.narrow(layers.builder.add(Add(), wide, shared, layer="add"), 1, "end"))
    assert len(fuse(layers.build(*ends))) == 2
