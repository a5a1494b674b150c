"""ONNX models: a file to a graph of our operators."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..builder import GraphBuilder
from ..graph import DType, Graph, Value
from ..ops.shape import Reshape
from .onnx_file import MICROSOFT_DOMAIN, layer_name, load
from .onnx_narrow import MOVES, narrowed
from .onnx_node import ModelError, OnnxNode
from .onnx_operators import CONSTANT_ONLY, MICROSOFT, OPERATORS
from .onnx_types import TYPES, Narrow, held_in, narrow_result, narrow_type, type_name

_DAMAGE = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError)
"""What the onnx package and NumPy raise for files in which bytes have changed."""


def read(
    path: str | Path,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Graph:
    """Return the graph of an ONNX file; its inputs and outputs keep their names.

    Parameters
    ----------
    batch : int, optional
        The first extent of every input that leaves it open.
    shapes : mapping, optional
        Whole shapes of inputs, by name, for those that leave other extents open.

    Raises
    ------
    ModelError
        One line that names the file and, where there is one, the node and its operator: for a file
        that cannot be read (see `onnx_file.load`), an operator, type or attribute that is not
        supported, and shapes that are not fixed.
    """
    path = Path(path)
    try:
        model = load(path)
        importer = _Importer(path, model)
        importer.add_inputs(batch, shapes or {})
        importer.add_constants()
        for node in model.graph.node:
            importer.add_node(node)
        return importer.finish()
    except ModelError:
        raise
    except _DAMAGE as error:
        raise ModelError(f"{path}: the file is damaged: {error}") from None


class _Importer:
    """Walks a model; `values` holds what each ONNX name has become, `narrow` its narrow type."""

    def __init__(self, path: Path, model: Any):
        self.path = path
        self.graph = model.graph
        versions = {entry.domain: entry.version for entry in model.opset_import}
        self.opset = int(versions.get("", versions.get("ai.onnx", 0)))
        self.builder = GraphBuilder(str(model.graph.name or path.stem))
        self.values: dict[str, Value] = {}
        self.narrow: dict[str, Narrow] = {}

    def add_inputs(self, batch: int | None, shapes: Mapping[str, Sequence[int]]) -> None:
        initialized = {item.name for item in self.graph.initializer}
        inputs = [item for item in self.graph.input if item.name not in initialized]
        unknown = sorted(set(shapes) - {item.name for item in inputs})
        if unknown:
            names = ", ".join(item.name for item in inputs)
            raise ModelError(f"{self.path}: there is no input {unknown[0]}; it has {names}")
        for item in inputs:
            if not item.type.HasField("tensor_type"):
                raise ModelError(f"{self.path}: input {item.name} is not a tensor")
            dtype = self._dtype(item.name, item.type.tensor_type.elem_type)
            shape = self._shape(item, batch, shapes.get(item.name))
            value = self.builder.input(item.name, shape, dtype)
            if 0 in shape:  # of what has no elements all is known
                value = self.builder.constant(np.zeros(shape, dtype.numpy), f"{item.name}.none")
            self.values[item.name] = value

    def _dtype(self, name: str, number: int, what: str = "") -> DType:
        if narrow := narrow_type(number):
            self.narrow[name] = narrow
        dtype = held_in(number)
        if dtype is None:
            raise ModelError(
                f"{self.path}: {what}{name} is of type {type_name(number)}, which is not "
                f"supported; {TYPES} are: convert the model to float32"
            )
        return dtype

    def _shape(self, item: Any, batch: int | None, given: Sequence[int] | None) -> tuple[int, ...]:
        tensor = item.type.tensor_type
        shape = [
            int(extent.dim_value) if extent.HasField("dim_value") else str(extent.dim_param or "?")
            for extent in tensor.shape.dim
        ]
        wanted = list(given) if given is not None else list(shape)
        if given is None and batch is not None and wanted:
            wanted[0] = batch
        shown = f"({', '.join(map(str, shape))})"
        fits = len(wanted) == len(shape) and all(
            isinstance(own, str) or own == new for own, new in zip(shape, wanted, strict=True)
        )
        if not fits:
            raise ModelError(
                f"{self.path}: input {item.name} is {shown}, which cannot be "
                f"({', '.join(map(str, wanted))})"
            )
        fixed: list[int] = []
        for axis, extent in enumerate(wanted):
            if isinstance(extent, str):
                remedy = "give a batch, such as 1" if axis == 0 else "give the input's shape"
                raise ModelError(
                    f"{self.path}: input {item.name} is {shown}: its extent {extent} is not fixed; "
                    f"{remedy}, or export the model with fixed shapes"
                )
            if extent < 0:
                raise ModelError(f"{self.path}: input {item.name} is {shown}: {extent} is negative")
            fixed.append(extent)
        return tuple(fixed)

    def add_constants(self) -> None:
        from onnx import numpy_helper

        for item in self.graph.initializer:
            dtype = self._dtype(item.name, item.data_type, "initializer ")
            array = numpy_helper.to_array(item).astype(dtype.numpy, copy=False)
            self.values[item.name] = self.builder.constant(array, item.name)
        self.builder.reserve(name for node in self.graph.node for name in node.output if name)

    def add_node(self, proto: Any) -> None:
        node = self._node(proto)
        table = MICROSOFT if proto.domain == MICROSOFT_DOMAIN else OPERATORS
        handler = table.get(node.operator)
        try:
            results = handler(node) if handler is not None else self._known_result(node, proto)
        except ModelError:
            raise
        except _DAMAGE as error:
            node.fail(str(error))
        results = results if isinstance(results, list) else [results]
        if node.narrow:
            if node.operator not in MOVES:
                results[0] = narrowed(node, results[0], node.narrow)
            self.narrow.update(dict.fromkeys(node.outputs, node.narrow))
        self.values.update(zip(node.outputs, results, strict=False))

    def _node(self, proto: Any) -> OnnxNode:
        from onnx import helper

        attributes: dict[str, Any] = {}
        for attribute in proto.attribute:
            value = helper.get_attribute_value(attribute)
            attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
        return OnnxNode(
            where=str(self.path),
            operator=proto.op_type,
            layer=layer_name(proto),
            opset=self.opset,
            inputs=tuple(self.values[name] if name else None for name in proto.input),
            outputs=tuple(proto.output),
            attributes=attributes,
            builder=self.builder,
            narrow=narrow_result(proto, self.opset, self.narrow),
            narrow_inputs=tuple(self.narrow.get(name) for name in proto.input),
        )

    def _known_result(self, node: OnnxNode, proto: Any) -> list[Value]:
        """Compute an operator that we do not have from constants, as exporters write for shapes."""
        from onnx import defs, helper
        from onnx.reference import ReferenceEvaluator

        is_random = "seed" in defs.get_schema(node.operator).attributes
        if is_random or not node.inputs:
            node.fail(f"the operator {node.operator} is not supported")
        arrays: dict[str, NDArray[Any]] = {}
        for name, value in zip(proto.input, node.inputs, strict=True):
            if value is None:
                continue
            if not node.is_constant(value) and node.operator not in CONSTANT_ONLY:
                node.fail(f"the operator {node.operator} is not supported")
            arrays[name] = node.array(list(proto.input).index(name), "input")
        inputs = [helper.make_tensor_value_info(name, 1, None) for name in arrays]
        outputs = [helper.make_tensor_value_info(name, 1, None) for name in node.outputs]
        graph = helper.make_graph([proto], "constant", inputs, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        evaluator: Any = ReferenceEvaluator(model)
        try:
            results = evaluator.run(None, arrays)
        except Exception as error:  # whatever that package meets
            node.fail(f"its constant result cannot be computed: {error}")
        return [node.constant(np.asarray(result)) for result in results]

    def finish(self) -> Graph:
        outputs: list[Value] = []
        names = {value: name for name, value in reversed(self.values.items())}
        fixed = {*self.builder.inputs, *self.builder.constants}
        for item in self.graph.output:
            value = self.values.get(item.name)
            if value is None:
                raise ModelError(f"{self.path}: nothing computes the output {item.name}")
            if value in fixed or value in outputs:
                copy = Reshape(value.shape)
                value = self.builder.add(copy, value, layer=item.name)
            names[value] = str(item.name)
            outputs.append(value)
        for value in fixed:
            names.pop(value, None)
        return self.builder.build(outputs).rename(names)
