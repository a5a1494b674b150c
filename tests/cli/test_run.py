"""cli.run: networks from files, compiled, run, checked and reported."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from vtakit.compiler.check import Check
from vtakit.isa.config import PRESETS
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.module import DeviceStep, Module
from vtakit.runtime.session import Session

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
QUANTIZED = ROOT / "examples" / "digits" / "digits_int8.onnx"
QUICK = ("--tries", 1)
MEMORIES = {"inp", "wgt", "acc", "uop", "out"}


def document(ran: Any) -> dict[str, Any]:
    """Return the one JSON document of a run that went well."""
    assert ran.status == 0, ran.err
    return json.loads(ran.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def save_model(path: Path, nodes: list[Any], shape: list[int | str], *weights: Any) -> Path:
    """Write a model of float nodes from x to y."""
    x, y = (
        onnx.helper.make_tensor_value_info(name, 1, s) for name, s in (("x", shape), ("y", "abcd"))
    )
    graph = onnx.helper.make_graph(nodes, "graph", [x], [y], list(weights))
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset]), path)
    return path


def node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(operator, inputs.split(), [output], output, **attributes)


def weights(name: str, *shape: int) -> Any:
    values = np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32) / 4
    return onnx.numpy_helper.from_array(values, name)


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    """A network with an operator between two convolutions that only the CPU has."""
    nodes = [
        node("Conv", "x w", "first", pads=[1, 1, 1, 1]),
        node("Sigmoid", "first", "middle"),
        node("Conv", "middle v", "y"),
    ]
    return save_model(
        tmp_path / "halves.onnx",
        nodes,
        [1, 3, 8, 8],
        weights("w", 8, 3, 3, 3),
        weights("v", 4, 8, 1, 1),
    )


def test_the_document_has_every_key_that_the_interface_names(vtakit: Any) -> None:
    found = document(vtakit("run", DIGITS, "--json", *QUICK))
    assert found["model"] == str(DIGITS)
    assert found["config"] == PRESETS["default"].to_json()
    assert found["engine"] == "sim"
    assert (
        found["checked"].items()
        >= {
            "against": "integer reference",
            "equal": True,
            "max_abs_difference": 0,
        }.items()
    )
    assert found["float"]["cosine"] > 0.99
    assert 0 < found["float"]["max_abs_difference"] < 2
    assert found["macs"]["total"] == found["macs"]["on_vta"] > 0
    assert {"compile", "run"} <= set(found["seconds"])
    on_vta = [row for row in found["layers"] if row["device"] == "vta"]
    for row in found["layers"]:
        assert set(row) >= {
            "name",
            "op",
            "device",
            "macs",
            "cycles",
            "utilisation",
            "bytes",
            "instructions",
        }
        assert set(row["bytes"]) == MEMORIES
        assert row["device"] in ("vta", "cpu")
        if row["device"] == "cpu":
            assert row["cycles"] is row["utilisation"] is None
            assert row["instructions"] == 0
    assert [row["op"] for row in on_vta] == ["Conv", "Conv", "MaxPool", "Conv", "MaxPool", "Gemm"]
    assert sum(row["macs"] for row in on_vta) == found["macs"]["on_vta"]
    per_cycle = PRESETS["default"].macs_per_cycle
    for row in (row for row in on_vta if row["macs"]):
        assert row["utilisation"] == pytest.approx(row["macs"] / (row["cycles"] * per_cycle))
        assert row["bytes"]["wgt"] > 0
    whole = found["macs"]["on_vta"] / (found["cycles"] * per_cycle)
    assert found["utilisation"] == pytest.approx(whole)
    assert found["cycles"] - 50 < sum(row["cycles"] for row in on_vta) <= found["cycles"]


@pytest.mark.parametrize("config", ["tiny", "batch2"])
def test_another_machine_is_named_and_gives_the_same_results(
    vtakit: Any, config: str, tmp_path: Path
) -> None:
    for number, name in enumerate(("default", config)):
        path = tmp_path / f"{number}.npz"
        found = document(vtakit("run", DIGITS, "--json", "--config", name, "--save", path, *QUICK))
        assert found["config"] == PRESETS[name].to_json()
    one, other = (np.load(tmp_path / f"{number}.npz")["scores"] for number in (0, 1))
    np.testing.assert_array_equal(one, other)


def test_a_configuration_of_the_original_vta_is_read(vtakit: Any, tmp_path: Path) -> None:
    path = tmp_path / "vta_config.json"
    path.write_text(json.dumps(PRESETS["small"].to_vta_json()))
    found = document(vtakit("run", DIGITS, "--json", "--config", path, *QUICK))
    assert found["config"] == PRESETS["small"].to_json()


def test_without_a_clock_nothing_has_cycles(vtakit: Any) -> None:
    found = document(vtakit("run", DIGITS, "--engine", "functional", "--json", *QUICK))
    assert found["engine"] == "functional"
    assert found["cycles"] is found["utilisation"] is None
    assert all(row["cycles"] is None for row in found["layers"])
    assert all(row["instructions"] for row in found["layers"] if row["device"] == "vta")


def test_the_table_has_a_row_for_each_layer_and_a_verdict(vtakit: Any) -> None:
    ran = vtakit("run", DIGITS, *QUICK)
    assert ran.status == 0
    assert ran.err == ""
    for name in ("conv1", "conv2", "pool1", "conv3", "pool2", "dense", "total"):
        assert any(line.split()[:1] == [name] for line in ran.out.splitlines()), name
    assert "against the integer reference: equal" in ran.out
    assert "452,864" in ran.out


def test_the_second_time_it_comes_from_the_cache(
    vtakit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, second = (document(vtakit("run", DIGITS, "--json", *QUICK)) for _ in range(2))
    assert not first["compiled"].pop("from_cache")
    assert second["compiled"].pop("from_cache")
    assert 0 < second["compiled"]["peak_memory_bytes"] < 4 << 30
    assert second["checked"] == first["checked"]
    assert second["cycles"] == first["cycles"] > first["floor"] > 0
    floors = [row["floor"] for row in first["layers"] if row["device"] == "vta"]
    assert all(floors)
    assert sum(floors) == first["floor"]


def test_a_layer_on_the_cpu_says_why(vtakit: Any, halves: Path) -> None:
    ran = vtakit("run", halves, *QUICK)
    assert ran.status == 0
    row, why = (line for line in ran.out.splitlines() if "Unary" in line)
    assert "cpu" in row
    assert why.startswith("on the CPU")
    assert why.partition(": ")[2]
    found = document(vtakit("run", halves, "--json", *QUICK))
    reasons = {row["op"]: row["reason"] for row in found["layers"] if row["device"] == "cpu"}
    assert all(reasons.values()), reasons
    assert found["macs"]["total"] == found["macs"]["on_vta"] == 8 * 64 * 27 + 4 * 64 * 8


@pytest.mark.parametrize(("config", "least"), [("default", 0), ("small", 1)])
def test_copies_between_layouts_are_told_one_by_one_and_together(
    vtakit: Any, tmp_path: Path, config: str, least: int
) -> None:
    nodes = [
        node("Conv", "x w", "first", pads=[1, 1, 1, 1]),
        node("Reshape", "x shape", "computed"),
        node("Conv", "first computed", "middle", pads=[1, 0, 1, 0]),
        node("Conv", "middle v", "y"),
    ]
    shape = onnx.numpy_helper.from_array(np.array([8, 8, 3, 1], np.int64), "shape")
    arrays = weights("w", 8, 3, 3, 3), weights("v", 4, 8, 1, 1), shape
    path = save_model(tmp_path / "computed.onnx", nodes, [1, 3, 8, 8], *arrays)
    found = document(vtakit("run", path, "--json", "--config", config, *QUICK))
    assert len(found["copies"]) >= least
    assert bool(found["copies"]) == bool(least)
    assert found["copied"] == {
        "bytes": sum(one["bytes"] for one in found["copies"]),
        "seconds": sum(one["seconds"] for one in found["copies"]),
    }
    lines = vtakit("run", path, "--config", config, *QUICK).out.splitlines()
    told = [line for line in lines if line.startswith("copy ")]
    assert len(told) == len(found["copies"])
    for line, one in zip(told, found["copies"], strict=True):
        assert f"{one['value']}, {one['source']} to {one['target']}: " in line
    (total,) = (line for line in lines if line.startswith("copies "))
    assert total.split()[1] == str(len(told))


def test_a_layer_can_be_kept_on_the_cpu(vtakit: Any) -> None:
    words = ("--on-cpu", "conv2", "--on-cpu", "dense")
    found = document(vtakit("run", DIGITS, "--json", *words, *QUICK))
    devices = {row["name"]: row["device"] for row in found["layers"] if row["macs"]}
    assert devices == {"conv1": "vta", "conv2": "cpu", "conv3": "vta", "dense": "cpu"}
    assert found["checked"]["equal"]
    ran = vtakit("run", DIGITS, "--on-cpu", "conv9", *QUICK)
    assert ran.status == 2
    assert "there is no layer conv9; " in ran.err
    assert ran.err.count("\n") == 1
    ran = vtakit("run", DIGITS, "--on-cpu", "conv1", "--engine", "cpu", *QUICK)
    assert ran.status == 2
    assert "--on-cpu needs --engine sim" in ran.err


def test_a_fast_cpu_takes_layers_over(vtakit: Any) -> None:
    found = document(vtakit("run", DIGITS, "--json", "--cpu-macs", "1e9", *QUICK))
    assert {row["device"] for row in found["layers"]} == {"cpu"}
    assert found["checked"]["equal"]
    for number in ("0", "-3", "nan", "inf"):
        ran = vtakit("run", DIGITS, "--cpu-macs", number, *QUICK)
        assert ran.status == 2
        assert f"--cpu-macs {number}: it has to be a number above 0" in ran.err


def test_random_inputs_come_from_the_seed(vtakit: Any, tmp_path: Path) -> None:
    saved: list[Any] = []
    for number, seed in enumerate((5, 5, 6)):
        path = tmp_path / f"{number}.npz"
        words = ("--engine", "functional", "--save", path, "--seed", seed, *QUICK)
        assert vtakit("run", DIGITS, *words).status == 0
        saved.append(np.load(path)["scores"])
    assert (saved[0] == saved[1]).all()
    assert (saved[0] != saved[2]).any()


@pytest.mark.parametrize("model", [DIGITS, QUANTIZED], ids=["float", "quantized"])
def test_given_inputs_give_the_outputs_that_onnx_runtime_gives(
    vtakit: Any, tmp_path: Path, model: Path
) -> None:
    with np.load(DIGITS.parent / "test.npz") as file:
        images, labels = file["images"], file["labels"]
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    calibration = () if model is QUANTIZED else ("--calibration", DIGITS.parent / "calibration.npz")
    right = 0
    for index in range(4):
        np.savez(tmp_path / "in.npz", image=images[index : index + 1])
        ran = vtakit(
            "run",
            model,
            "--inputs",
            tmp_path / "in.npz",
            "--save",
            tmp_path / "out.npz",
            "--json",
            *calibration,
            *QUICK,
        )
        found = document(ran)
        with np.load(tmp_path / "out.npz") as file:
            assert file.files == ["scores"]
            scores = file["scores"]
        (expected,) = session.run(None, {"image": images[index : index + 1]})
        difference = float(np.abs(scores.astype(np.float64) - expected).max())
        assert found["float"]["max_abs_difference"] == pytest.approx(difference, abs=1e-6)
        assert scores.argmax() == expected.argmax()
        right += int(scores.argmax() == labels[index])
    assert right >= 3


def test_calibration_counts_for_a_float_model_only(vtakit: Any, tmp_path: Path) -> None:
    small = tmp_path / "small.npz"
    np.savez(small, image=np.full((600, 1, 8, 8), 0.001, np.float32))
    given = ("--calibration", small)
    cosines = [
        document(vtakit("run", DIGITS, "--json", *QUICK, *words))["float"]["cosine"]
        for words in ((), given)
    ]
    assert cosines[1] < cosines[0], "what is calibrated on almost nothing is clipped"
    ran = vtakit("run", QUANTIZED, "--json", *QUICK, *given)
    assert document(ran)["checked"]["equal"]
    assert ran.err == (f"vtakit run: {QUANTIZED} is quantized already: --calibration is not used\n")


def test_an_open_batch_is_given(vtakit: Any, tmp_path: Path) -> None:
    path = save_model(
        tmp_path / "open.onnx", [node("Conv", "x w", "y")], ["N", 3, 8, 8], weights("w", 4, 3, 3, 3)
    )
    found = document(vtakit("run", path, "--batch", 3, "--json", *QUICK))
    assert found["macs"]["total"] == 3 * 4 * 36 * 27
    refused = vtakit("run", path)
    assert refused.status == 2
    assert "(N, 3, 8, 8): its extent N is not fixed; give a batch" in refused.err


def test_memory_latency_costs_cycles(vtakit: Any) -> None:
    cycles = [
        document(vtakit("run", DIGITS, "--memory-latency", latency, "--json", *QUICK))["cycles"]
        for latency in (1, 32, 200)
    ]
    assert cycles[0] < cycles[1] < cycles[2]
    assert cycles[1] == document(vtakit("run", DIGITS, "--json", *QUICK))["cycles"]


def test_more_tries_never_cost_cycles_that_count(vtakit: Any) -> None:
    few, many = (
        document(vtakit("run", DIGITS, "--tries", tries, "--json"))["cycles"] for tries in (1, 8)
    )
    assert many <= 1.02 * few


def test_the_timeline_shows_all_streams_one_after_the_other(
    vtakit: Any, halves: Path, tmp_path: Path
) -> None:
    path, module = tmp_path / "trace.json", tmp_path / "m.vta"
    found = document(vtakit("run", halves, "--trace", path, "--module", module, "--json", *QUICK))
    streams = [s.stream for s in Module.load(module).steps if isinstance(s, DeviceStep)]
    assert len(streams) == 2
    events = json.loads(path.read_text())["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    instructions = [event for event in slices if "instruction" in event["args"]]
    assert len(instructions) == sum(len(stream.insns) for stream in streams)
    assert max(event["ts"] + event["dur"] for event in slices) == found["cycles"]
    layers = {event["name"]: event for event in slices if "instructions" in event["args"]}
    cycles = {row["name"]: row["cycles"] for row in found["layers"] if row["device"] == "vta"}
    assert {name: event["dur"] for name, event in layers.items() if name} == cycles
    assert layers["first"]["ts"] + layers["first"]["dur"] <= layers["y"]["ts"]


def test_a_module_that_was_written_gives_the_outputs_that_were_saved(
    vtakit: Any, tmp_path: Path
) -> None:
    module, saved, given = (tmp_path / name for name in ("m.vta", "out.npz", "in.npz"))
    image = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
    np.savez(given, image=image)
    words = ("--inputs", given, "--save", saved, "--module", module)
    assert vtakit("run", DIGITS, *words, *QUICK).status == 0
    loaded = Module.load(module)
    with open_device("functional", loaded.config) as device, Session(loaded, device) as session:
        scores = session.run({"image": image}).outputs["scores"]
    with np.load(saved) as file:
        np.testing.assert_array_equal(scores, file["scores"])


@pytest.mark.parametrize("name", ["file", "allow_pickle", "/fc/Gemm_output_0"])
def test_outputs_of_any_name_are_saved(vtakit: Any, tmp_path: Path, name: str) -> None:
    path = save_model(tmp_path / "m.onnx", [node("Relu", "x", "y")], [1, 3, 4, 4])
    model = onnx.load(path)
    model.graph.node[0].output[0] = model.graph.output[0].name = name
    onnx.save(model, path)
    assert vtakit("run", path, "--save", tmp_path / "o.npz").status == 0
    with np.load(tmp_path / "o.npz") as file:
        assert file.files == [name]
        assert (file[name] >= 0).all()


def test_what_is_not_finite_has_no_number_in_json(vtakit: Any, tmp_path: Path) -> None:
    path = save_model(tmp_path / "log.onnx", [node("Log", "x", "y")], [1, 3, 4, 4])
    found = document(vtakit("run", path, "--json"))
    assert found["checked"]["equal"]
    assert found["float"]["cosine"] is None
    assert "not finite" in vtakit("run", path).out


def test_results_that_differ_end_with_1_and_name_the_layer(
    vtakit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def differs(*arguments: object) -> Check:
        return Check(False, 3.0, ("conv2", "dense"), 6)

    monkeypatch.setattr("vtakit.compiler.check.check_run", differs)
    ran = vtakit("run", DIGITS, *QUICK)
    assert ran.status == 1
    assert "DIFFERENT in conv2, dense" in ran.out
    ran = vtakit("run", DIGITS, "--json", *QUICK)
    assert ran.status == 1
    checked = json.loads(ran.out)["checked"]
    assert (checked["equal"], checked["max_abs_difference"]) == (False, 3)
    assert checked["layers_differing"] == ["conv2", "dense"]


def test_a_machine_that_computes_wrongly_is_found_out(
    vtakit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vtakit.runtime.drivers.in_process import InProcess

    real = InProcess.write

    def write(self: InProcess, address: int, data: Any) -> None:
        real(self, address, data if data.size != 256 else data ^ np.uint8(0x40))

    monkeypatch.setattr(InProcess, "write", write)
    ran = vtakit("run", DIGITS, "--json", *QUICK)
    assert ran.status == 1
    checked = json.loads(ran.out)["checked"]
    assert checked["layers_differing"][0] == "conv1"
    assert checked["max_abs_difference"] > 0


def test_without_onnx_runtime_the_float_comparison_is_left_out(
    vtakit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # pyright: ignore[reportArgumentType]
    ran = vtakit("run", DIGITS, "--json", *QUICK)
    assert document(ran)["float"] is None
    assert ran.err == "vtakit run: no comparison in float; pip install onnxruntime would do\n"
    assert "float " not in vtakit("run", DIGITS, *QUICK).out


def test_what_onnx_runtime_cannot_run_is_not_compared(
    vtakit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> ModuleType:
        raise RuntimeError("not\nthis one")

    monkeypatch.setattr(ort, "InferenceSession", refuse)
    ran = vtakit("run", DIGITS, "--json", *QUICK)
    assert document(ran)["float"] is None
    assert ran.err == f"vtakit run: ONNX Runtime could not run {DIGITS}: not this one\n"
