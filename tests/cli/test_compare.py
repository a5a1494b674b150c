"""cli.compare: the command, with ONNX Runtime measured and our own code only claimed."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtakit.cli.main import INTERRUPTED
from vtakit.cli.options import cpus_for
from vtakit.cli.rivals import contest, measure, onnx_runtime, openvino, trial, watch
from vtakit.cli.rivals.contest import CANDIDATES, Candidate, entered
from vtakit.cli.rivals.cpus import usable
from vtakit.cli.rivals.rival import Case
from vtakit.isa.config import PRESETS

from .conftest import heed_interrupts
from .rivals.fakes import FakeRival, FakeWatch
from .test_interrupt import STOPPED
from .test_run import node, save_model, weights

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
QUANTIZED = ROOT / "examples" / "digits" / "digits_int8.onnx"


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody disturbs, and nothing is tried or warmed up for long."""

    class Quiet(FakeWatch):
        works = True

        def __init__(self, cpus: tuple[int, ...]) -> None:
            super().__init__(cpus=len(cpus))

    monkeypatch.setattr(watch, "Watch", Quiet)
    monkeypatch.setattr(trial, "TRY_SECONDS", 0.0)
    monkeypatch.setattr(trial, "TURN_WARM_SECONDS", 0.0)
    monkeypatch.setattr(onnx_runtime, "PROFILE_SECONDS", 0.0)
    monkeypatch.setattr(openvino, "PROFILE_SECONDS", 0.0)
    monkeypatch.setattr(measure, "WARM_SECONDS", 0.1)
    monkeypatch.setattr(measure, "TURN_WARM_SECONDS", 0.0)


NAMES = {
    "llvm": "vtakit's LLVM code",
    "ort": f"ONNX Runtime {ort.__version__}",
    "openvino": "OpenVINO 20",
}
Join = Callable[[FakeRival], list[Case]]


@pytest.fixture
def join(monkeypatch: pytest.MonkeyPatch) -> Join:
    """Let a rival stand for our own code; gives the cases that it was made for."""

    def with_rival(rival: FakeRival) -> list[Case]:
        def make(case: Case) -> FakeRival:
            cases.append(case)
            return rival

        cases: list[Case] = []
        others = [one for one in CANDIDATES if not one.title.startswith("LLVM")]
        candidates = [Candidate("LLVM", make), *others]
        monkeypatch.setattr(contest, "entered", partial(entered, candidates=candidates))
        return cases

    return with_rival


def document(ran: Any, status: int = 0) -> dict[str, Any]:
    assert ran.status == status, ran.err
    assert ran.err == ""
    return json.loads(ran.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.usefixtures("quiet")
def test_a_float_network_is_compared_with_itself_in_float_and_in_int8(vtakit: Any) -> None:
    found = document(vtakit("compare", DIGITS, "--repeat", 3, "--clock-mhz", 150, "--json"))
    assert found["config"] == PRESETS["default"].to_json()
    assert [one["key"] for one in found["rivals"]] == [
        "llvm", "ort-int8", "openvino-int8", "llvm-float32", "ort", "openvino",
    ]  # fmt: skip
    assert [one["title"] for one in found["missing"]] == ["CUDA"]
    seconds = {one["key"]: one["seconds"] for one in found["rivals"]}
    assert [(one["subject"], one["opponent"]) for one in found["matches"]] == [
        ("llvm", min("ort-int8", "openvino-int8", key=seconds.__getitem__)),
        ("llvm-float32", min("ort", "openvino", key=seconds.__getitem__)),
    ]
    assert found["checked"] == {"against": "VTA", "equal": True, "differing": []}
    assert found["rounds"] == {"measured": 3, "again": 0, "disturbed": 0}
    assert found["machine"]["cpus"] == list(usable()[:1])
    for one in found["rivals"]:
        assert len(one["samples"]) == 3
        assert min(one["samples"]) > 0
        assert one["name"].startswith(NAMES[one["key"].partition("-")[0]])
        assert one["cosine"] > 0.99
        times = [layer["seconds"][one["key"]] for layer in found["layers"]]
        assert sum(times) == pytest.approx(one["seconds"])
    assert sum(layer["cycles"] or 0 for layer in found["layers"]) == found["vta"]["cycles"]
    assert found["vta"]["cycle_seconds"] == pytest.approx(found["vta"]["cycles"] / 150e6)
    names = [layer["name"] for layer in found["layers"]]
    assert names == ["image", "conv1", "conv2", "pool1", "conv3", "pool2", "dense", ""]
    assert "VTA default at 150 MHz would take" in found["verdict"]
    assert " In float32 vtakit's LLVM code takes " in found["verdict"]


@pytest.mark.usefixtures("quiet")
def test_cycles_are_those_that_run_counts(vtakit: Any) -> None:
    words = (QUANTIZED, "--config", "small", "--json")
    found = document(vtakit("compare", *words, "--repeat", 3))
    cycles = {layer["name"]: layer["cycles"] for layer in found["layers"] if layer["cycles"]}
    ran = document(vtakit("run", *words))
    assert found["vta"]["cycles"] == ran["cycles"]
    rows = {row["name"]: row["cycles"] for row in ran["layers"] if row["cycles"]}
    assert {name: count for name, count in cycles.items() if name} == rows
    assert [one["key"] for one in found["rivals"]] == ["llvm", "ort", "openvino"], (
        "it is int8 already"
    )


@pytest.mark.usefixtures("quiet")
def test_our_own_code_gets_the_case_and_must_give_the_results_of_vta(
    vtakit: Any, join: Join, tmp_path: Path
) -> None:
    image = np.random.default_rng(5).random((1, 1, 8, 8), np.float32)
    np.savez(tmp_path / "in.npz", image=image)
    words = (QUANTIZED, "--inputs", tmp_path / "in.npz")
    assert vtakit("run", *words, "--save", tmp_path / "out.npz").status == 0
    with np.load(tmp_path / "out.npz") as file:
        results = {name: file[name] for name in file.files}
    right = FakeRival("llvm", [1e-3], {"conv1": 1.0}, results, exact=True, ours=True)
    cases = join(right)
    found = document(vtakit("compare", *words, "--repeat", 3, "--json"))
    (case,) = cases
    assert (case.threads, case.cpus) == (1, usable()[:1])
    assert set(case.layers) >= {"conv1", "conv2", "dense"}
    assert case.samples == []
    np.testing.assert_array_equal(case.inputs["image"], image)
    (match,) = found["matches"]
    assert (match["subject"], match["opponent"]) == ("llvm", "ort")
    assert found["checked"] == {"against": "VTA", "equal": True, "differing": []}
    assert right.closed
    join(
        FakeRival("llvm", results={name: array + 1 for name, array in results.items()}, exact=True)
    )
    found = document(vtakit("compare", *words, "--repeat", 3, "--json"), status=1)
    assert found["checked"] == {"against": "VTA", "equal": False, "differing": ["Llvm 1.0"]}


@pytest.mark.usefixtures("quiet")
def test_an_end_in_float_may_be_rounded_in_another_way(vtakit: Any, tmp_path: Path) -> None:
    nodes = [node("Flatten", "x", "flat"), node("Gemm", "flat w", "t"), node("Softmax", "t", "y")]
    model = save_model(tmp_path / "m.onnx", nodes, [1, 3, 8, 8], weights("w", 192, 300))
    for seed in range(3):
        found = document(vtakit("compare", model, "--repeat", 3, "--seed", seed, "--json"))
        assert found["checked"]["equal"], seed


@pytest.mark.usefixtures("quiet")
def test_a_float_network_is_calibrated_for_all_alike(
    vtakit: Any, join: Join, tmp_path: Path
) -> None:
    small = np.full((3, 1, 8, 8), 0.5, np.float32)
    np.savez(tmp_path / "c.npz", image=small)
    cases = join(FakeRival("llvm", results={"scores": np.zeros((1, 10))}))
    words = ("--repeat", 3, "--json")
    document(vtakit("compare", DIGITS, *words, "--calibration", tmp_path / "c.npz"))
    document(vtakit("compare", DIGITS, *words, "--seed", 7))
    given, random = cases
    np.testing.assert_array_equal(np.concatenate([one["image"] for one in given.samples]), small)
    assert len(random.samples) == 4
    ran = vtakit("compare", QUANTIZED, *words, "--calibration", tmp_path / "c.npz")
    assert ran.err.endswith("is quantized already: --calibration is not used\n")
    assert ran.status == 0


@pytest.mark.usefixtures("quiet")
def test_the_table_ends_with_the_verdict(vtakit: Any) -> None:
    ran = vtakit("compare", DIGITS, "--repeat", 3)
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    for name in ("image", "conv1", "conv2", "pool1", "conv3", "pool2", "dense", "total"):
        assert any(line.split()[:1] == [name] for line in lines), name
    assert "█" in ran.out
    assert "without       CUDA: " in ran.out
    assert lines[-1].startswith("On one thread of ")
    assert lines[-1].endswith(" %).")


@pytest.mark.usefixtures("quiet")
def test_without_onnx_runtime_the_rest_is_compared(
    vtakit: Any, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # pyright: ignore[reportArgumentType]
    join(FakeRival("llvm", [2e-3]))
    found = document(vtakit("compare", DIGITS, "--repeat", 3, "--json"))
    assert [one["key"] for one in found["rivals"]] == ["llvm", "openvino"]
    reasons = {one["title"]: one["reason"] for one in found["missing"]}
    assert reasons["ONNX Runtime"] == "not installed: pip install onnxruntime"
    assert reasons["ONNX Runtime, int8"] == "not installed: pip install onnxruntime"
    assert reasons["OpenVINO, int8"] == "quantizing with ONNX Runtime needs onnxruntime"


@pytest.mark.usefixtures("quiet")
def test_alone_vta_has_its_cycles(vtakit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "entered", partial(entered, candidates=()))
    found = document(vtakit("compare", DIGITS, "--json"))
    assert found["rivals"] == []
    assert found["verdict"].startswith("VTA default at 100 MHz would take ")


def test_every_thread_has_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtakit.cli.rivals.cpus.usable", lambda: (4, 6, 5))
    assert cpus_for(2) == (4, 6)
    monkeypatch.setattr("vtakit.cli.rivals.cpus.usable", lambda: ())
    assert cpus_for(8) == (), "where an operating system cannot pin, nobody counts"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--board", "pynq"), "--board pynq: no board's clock has been measured yet; give --clock"),
        (("--clock-mhz", "0"), "--clock-mhz 0 is no clock; give megahertz, such as 100"),
        (("--clock-mhz", "-5"), "--clock-mhz -5 is no clock"),
        (("--clock-mhz", "nan"), "--clock-mhz nan is no clock"),
        (("--clock-mhz", "inf"), "--clock-mhz inf is no clock"),
        (("--repeat", "2"), "Invalid value for '--repeat'"),
        (("--threads", "0"), "Invalid value for '--threads'"),
        (("--config", "dfault"), "'dfault' is neither a preset"),
        (("--inputs", "none.npz"), "--inputs none.npz: No such file"),
    ],
)
def test_what_cannot_be_compared_is_refused_on_one_line(
    refused: Any, words: tuple[str, ...], message: str
) -> None:
    assert refused("compare", DIGITS, *words).startswith(message)


def test_more_threads_than_cpus_are_refused(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtakit.cli.rivals.cpus.usable", lambda: (3,))
    assert refused("compare", DIGITS, "--threads", 2) == (
        "--threads 2: this process may use 1 CPU, and each thread needs one of its own"
    )


def test_a_model_that_is_none_is_refused(refused: Any, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(DIGITS.read_bytes()[:3000])
    assert "the file is truncated" in refused("compare", tmp_path / "cut.onnx")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("vtakit.cli.rivals.vta", "vta_cost"),
        ("vtakit.cli.rivals.ort_int8", "quantize"),
        ("vtakit.cli.rivals.measure", "warm_up"),
        ("vtakit.cli.rivals.onnx_runtime", "read_profile"),
    ],
)
def test_an_interruption_is_one_line_and_leaves_nothing(
    tmp_path: Path, shell: dict[str, str], module: str, name: str
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED.format(module=module, name=name)]
        + ["compare", str(DIGITS), "--repeat", "3"],
        cwd=tmp_path,
        env={**shell, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, err) == ("", "vtakit compare: interrupted\n")
    assert process.returncode == INTERRUPTED
    assert {path.name for path in temporary.iterdir()} <= {".ses"}, "onnxruntime's, on import"
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "temporary"}
