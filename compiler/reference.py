"""Every value of a graph in NumPy: what each layer's results are held against, bit for bit."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import DType, Graph, GraphError, TensorType, Value


def evaluate(
    graph: Graph,
    inputs: Mapping[str, NDArray[Any]],
    found: Mapping[Value, NDArray[Any]] | None = None,
) -> dict[Value, NDArray[Any]]:
    """Return every value of the graph, constants included, for inputs given by name.

    What reads a value of `found` is computed from that, whatever the value should have been.

    Raises
    ------
    GraphError
        For an input that is missing, unknown, or not of its shape and type.
    """
    values: dict[Value, NDArray[Any]] = {}
    walk(graph, inputs, values.__setitem__, found)
    return {**graph.constants, **values}


def outputs(graph: Graph, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the graph's outputs by name; values inside are freed as soon as they can be."""
    alive = walk(graph, inputs, lambda value, array: None)
    return {value.name: alive[value] for value in graph.outputs}


def walk(
    graph: Graph,
    inputs: Mapping[str, NDArray[Any]],
    visit: Callable[[Value, NDArray[Any]], None],
    found: Mapping[Value, NDArray[Any]] | None = None,
) -> dict[Value, NDArray[Any]]:
    """Compute the graph, show each input and each result to `visit`, and return the outputs."""
    values = {**graph.constants, **check_inputs(graph, inputs)}
    for value in graph.inputs:
        visit(value, values[value])
    last = {value: index for index, node in enumerate(graph.nodes) for value in node.inputs}
    kept = set(graph.outputs) | set(graph.constants)
    for index, node in enumerate(graph.nodes):
        results = node.op.evaluate(*(values[value] for value in node.inputs))
        for value, array in zip(node.outputs, results, strict=True):
            assert TensorType(array.shape, DType.of(array)) == value.type, str(node)
            values[value] = array if found is None else found.get(value, array)
            visit(value, array)
        for value in {*node.inputs, *node.outputs}:
            if last.get(value, index) == index and value not in kept:
                del values[value]
    return {value: values[value] for value in graph.outputs}


def check_inputs(graph: Graph, inputs: Mapping[str, NDArray[Any]]) -> dict[Value, NDArray[Any]]:
    """Return the arrays by the graph's input values; GraphError as `evaluate` says."""
    wanted = {value.name: value for value in graph.inputs}
    unknown = sorted(set(inputs) - set(wanted))
    if unknown:
        raise GraphError(f"there is no input {unknown[0]}; {graph.name} has {', '.join(wanted)}")
    checked: dict[Value, NDArray[Any]] = {}
    for name, value in wanted.items():
        if name not in inputs:
            raise GraphError(f"input {name} is missing; it is {value.type}")
        array = np.asarray(inputs[name])
        if array.shape != value.shape or array.dtype != value.dtype.numpy:
            actual = f"{array.dtype.name}({', '.join(map(str, array.shape))})"
            raise GraphError(f"input {name} is {actual}; {graph.name} takes {value.type}")
        checked[value] = array
    return checked
