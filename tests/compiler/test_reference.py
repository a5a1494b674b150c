"""The reference: every value of a graph, and what it says about inputs."""

import numpy as np
import pytest
from vtakit.compiler.builder import GraphBuilder
from vtakit.compiler.graph import DType, Graph, GraphError
from vtakit.compiler.ops.elementwise import Add, Cast, Mul, ShiftRight
from vtakit.compiler.reference import evaluate, outputs


def halves() -> Graph:
    builder = GraphBuilder("halves")
    x = builder.input("x", (3,), DType.INT8)
    wide = builder.add(Cast(DType.INT32), x, layer="l", name="wide")
    total = builder.add(Add(), wide, wide, layer="l", name="total")
    three = builder.add(Mul(), total, builder.constant(np.int32(3), "three"), layer="l")
    half = builder.add(ShiftRight(), three, builder.constant(np.int32(1), "one"), layer="l")
    return builder.build([builder.add(Cast(DType.INT8), half, layer="l", name="y"), total])


def test_every_value_is_computed() -> None:
    graph = halves()
    x = np.asarray([1, -2, 3], np.int8)
    values = {value.name: array for value, array in evaluate(graph, {"x": x}).items()}
    assert set(values) == {value.name for value in graph.values}
    np.testing.assert_array_equal(values["total"], [2, -4, 6])
    np.testing.assert_array_equal(values["y"], [3, -6, 9])
    assert values["y"].dtype == np.int8


def test_outputs_alone_are_the_same() -> None:
    graph = halves()
    x = {"x": np.asarray([100, -128, 127], np.int8)}
    values = {value.name: array for value, array in evaluate(graph, x).items()}
    alone = outputs(graph, x)
    assert list(alone) == ["y", "total"]
    for name, array in alone.items():
        np.testing.assert_array_equal(array, values[name])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"input x is missing; it is int8\(3\)"),
        ({"x": np.zeros(3, np.int8), "z": 0}, "no input z; halves has x"),
        ({"x": np.zeros(4, np.int8)}, r"input x is int8\(4\); halves takes int8\(3\)"),
        ({"x": np.zeros(3)}, r"input x is float64\(3\); halves takes int8\(3\)"),
    ],
)
def test_inputs_that_do_not_fit_are_named(inputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        evaluate(halves(), inputs)
