"""ONNX import: whole models, and one line for everything that cannot be read."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data
from vtakit.compiler.graph import DType
from vtakit.compiler.importers.onnx_model import read
from vtakit.compiler.importers.onnx_node import ModelError
from vtakit.compiler.reference import outputs

from .onnx_models import ModelBuilder, run_onnx


def small_net(batch: int | str = 2) -> tuple[ModelBuilder, str]:
    """Return a network whose flattening computes its shape, as PyTorch exports it."""
    net = ModelBuilder()
    x = net.add("Relu", net.batch_norm(net.conv(net.input("x", (batch, 3, 8, 9)), 3, 6), 6))
    x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    length = net.add("Gather", net.add("Shape", x), net.weight(np.int64(0)), axis=0)
    length = net.add("Unsqueeze", length, net.weight(np.asarray([0], np.int64)))
    shape = net.add("Concat", length, net.weight(np.asarray([-1], np.int64)), axis=0)
    y = net.dense(net.add("Reshape", x, shape), 6 * 4 * 4, 5)
    return net, y


def test_a_network_is_onnx_runtimes(tmp_path: Path) -> None:
    net, y = small_net()
    probabilities = net.add("Softmax", y)
    graph = read(net.save(tmp_path / "net.onnx", probabilities, y))
    assert [value.name for value in graph.inputs] == ["x"]
    assert [value.name for value in graph.outputs] == [probabilities, y]
    x = {"x": net.random.standard_normal((2, 3, 8, 9)).astype(np.float32)}
    ours = outputs(graph, x)
    for name, theirs in zip(
        (probabilities, y), run_onnx(net.model(probabilities, y), x), strict=True
    ):
        np.testing.assert_allclose(ours[name], theirs, rtol=1e-4, atol=1e-5)
    assert not any(node.layer.startswith(("shape", "gather", "concat")) for node in graph.nodes)


def test_layers_are_named_after_nodes_and_values_after_tensors(tmp_path: Path) -> None:
    net, y = small_net()
    graph = read(net.save(tmp_path / "net.onnx", y))
    assert {"conv0", "relu2", "maxpool3", "gemm9"} <= {node.layer for node in graph.nodes}
    assert {"conv0.out", "relu2.out", y} <= {value.name for value in graph.values}


def test_an_open_batch_can_be_given(tmp_path: Path) -> None:
    net, y = small_net("N")
    path = net.save(tmp_path / "net.onnx", y)
    assert read(path, batch=3).outputs[0].shape == (3, 5)
    assert read(path, shapes={"x": (4, 3, 8, 9)}).outputs[0].shape == (4, 5)


def test_outputs_that_are_inputs_constants_or_equal_keep_their_names(tmp_path: Path) -> None:
    net = ModelBuilder()
    x = net.input("x", (2,))
    same, again = net.add("Identity", x), net.add("Identity", x)
    one = net.add("Identity", net.weight(np.ones(2, np.float32)))
    graph = read(net.save(tmp_path / "net.onnx", same, again, one))
    values = np.asarray([3, 4], np.float32)
    results = outputs(graph, {"x": values})
    assert list(results) == [same, again, one]
    np.testing.assert_array_equal(results[again], values)
    np.testing.assert_array_equal(results[one], [1, 1])


def test_weights_in_other_files_are_read(tmp_path: Path) -> None:
    net, y = small_net()
    model = net.model(y)
    expected = read(net.save(tmp_path / "inside.onnx", y))
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, tmp_path / "outside.onnx")
    graph = read(tmp_path / "outside.onnx")
    assert str(graph) == str(expected)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match="weights are in other files, which cannot be read: "):
        read(tmp_path / "outside.onnx")


def test_functions_are_inlined(tmp_path: Path) -> None:
    twice = helper.make_function(
        "ours", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    node = helper.make_node("Twice", ["x"], ["y"], domain="ours")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy")
    graph = helper.make_graph([node], "f", [x], [y])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ours", 1)]
    model = helper.make_model(graph, functions=[twice], opset_imports=opsets, ir_version=9)
    onnx.save(model, tmp_path / "f.onnx")
    result = outputs(read(tmp_path / "f.onnx"), {"x": np.ones(3, np.float32)})
    np.testing.assert_array_equal(result["y"], [2, 2, 2])


def test_integer_inputs_are_kept(tmp_path: Path) -> None:
    net = ModelBuilder()
    y = net.add("Cast", net.input("x", (2, 2), np.uint8), to=TensorProto.FLOAT)
    graph = read(net.save(tmp_path / "net.onnx", y))
    assert graph.inputs[0].dtype is DType.UINT8


# What cannot be read. Each case saves a model and says what the one line holds.

Case = Callable[[Path], object]


def _save(make: Callable[[ModelBuilder, str], str], opset: int = 17, check: bool = True) -> Case:
    def case(path: Path) -> None:
        net = ModelBuilder(opset=opset)
        net.save(path, make(net, net.input("x", (1, 4, 6, 6))), check=check)

    return case


def _changed(change: Callable[[onnx.ModelProto], None]) -> Case:
    def case(path: Path) -> None:
        net, y = small_net()
        model = net.model(y)
        change(model)
        onnx.save(model, path)

    return case


def _typed(kind: int) -> Case:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = kind

    return _changed(change)


def _half_weights(model: onnx.ModelProto) -> None:
    array = numpy_helper.to_array(model.graph.initializer[0]).astype(np.float16)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(array, "half"))
    model.graph.node[0].input[1] = "half"


def _without_weights(model: onnx.ModelProto) -> None:
    del model.graph.initializer[0]


def _without_shape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


def _open(axis: int) -> Case:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "W"

    return _changed(change)


def _sequence(model: onnx.ModelProto) -> None:
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, [1])
    model.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(kind))


def _with_branch(path: Path) -> None:
    net = ModelBuilder()
    net.input("c", (), np.bool_)
    out = [helper.make_tensor_value_info("t", TensorProto.FLOAT, [1])]
    value = numpy_helper.from_array(np.ones(1, np.float32), "v")
    body = helper.make_graph([helper.make_node("Constant", [], ["t"], value=value)], "b", [], out)
    net.save(path, net.add("If", "c", then_branch=body, else_branch=body))


def _truncated(path: Path) -> None:
    net, y = small_net()
    data = net.save(path, y).read_bytes()
    path.write_bytes(data[: len(data) // 2])


BAD: dict[str, tuple[Case, str]] = {
    "missing file": (lambda path: None, "cannot be read: No such file or directory"),
    "folder": (lambda path: path.mkdir(), "cannot be read: Is a directory"),
    "empty file": (lambda path: path.write_bytes(b""), "the file is empty"),
    "text": (lambda path: path.write_text("hello\n" * 9), "not an ONNX file"),
    "random bytes": (
        lambda path: path.write_bytes(np.random.default_rng(1).bytes(999)),
        "not an ONNX file",
    ),
    "truncated": (_truncated, r"the file is truncated: it has \d+ bytes, \d+ or more are needed"),
    "unknown operator": (
        _save(lambda net, x: net.add("Frobnicate", x), check=False),
        "Frobnicate node frobnicate0: the operator Frobnicate is not supported",
    ),
    "operator without a way": (
        _save(lambda net, x: net.add("NonZero", x)),
        "NonZero node nonzero0: the operator NonZero is not supported$",
    ),
    "layer of another domain without a way": (
        _save(lambda net, x: net.add("QLinearWhere", x, domain="com.microsoft"), check=False),
        "QLinearWhere node qlinearwhere0: the operator QLinearWhere of com.microsoft is not",
    ),
    "channels last": (
        _save(lambda net, x: net.add(
            "QLinearGlobalAveragePool", net.input("q", (1, 4, 6, 6), np.uint8),
            net.weight(np.float32(1)), net.weight(np.uint8(0)), net.weight(np.float32(1)),
            net.weight(np.uint8(0)), domain="com.microsoft", channels_last=1), check=False),
        "QLinearGlobalAveragePool node .*0: channels_last 1 is not supported; 0 is",
    ),
    "computed indices": (
        _save(lambda net, x: net.add("GatherND", x, net.input("i", (1, 2), np.int64))),
        "GatherND node gathernd0: its indices i is computed while the network runs; it has to be a",
    ),
    "range that is not known": (
        _save(lambda net, x: net.add("Range", net.input("n", (), np.int64), "n", "n")),
        "Range node range0: its input n is computed while the network runs; it has to be a const",
    ),
    "equation with a diagonal": (
        _save(lambda net, x: net.add("Einsum", x, equation="abcc->ab"), check=False),
        "Einsum node einsum0: equation abcc->ab is not supported; products of one or two tensors",
    ),
    "training of dropout": (
        _save(lambda net, x: net.add("Dropout", x, "", net.weight(np.True_))),
        "Dropout node dropout0: it is in training mode, without a seed; export the model for",
    ),
    "recurrent layer with clipping": (
        _save(lambda net, x: net.add("RNN", net.input("s", (2, 1, 3)), net.normal(1, 4, 3),
                                     net.normal(1, 4, 4), hidden_size=4, clip=1.0)),
        "RNN node rnn0: clip 1.0 is not supported; 0 is",
    ),
    "activation of a recurrent layer": (
        _save(lambda net, x: net.add("RNN", net.input("s", (2, 1, 3)), net.normal(1, 4, 3),
                                     net.normal(1, 4, 4), hidden_size=4, activations=["Affine"])),
        "RNN node rnn0: activation Affine is not supported; Sigmoid, Tanh, Relu are",
    ),
    "index outside of its axis": (
        _save(lambda net, x: net.add("Gather", x, net.weight(np.asarray([0, 6])), axis=2)),
        "Gather node gather0: index 0 or 6 is outside an axis of 6",
    ),
    "updates that do not fit": (
        _save(lambda net, x: net.add("ScatterND", x, net.weight(np.asarray([[0, 1]])),
                                     net.normal(6, 5)), check=False),
        r"ScatterND node scatternd0: indices \(1, 2\), updates float32\(6, 5\) do not fit x",
    ),
    "blocks that do not fit": (
        _save(lambda net, x: net.add("QuantizeLinear", x, net.weight(np.ones((1, 3, 6, 6), "f")),
                                     block_size=2), opset=21, check=False),
        r"QuantizeLinear node quantizelinear0: blocks of 2 along axis 1 of x: .* need others than",
    ),
    "mode of resizing": (
        _save(lambda net, x: net.add("Resize", x, "", net.weight(np.ones(4, np.float32) * 2),
                                     nearest_mode="none")),
        "Resize node resize0: nearest_mode none is not one that ONNX has",
    ),
    "product of stacks of integers": (
        _save(lambda net, x: net.add("MatMulInteger", net.input("a", (2, 3, 4), np.int8),
                                     net.input("b", (2, 4, 3), np.int8))),
        "MatMulInteger node .*: int8.2, 3, 4. times int8.2, 4, 3. is not supported; a matrix on",
    ),
    "other domain": (
        _save(lambda net, x: net.add("Gelu", x, domain="com.microsoft"), check=False),
        "the operator Gelu of com.microsoft is not supported",
    ),
    "float16 input": (_typed(TensorProto.FLOAT16), r"x is float16\(2, 3, 8, 9\); only float32 is"),
    "double input": (_typed(TensorProto.DOUBLE), r"x is float64\(2, 3, 8, 9\); only float32 is"),
    "complex input": (_typed(TensorProto.COMPLEX64), "complex64, .* float32, .* are: convert the"),
    "float16 weights": (_changed(_half_weights), "node conv0: half is float16.*; only float32"),
    "int64 convolution": (
        _save(lambda net, x: net.add("GlobalAveragePool", net.add("Cast", x, to=TensorProto.INT64)),
              check=False),
        "GlobalAveragePool",
    ),
    "cast to string": (
        _save(lambda net, x: net.add("Cast", x, to=TensorProto.STRING)),
        "Cast node cast0: its to is string; float16, float32",
    ),
    "open batch": (
        _open(0),
        r"input x is \(W, 3, 8, 9\): its extent W is not fixed; give a batch, such as 1, or export",
    ),
    "open extent": (
        _open(3),
        r"input x is \(2, 3, 8, W\): its extent W is not fixed; give the input's shape, or export",
    ),
    "no shape": (_changed(_without_shape), "input x has no shape; export the model"),
    "sequence": (_changed(_sequence), "input x is not a tensor"),
    "missing weights": (
        _changed(_without_weights),
        "Conv node conv0 reads w0, which no input, initializer or earlier node defines",
    ),
    "old opset": (
        _changed(lambda model: setattr(model.opset_import[0], "version", 6)),
        "opset 6 is too old; 7 and later are supported",
    ),
    "subgraph": (_with_branch, "If node if0: it holds a subgraph, which is not supported"),
    "dynamic reshape": (
        _save(lambda net, x: net.add("Reshape", x, net.input("s", (2,), np.int64))),
        "Reshape node reshape0: its shape s is computed while the network runs; it has to be",
    ),
    "wrong reshape": (
        _save(lambda net, x: net.add("Reshape", x, net.weight(np.asarray([5, -1]))), check=False),
        "Reshape node reshape0: shape .* does not divide the 144 elements of x",
    ),
    "wrong channels": (
        _save(lambda net, x: net.conv(x, 3, 2), check=False),
        "Conv node conv0: Conv2d of 1 groups cannot take",
    ),
    "four axes": (
        _save(lambda net, x: net.add("MaxPool", net.add("Unsqueeze", x, net.weight(
            np.asarray([0, 1]))), kernel_shape=[2, 2, 2, 2])),
        r"sequences \(N, C, L\), images \(N, C, H, W\) and volumes",
    ),
    "missing attribute": (
        _save(lambda net, x: net.add("MaxPool", x), check=False), "not a well-formed ONNX model: "
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_one_line_naming_the_file(name: str, tmp_path: Path) -> None:
    make, message = BAD[name]
    path = tmp_path / "bad.onnx"
    make(path)
    with pytest.raises(ModelError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    net, y = small_net()
    data = net.save(tmp_path / "whole.onnx", y).read_bytes()
    path = tmp_path / "part.onnx"
    for length in [*range(40), *range(40, len(data) - 4, 97)]:
        path.write_bytes(data[:length])
        with pytest.raises(ModelError) as caught:
            read(path)
        assert "\n" not in str(caught.value), length


def test_shapes_that_contradict_the_model_are_refused(tmp_path: Path) -> None:
    net, y = small_net()
    path = net.save(tmp_path / "net.onnx", y)
    with pytest.raises(ModelError, match=r"is \(2, 3, 8, 9\), which cannot be \(3, 3, 8, 9\)"):
        read(path, batch=3)
    with pytest.raises(ModelError, match="there is no input z; it has x"):
        read(path, shapes={"z": (1,)})


def test_without_the_onnx_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match=r"pip install 'vtakit\[onnx\]'"):
        read(tmp_path / "net.onnx")


def test_changed_bytes_are_refused_or_read_but_never_a_traceback(tmp_path: Path) -> None:
    net, y = small_net()
    data = np.frombuffer(net.save(tmp_path / "whole.onnx", y).read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    path = tmp_path / "changed.onnx"
    messages: list[str] = []
    for _ in range(300):
        changed = data.copy()
        places = rng.integers(0, len(data), 3)
        changed[places] = rng.integers(0, 256, 3)
        path.write_bytes(changed.tobytes())
        try:
            read(path)
        except ModelError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(message.isprintable() for message in messages)
