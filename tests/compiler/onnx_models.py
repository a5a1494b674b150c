"""ONNX models for tests: of one node, or node by node, and ONNX Runtime's results for them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

Arrays = Mapping[str, np.ndarray]


class ModelBuilder:
    """Collects nodes and weights; `add` gives the name of its node's output."""

    def __init__(self, seed: int = 0, opset: int = 17):
        self.random = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[int | str], dtype: Any = np.float32) -> str:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def weight(self, array: Any, name: str = "") -> str:
        name = name or f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def normal(self, *shape: int, spread: float = 1.0) -> str:
        return self.weight((self.random.standard_normal(shape) * spread).astype(np.float32))

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        layer = f"{operator.lower()}{len(self.nodes)}"
        names = [f"{layer}.out{index}" if index else f"{layer}.out" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=layer, **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x: str, cin: int, cout: int, k: int = 3, **attributes: Any) -> str:
        attributes = {"pads": [k // 2] * 4, **attributes}
        fan_in = cin // attributes.get("group", 1)
        weights = self.normal(cout, fan_in, k, k, spread=(2 / (fan_in * k * k)) ** 0.5)
        return self.add("Conv", x, weights, self.normal(cout, spread=0.1), **attributes)

    def dense(self, x: str, cin: int, cout: int) -> str:
        weights = self.normal(cout, cin, spread=(2 / cin) ** 0.5)
        return self.add("Gemm", x, weights, self.normal(cout, spread=0.1), transB=1)

    def batch_norm(self, x: str, channels: int) -> str:
        parts = [self.random.uniform(0.5, 1.5, channels), self.random.normal(0, 0.2, channels)] * 2
        parts[2], parts[3] = parts[3], parts[2]
        weights = [self.weight(part.astype(np.float32)) for part in parts]
        return self.add("BatchNormalization", x, *weights)

    def model(self, *outputs: str, check: bool = True) -> onnx.ModelProto:
        kinds = [onnx.ValueInfoProto(name=name) for name in outputs]
        if not check:  # what cannot be inferred is not looked at, but has to be there
            kinds = [helper.make_tensor_value_info(name, 1, ["?"]) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, kinds, self.weights)
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(d, 1) for d in {node.domain for node in self.nodes} - {""}]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
        if check:
            model = onnx.shape_inference.infer_shapes(model)
        return model

    def save(self, path: Path, *outputs: str, check: bool = True) -> Path:
        onnx.save(self.model(*outputs, check=check), path)
        return path


def one_node(
    operator: str,
    inputs: Arrays,
    constants: Arrays,
    *,
    outputs: int = 1,
    opset: int = 17,
    **attributes: Any,
) -> tuple[ModelBuilder, list[str]]:
    """Return a model of one node, its arguments in the order given, `inputs` before `constants`."""
    builder = ModelBuilder(opset=opset)
    names = [builder.input(name, a.shape, a.dtype) for name, a in inputs.items()]
    names += [builder.weight(array, name) for name, array in constants.items()]
    made = builder.add(operator, *names, outputs=outputs, **attributes)
    return builder, made if outputs > 1 else [made]


def run_onnx(model: onnx.ModelProto | Path, inputs: Arrays, *, fused: bool = True) -> Any:
    """Return ONNX Runtime's outputs, int8 products exact on every CPU; on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    if not fused:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(inputs))
