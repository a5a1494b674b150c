"""Graphs: what verification finds, what pruning drops, how builders name and share."""

from dataclasses import replace

import numpy as np
import pytest
from vtakit.compiler.builder import GraphBuilder
from vtakit.compiler.graph import DType, Graph, GraphError, Node, Value
from vtakit.compiler.ops.elementwise import Add, Mul
from vtakit.compiler.ops.shape import Reshape


def small() -> Graph:
    """Return y = (x + 1) * 2, and a sum that nobody reads."""
    builder = GraphBuilder("small")
    x = builder.input("x", (2, 3), DType.FLOAT32)
    one, two = builder.constant(np.float32(1), "one"), builder.constant(np.float32(2), "two")
    a = builder.add(Add(), x, one, layer="first", name="a")
    builder.add(Add(), x, two, layer="unread")
    y = builder.add(Mul(), a, two, layer="second", name="y")
    return builder.build([y])


def test_building_drops_what_no_output_needs() -> None:
    graph = small()
    assert [node.layer for node in graph.nodes] == ["first", "second"]
    assert [value.name for value in graph.constants] == ["one", "two"]


def test_producer_and_consumers_follow_the_edges() -> None:
    graph = small()
    (x,), (y,) = graph.inputs, graph.outputs
    first, second = graph.nodes
    assert graph.producer(x) is None
    assert graph.producer(y) is second
    assert graph.consumers(x) == (first,)
    assert graph.only_consumer(first.output) is second
    assert graph.only_consumer(y) is None
    assert replace(graph, outputs=(first.output, y)).only_consumer(first.output) is None
    assert set(graph.values) == {x, *graph.constants, first.output, y}


def test_a_graph_prints_one_line_a_node() -> None:
    assert str(small()).splitlines() == [
        "graph small(x: float32(2, 3))",
        "  const one: float32()",
        "  const two: float32()",
        "  a: float32(2, 3) = Add()(x, one)  # first",
        "  y: float32(2, 3) = Mul()(a, two)  # second",
        "  return y",
    ]


def test_renaming_keeps_the_rest() -> None:
    graph = small()
    renamed = graph.rename({graph.nodes[0].output: "b", graph.inputs[0]: "input"})
    assert str(renamed) == str(graph).replace("a: ", "b: ").replace("(a,", "(b,").replace(
        "(x", "(input"
    )


def test_verification_names_what_is_wrong() -> None:
    graph = small()
    (x,), (y,) = graph.inputs, graph.outputs
    first, second = graph.nodes
    stray = Value("stray", (2, 3), DType.FLOAT32)
    flat = Value("y", (6,), DType.FLOAT32)
    two = {value: array for value, array in graph.constants.items() if value.name == "two"}
    wrong = {
        "reads a before anything defines it": replace(graph, nodes=(second, first)),
        "reads one before anything": replace(graph, constants=two),
        "defines x a second time": replace(graph, inputs=(x, x)),
        r"computes float32\(2, 3\)": replace(
            graph, nodes=(first, replace(second, outputs=(flat,))), outputs=(flat,)
        ),
        "output stray: .* is defined by nothing": replace(graph, outputs=(stray,)),
        r"holds an array of float32\(3,?\)": replace(
            graph, constants={value: np.ones(3, np.float32) for value in graph.constants}
        ),
        "defines a a second time": replace(
            graph, nodes=(first, replace(second, outputs=(replace(y, name="a"),)))
        ),
    }
    assert graph.verify() is graph
    for message, broken in wrong.items():
        with pytest.raises(GraphError, match=message):
            broken.verify()


def test_a_builder_gives_unique_names_and_shares_small_constants() -> None:
    builder = GraphBuilder("names")
    builder.reserve(["later"])
    x = builder.input("x", (4,), DType.INT32)
    first = builder.constant(np.int32(7), "seven")
    assert builder.constant(np.int32(7), "other") is first
    assert builder.constant(np.int8(7), "seven").name == "seven_1"
    names = [builder.add(Add(), x, first, layer="l").name for _ in range(3)]
    assert names == ["l.add", "l.add_1", "l.add_2"]
    assert builder.add(Reshape((2, 2)), x, layer="l", name="later").name == "later_1"
    with pytest.raises(GraphError, match="names has no outputs"):
        builder.build([])


def test_a_node_has_one_output_where_it_says_so() -> None:
    graph = small()
    node = graph.nodes[0]
    with pytest.raises(ValueError, match="unpack"):
        _ = Node(node.op, node.inputs, (), "none").output


def test_element_types_are_those_of_numpy() -> None:
    for dtype in DType:
        assert DType.of(np.zeros(1, dtype.numpy)) is dtype
    with pytest.raises(GraphError, match="complex64 is not supported; float16, float32"):
        DType.of(np.zeros(1, np.complex64))
