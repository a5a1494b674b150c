"""An ONNX file to a checked model, or one line that says what is wrong with it."""

from pathlib import Path
from typing import Any

from .onnx_node import ModelError
from .onnx_qoperator import QLINEAR

OLDEST_OPSET = 7
"""Before it, broadcasting was written with attributes."""


def load(path: Path) -> Any:
    """Return the `onnx.ModelProto`, external data loaded, functions inlined, checked.

    Raises
    ------
    ModelError
        For a file that is missing, not ONNX, truncated, of an old opset, or not well formed.
    """
    try:
        import onnx
    except ImportError:
        raise ModelError(
            "reading ONNX files needs the package onnx: pip install 'vtakit[onnx]'"
        ) from None
    from google.protobuf.message import DecodeError
    from onnx import inliner
    from onnx.external_data_helper import load_external_data_for_model

    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ModelError(f"{path}: {_damage(data)}") from None
    if not model.ir_version or not model.HasField("graph"):
        raise ModelError(f"{path}: {_damage(data)}")
    try:
        load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(
            f"{path}: its weights are in other files, which cannot be read: {_line(error)}"
        ) from None
    _check_opset(path, model)
    if model.functions:
        model = inliner.inline_local_functions(model)
    _check_names(path, model.graph)
    for node in model.graph.node:
        _check_operator(path, node)
    checker: Any = onnx.checker
    try:
        checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"{path}: not a well-formed ONNX model: {_line(error)}") from None
    return model


def layer_name(node: Any) -> str:
    """Return a node's name, or that of its first output when it has none."""
    return str(node.name or next((name for name in node.output if name), node.op_type))


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:2]) or type(error).__name__


def _check_opset(path: Path, model: Any) -> None:
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if not versions:
        raise ModelError(f"{path}: it names no opset: the file is damaged or was cut short")
    version = versions.get("", versions.get("ai.onnx", 0))
    if version < OLDEST_OPSET:
        raise ModelError(
            f"{path}: opset {version} is too old; {OLDEST_OPSET} and later are supported "
            f"(onnx.version_converter.convert_version does that)"
        )


def _check_names(path: Path, graph: Any) -> None:
    known = {"", *(item.name for item in graph.input), *(item.name for item in graph.initializer)}
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise ModelError(f"{path}: initializer {name} is sparse; make it dense")
    for node in graph.node:
        for name in node.input:
            if name not in known:
                raise ModelError(
                    f"{path}: {node.op_type} node {layer_name(node)} reads {name}, which no input, "
                    f"initializer or earlier node defines"
                )
        known.update(node.output)
    for item in graph.input:
        if item.type.HasField("tensor_type") and not item.type.tensor_type.HasField("shape"):
            raise ModelError(
                f"{path}: input {item.name} has no shape; export the model with fixed shapes"
            )
    for item in graph.output:
        if item.name not in known:
            raise ModelError(f"{path}: nothing computes the output {item.name}")


def _check_operator(path: Path, node: Any) -> None:
    from onnx import AttributeProto, defs

    where = f"{path}: {node.op_type} node {layer_name(node)}"
    kinds = {attribute.type for attribute in node.attribute}
    if kinds & {AttributeProto.GRAPH, AttributeProto.GRAPHS}:
        raise ModelError(
            f"{where}: it holds a subgraph, which is not supported; export without control flow"
        )
    if node.domain == "com.microsoft" and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        node.domain = ""
    if node.domain == "com.microsoft" and node.op_type in QLINEAR:
        return
    if node.domain not in ("", "ai.onnx") or not defs.has(node.op_type):
        domain = f" of {node.domain}" if node.domain else ""
        raise ModelError(f"{where}: the operator {node.op_type}{domain} is not supported")


_MODEL_FIELDS = (1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26)
"""Field numbers of onnx.ModelProto (onnx.proto, IR version 13)."""


def _damage(data: bytes) -> str:
    """Return what is wrong with bytes that do not parse: walk the fields of a ModelProto."""
    if not data:
        return "the file is empty"
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if number not in _MODEL_FIELDS or wire not in (0, 2):
            break
        length, position = _varint(data, position)
        if wire == 2:
            position += length
    if position > len(data):
        return f"the file is truncated: it has {len(data)} bytes, {position} or more are needed"
    return "not an ONNX file"


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a protobuf varint and where it ends; past the end of data when data ends first."""
    value = shift = 0
    while position < len(data):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    return value, position + 1
