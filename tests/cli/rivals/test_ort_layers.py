"""cli.rivals.ort_layers: from ONNX Runtime's profile to layers of ours."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtakit.cli.rivals.ort_layers import (
    load_named,
    owner_of,
    owners,
    read_profile,
    seconds_by_layer,
)

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


def small_model(named: bool = True) -> Any:
    """x → conv1 → relu1 → conv2, added to relu1, → y."""
    rng = np.random.default_rng(0)
    make = onnx.helper
    nodes = [
        make.make_node("Conv", ["x", "w1"], ["a"], name="conv1", pads=[1, 1, 1, 1]),
        make.make_node("Relu", ["a"], ["b"], name="relu1"),
        make.make_node("Conv", ["b", "w2"], ["c"], name="conv2", pads=[1, 1, 1, 1]),
        make.make_node("Add", ["b", "c"], ["y"], name="add"),
    ]
    if not named:
        for node in nodes:
            node.ClearField("name")
    weights = [
        onnx.numpy_helper.from_array(
            rng.standard_normal((16, channels, 3, 3)).astype(np.float32), name
        )
        for name, channels in (("w1", 3), ("w2", 16))
    ]
    x, y = (
        make.make_tensor_value_info(name, 1, [1, channels, 16, 16])
        for name, channels in (("x", 3), ("y", 16))
    )
    graph = make.make_graph(nodes, "small", [x], [y], weights)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def profile(model: Any, folder: Path, level: Any, runs: int = 3) -> list[Any]:
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.graph_optimization_level = level
    options.profile_file_prefix = str(folder / "profile")
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
    for _ in range(runs):
        session.run(None, {"x": x})
    return read_profile(Path(session.end_profiling()))


def test_an_operator_that_was_fused_belongs_to_the_latest_layer_that_it_reads() -> None:
    found = owners(small_model(), ["conv1", "conv2"])
    assert found == {
        "conv1": "conv1", "a": "conv1", "relu1": "conv1", "b": "conv1",
        "conv2": "conv2", "c": "conv2", "add": "conv2", "y": "conv2",
    }  # fmt: skip


def test_a_layer_of_its_own_keeps_its_time() -> None:
    found = owners(small_model(), ["conv1", "conv2", "add"])
    assert (found["add"], found["y"]) == ("add", "add")


def test_an_input_may_be_a_layer_and_weights_belong_to_none() -> None:
    found = owners(small_model(), ["x", "conv1", "conv2"])
    assert found["x"] == "x"
    assert "w1" not in found


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("conv1", "conv1"),
        ("conv1_nchwc", "conv1"),
        ("fused conv1", "conv1"),
        ("relu1.out_nchwc", "conv1"),
        ("conv1_token_4", "conv1"),
        ("fused conv1_token_12_nhwc", "conv1"),
        ("conv1/ReluFusion", "conv1"),
        ("ReorderOutput", ""),
        ("ReorderOutput_token_3", ""),
        ("fused", ""),
        ("", ""),
        ("conv1_token_", ""),
    ],
)
def test_names_that_optimizations_make_lead_back(name: str, layer: str) -> None:
    assert owner_of(name, {"conv1": "conv1", "relu1.out": "conv1"}) == layer


def test_a_name_that_only_looks_decorated_is_its_own() -> None:
    assert owner_of("x_token_1", {"x": "other", "x_token_1": "itself"}) == "itself"


def event(name: str, microseconds: int, kind: str = "Node") -> dict[str, Any]:
    return {"cat": kind, "name": name, "dur": microseconds, "ts": 0}


def run_of(conv: int, reorder: int) -> list[dict[str, Any]]:
    return [
        event("conv1_fence_before", 900),
        event("conv1_kernel_time", conv),
        event("fused conv1_kernel_time", 1),
        event("ReorderOutput_kernel_time", reorder),
        event("SequentialExecutor::Execute", 10**6, "Session"),
        event("model_run", 10**6, "Session"),
    ]


def test_time_is_the_mean_of_the_faster_half_of_runs() -> None:
    events = [event("model_loading", 10**7, "Session")]
    for conv, reorder in ((900, 90), (10, 2), (800, 80), (12, 4)):
        events += run_of(conv, reorder)
    found = seconds_by_layer(events, {"conv1": "first"})
    assert found == {"first": pytest.approx(12e-6), "": pytest.approx(3e-6)}


def test_of_one_run_its_time_counts() -> None:
    assert seconds_by_layer(run_of(5, 1), {"conv1": "first"}) == pytest.approx(
        {"first": 6e-6, "": 1e-6}
    )


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_a_profile_of_onnx_runtime_gives_layers_their_time(tmp_path: Path, level: str) -> None:
    model = small_model()
    events = profile(model, tmp_path, getattr(ort.GraphOptimizationLevel, level))
    found = seconds_by_layer(events, owners(model, ["conv1", "conv2"]))
    assert {"conv1", "conv2"} <= set(found) <= {"conv1", "conv2", ""}
    ran = {
        e["name"].removesuffix("_kernel_time")
        for e in events
        if e["cat"] == "Node" and e["name"].endswith("_kernel_time")
    }
    unowned = {name for name in ran if not owner_of(name, owners(model, ["conv1", "conv2"]))}
    assert all("Reorder" in name for name in unowned), unowned
    if level == "ORT_DISABLE_ALL":
        assert ran == {"conv1", "relu1", "conv2", "add"}


def test_nodes_without_names_get_those_of_layers(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(small_model(named=False), path)
    for given in (str(path), path.read_bytes()):
        named, proto = load_named(given)
        assert isinstance(named, bytes)
        names = [node.name for node in proto.graph.node]
        assert len(set(names)) == len(names) == 4
        assert all(names)
        assert onnx.load_from_string(named) == proto


def test_a_model_whose_nodes_have_names_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(small_model(), path)
    for given in (str(path), path.read_bytes()):
        assert load_named(given) == (given, small_model())
