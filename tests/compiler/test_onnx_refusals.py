"""What is not supported is named with its node: every operator, element type and attribute."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import defs, helper, numpy_helper
from vtakit.compiler.importers.onnx_model import read
from vtakit.compiler.importers.onnx_node import ModelError
from vtakit.compiler.importers.onnx_operators import CONSTANT_ONLY, OPERATORS
from vtakit.compiler.importers.onnx_types import held_in

OPSET = 21
NAME = "the node"
KINDS = [kind for kind in onnx.TensorProto.DataType.values() if kind]
SHAPES: list[tuple[int, ...]] = [(2, 3, 4, 4), (3, 3), (4,), ()]

AttrType = defs.OpSchema.AttrType
GRAPHS = (AttrType.GRAPH, AttrType.GRAPHS)
NONSENSE: dict[Any, list[Any]] = {
    AttrType.INT: [77, -77, 0],
    AttrType.INTS: [[77], [-1, -1], [0, 0, 0, 0]],
    AttrType.FLOAT: [float("nan"), -1.0],
    AttrType.FLOATS: [[float("nan")]],
    AttrType.STRING: ["nonsense", ""],
    AttrType.STRINGS: [["nonsense"]],
    AttrType.TENSOR: [numpy_helper.from_array(np.asarray(["a"], object), "t")],
}
PLAIN: dict[AttrType, Any] = {
    AttrType.INT: 1,
    AttrType.INTS: [1, 1],
    AttrType.FLOAT: 1.0,
    AttrType.FLOATS: [1.0],
    AttrType.STRING: "constant",
    AttrType.STRINGS: ["a"],
    AttrType.TENSOR: helper.make_tensor("t", onnx.TensorProto.FLOAT, [1], [1.0]),
}


def schemas() -> dict[str, Any]:
    """Return every operator of ONNX at OPSET that holds no graphs."""
    found: dict[str, Any] = {}
    for name in {schema.name for schema in defs.get_all_schemas() if schema.domain == ""}:
        try:
            schema = defs.get_schema(name, max_inclusive_version=OPSET)
        except defs.SchemaError:
            continue  # a newer one
        if not schema.deprecated:
            found[name] = schema
    return dict(sorted(found.items()))


SCHEMAS = schemas()
CLAIMED = sorted({*OPERATORS, *CONSTANT_ONLY} & {*SCHEMAS})


def write(
    path: Path, schema: Any, kind: int, shape: Sequence[int], inputs: int, attributes: Any
) -> Path:
    """Write a model of one node of the operator, all inputs of one type and shape."""
    names = [f"x{index}" for index in range(inputs)]
    needed = {
        name: PLAIN[attribute.type]
        for name, attribute in schema.attributes.items()
        if attribute.required and attribute.type in PLAIN
    }
    outputs = ["y", "y1", "y2"][: max(schema.min_output, 1)]
    node = helper.make_node(schema.name, names, outputs, NAME, **{**needed, **attributes})
    given = [helper.make_tensor_value_info(name, kind, shape) for name in names]
    y = helper.make_tensor_value_info("y", kind, shape)
    graph = helper.make_graph([node], "graph", given, [y])
    opset = helper.make_opsetid("", OPSET)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


def refusal(path: Path) -> str:
    """Return how a model is refused, without the file's name, or nothing when it is read."""
    with np.errstate(all="ignore"):
        try:
            read(path)
        except ModelError as error:
            line = str(error)
            assert line.startswith(f"{path}: ")
            assert "\n" not in line
            return line.removeprefix(f"{path}: ")
    return ""


def names_the_node(line: str, operator: str) -> bool:
    """Whether it names the node, or says what the onnx package itself has against the model."""
    malformed = "not a well-formed ONNX model: "
    return line.startswith((f"{operator} node {NAME}: ", malformed)) or not line


@pytest.mark.parametrize("operator", sorted({*SCHEMAS} - {*CLAIMED}))
def test_an_operator_that_is_not_supported_is_named(operator: str, tmp_path: Path) -> None:
    schema = SCHEMAS[operator]
    graphs = {
        name: helper.make_graph([], name, [], [])
        for name, attribute in schema.attributes.items()
        if attribute.type in GRAPHS
    }
    inputs = max(schema.min_input, min(schema.max_input, 1))
    path = write(tmp_path / "m.onnx", schema, onnx.TensorProto.FLOAT, (2, 3), inputs, graphs)
    line = refusal(path)
    assert line.startswith(f"{operator} node {NAME}: ")
    assert "not supported" in line


def counts(schema: Any) -> list[int]:
    """Return how few and how many inputs an operator may have; of any number, 9."""
    return sorted({schema.min_input, min(schema.max_input, 9)})


@pytest.mark.parametrize("operator", CLAIMED)
def test_every_element_type_is_read_or_refused_by_name(operator: str, tmp_path: Path) -> None:
    schema = SCHEMAS[operator]
    for kind, shape, inputs in product(KINDS, SHAPES[:2], counts(schema)):
        line = refusal(write(tmp_path / "m.onnx", schema, kind, shape, inputs, {}))
        if held_in(kind) is None and inputs:
            assert line.startswith("x0 is of type "), (kind, shape, line)
        else:
            assert names_the_node(line, operator), (kind, shape, inputs, line)


def nonsense(schema: Any) -> Iterator[dict[str, Any]]:
    for name, attribute in schema.attributes.items():
        for value in NONSENSE.get(attribute.type, []):
            yield {name: value}


@pytest.mark.parametrize("operator", CLAIMED)
def test_every_attribute_is_read_or_refused_by_name(operator: str, tmp_path: Path) -> None:
    schema = SCHEMAS[operator]
    kind = onnx.TensorProto.FLOAT
    for attributes, shape, inputs in product(nonsense(schema), SHAPES, counts(schema)):
        line = refusal(write(tmp_path / "m.onnx", schema, kind, shape, inputs, attributes))
        assert names_the_node(line, operator), (attributes, shape, inputs, line)
