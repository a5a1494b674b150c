"""cli.run with --engine cpu: whole networks as native code, checked, and timed by layer."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtakit.cli import whole
from vtakit.cli.rivals import native
from vtakit.cli.rivals.cpus import usable
from vtakit.compiler.check import FLOAT_TOLERANCE
from vtakit.compiler.network import load_network
from vtakit.compiler.reference import outputs
from vtakit.runtime.native.program import NativeSession

from .test_run import DIGITS, QUANTIZED, document, node, save_model, weights

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

CPU = ("--engine", "cpu")
PRECISIONS = ("int8", "float32")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "TIMED_SECONDS", 0.0)
    monkeypatch.setattr(native, "TIMED_SECONDS", 0.0)


def two_ends(path: Path, batch: int | str) -> Path:
    """A float network with two outputs, one of them in the middle and one an average."""
    nodes = [
        node("Conv", "x w", "first", pads=[1, 1, 1, 1]),
        node("Relu", "first", "middle"),
        node("Conv", "middle v", "last"),
        node("GlobalAveragePool", "middle", "z"),
        node("Sigmoid", "last", "y"),
    ]
    shape = [batch, 3, 9, 7]
    save_model(path, nodes, shape, weights("w", 8, 3, 3, 3), weights("v", 5, 8, 1, 1))
    model = onnx.load(path)
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", 1, "efgh"))
    onnx.save(model, path)
    return path


def test_the_document_has_every_key_that_the_interface_names(vtakit: Any) -> None:
    found = document(vtakit("run", DIGITS, *CPU, "--json"))
    assert found["model"] == str(DIGITS)
    assert found["engine"] == "cpu"
    assert (found["precision"], found["threads"]) == ("int8", 1)
    assert found["checked"] == {
        "against": "integer reference",
        "equal": True,
        "max_abs_difference": 0,
        "outputs_compared": 1,
        "outputs_differing": [],
    }
    assert found["tolerance"] == 0
    assert found["config"] is found["cycles"] is found["utilisation"] is None
    assert found["float"]["cosine"] > 0.99
    assert found["macs"] == {"total": 452_864, "on_vta": 0}
    assert set(found["seconds"]) == {"compile", "run"}
    for row in found["layers"]:
        assert row["device"] == "cpu"
        assert row["cycles"] is row["utilisation"] is None
        assert row["instructions"] == sum(row["bytes"].values()) == 0
        assert row["seconds"] >= 0
    timed = found["inference"]
    assert sum(row["seconds"] for row in found["layers"]) == pytest.approx(timed["seconds"])
    assert timed["per_second"] == pytest.approx(1 / timed["seconds"])
    assert 0 < timed["least"] <= timed["seconds"] == found["seconds"]["run"]


@pytest.mark.parametrize("model", [DIGITS, QUANTIZED], ids=["float", "quantized"])
def test_layers_and_outputs_are_those_of_the_simulator(
    vtakit: Any, tmp_path: Path, model: Path
) -> None:
    found, there = (
        document(vtakit("run", model, *words, "--json", "--save", tmp_path / f"{name}.npz"))
        for name, words in (("cpu", CPU), ("sim", ("--tries", 1)))
    )
    kinds = {row["name"]: (row["op"], row["macs"]) for row in found["layers"] if row["name"]}
    expected = {row["name"]: (row["op"], row["macs"]) for row in there["layers"]}
    on_vta = {row["name"] for row in there["layers"] if row["device"] == "vta"}
    assert {name: kinds[name][1] for name in on_vta} == {
        row["name"]: row["macs"] for row in there["layers"] if row["device"] == "vta"
    }
    assert {name: kind for name, kind in kinds.items() if name != "dense"}.items() <= (
        expected.items()
    )
    one, other = (np.load(tmp_path / f"{name}.npz")["scores"] for name in ("cpu", "sim"))
    np.testing.assert_array_equal(one, other)
    assert found["float"] == there["float"]


def test_a_float_model_runs_as_it_was_given(vtakit: Any, tmp_path: Path) -> None:
    image = np.random.default_rng(3).random((1, 1, 8, 8), np.float32)
    np.savez(tmp_path / "in.npz", image=image)
    words = ("--precision", "float32", "--inputs", tmp_path / "in.npz")
    found = document(vtakit("run", DIGITS, *CPU, *words, "--save", tmp_path / "o.npz", "--json"))
    assert (found["precision"], found["checked"]["against"]) == ("float32", "float reference")
    assert found["tolerance"] == FLOAT_TOLERANCE
    assert found["float"]["max_abs_difference"] < 1e-4
    (expected,) = ort.InferenceSession(str(DIGITS)).run(None, {"image": image})
    with np.load(tmp_path / "o.npz") as file:
        np.testing.assert_allclose(file["scores"], expected, rtol=1e-4, atol=1e-4)


def test_a_quantized_model_has_no_float(refused: Any) -> None:
    assert refused("run", QUANTIZED, *CPU, "--precision", "float32") == (
        f"{QUANTIZED}: the model is quantized, and has no version in float32; run its integers"
    )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("threads", [count for count in (1, 2) if count <= max(1, len(usable()))])
def test_batches_and_several_outputs(
    vtakit: Any, tmp_path: Path, precision: str, batch: int, threads: int
) -> None:
    path = two_ends(tmp_path / "ends.onnx", "N")
    x = np.random.default_rng(4).standard_normal((batch, 3, 9, 7), np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    words = ("--precision", precision, "--threads", threads, "--batch", batch)
    files = ("--inputs", tmp_path / "in.npz", "--save", tmp_path / "out.npz")
    found = document(vtakit("run", path, *CPU, *words, *files, "--json"))
    assert found["checked"]["equal"]
    assert found["checked"]["outputs_compared"] == 2
    assert found["macs"]["total"] == batch * 63 * (8 * 27 + 5 * 8)
    network = load_network(path, batch=batch)
    graph = network.integers if precision == "int8" else network.source
    with np.load(tmp_path / "out.npz") as file:
        assert set(file.files) == {"y", "z"}
        for name, array in outputs(graph, {"x": x}).items():
            np.testing.assert_allclose(file[name], array, rtol=1e-5, atol=1e-5)
    assert found["float"]["cosine"] > 0.99


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_table_has_a_row_for_each_layer_and_a_verdict(vtakit: Any, precision: str) -> None:
    ran = vtakit("run", DIGITS, *CPU, "--precision", precision)
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    for name in ("conv1", "conv2", "pool1", "conv3", "pool2", "dense", "copies", "total"):
        assert any(line.split()[:1] == [name] for line in lines), name
    reference = "integer" if precision == "int8" else "float"
    assert f"checked      1 output against the {reference} reference: equal" in ran.out
    assert ", on 1 thread\n" in ran.out
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("run", [1, 2], ids=["first", "repeated"])
def test_results_that_differ_end_with_1_and_name_the_output(
    vtakit: Any, monkeypatch: pytest.MonkeyPatch, precision: str, run: int
) -> None:
    real = NativeSession.execute
    runs = 0

    def execute(self: NativeSession, *, timed: bool = False) -> None:
        nonlocal runs
        runs += 1
        real(self, timed=timed)
        if runs >= run:
            self.outputs["scores"][0, 3] += 1

    monkeypatch.setattr(NativeSession, "execute", execute)
    ran = vtakit("run", DIGITS, *CPU, "--precision", precision, "--json")
    assert ran.status == 1
    checked = json.loads(ran.out)["checked"]
    assert (checked["equal"], checked["outputs_differing"]) == (False, ["scores"])
    assert checked["max_abs_difference"] == pytest.approx(1, rel=0.01)
    runs = 0
    assert "DIFFERENT in scores" in vtakit("run", DIGITS, *CPU, "--precision", precision).out


def test_a_machine_is_checked_and_not_used(vtakit: Any) -> None:
    assert document(vtakit("run", DIGITS, *CPU, "--config", "tiny", "--json"))["config"] is None


def test_calibration_counts_for_integers_only(vtakit: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", image=np.full((600, 1, 8, 8), 0.001, np.float32))
    words = ("--calibration", tmp_path / "c.npz", "--json")
    clipped = document(vtakit("run", DIGITS, *CPU, *words))["float"]["cosine"]
    assert clipped < document(vtakit("run", DIGITS, *CPU, "--json"))["float"]["cosine"]
    ran = vtakit("run", DIGITS, *CPU, "--precision", "float32", *words)
    assert document(ran)["checked"]["equal"]
    assert ran.err == "vtakit run: nothing is quantized: --calibration is not used\n"


def test_what_is_not_finite_has_no_number_in_json(vtakit: Any, tmp_path: Path) -> None:
    path = save_model(tmp_path / "log.onnx", [node("Log", "x", "y")], [1, 3, 4, 4])
    for precision in PRECISIONS:
        found = document(vtakit("run", path, *CPU, "--precision", precision, "--json"))
        assert found["checked"]["equal"], precision
        assert found["float"]["cosine"] is None


def test_without_onnx_runtime_the_float_comparison_is_left_out(
    vtakit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # pyright: ignore[reportArgumentType]
    ran = vtakit("run", DIGITS, *CPU, "--json")
    assert document(ran)["float"] is None
    assert ran.err == "vtakit run: no comparison in float; pip install onnxruntime would do\n"
