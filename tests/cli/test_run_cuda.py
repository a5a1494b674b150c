"""cli.run with --engine cuda, and CUDA in cli.compare: on a fake of NVIDIA's driver."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtakit.runtime.cuda.gpu import driver_version

from ..runtime.cuda.fake_driver import built, run
from .test_run import DIGITS, QUANTIZED

ort = pytest.importorskip("onnxruntime")

CUDA = ("--engine", "cuda")


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("driver"))


@pytest.mark.parametrize("model", [DIGITS, QUANTIZED], ids=["float", "quantized"])
def test_the_integer_network_is_that_of_the_cpu(driver: Path, tmp_path: Path, model: Path) -> None:
    there, here = tmp_path / "cuda.npz", tmp_path / "cpu.npz"
    ran = run(driver, "vtakit", "run", model, *CUDA, "--json", "--save", there)
    found = json.loads(ran.stdout)
    run(driver, "vtakit", "run", model, "--engine", "cpu", "--save", here)
    assert (found["engine"], found["gpu"], found["capability"]) == ("cuda", "Fake GPU", "9.0")
    assert found["checked"] == {
        "against": "integer reference",
        "equal": True,
        "max_abs_difference": 0,
        "outputs_compared": 1,
        "outputs_differing": [],
    }
    assert found["macs"] == {"total": 452_864, "on_vta": 0}
    assert {row["device"] for row in found["layers"]} == {"cuda"}
    times = [row["seconds"] for row in found["layers"]]
    assert sum(times) == pytest.approx(found["inference"]["seconds"])
    assert found["copies_seconds"] > 0
    with np.load(there) as one, np.load(here) as other:
        np.testing.assert_array_equal(one["scores"], other["scores"])


def test_a_float_model_runs_as_it_was_given(driver: Path) -> None:
    ran = run(driver, "vtakit", "run", DIGITS, *CUDA, "--precision", "float32")
    lines = [" ".join(line.split()) for line in ran.stdout.splitlines()]
    text = "\n".join(lines)
    assert re.search(r"^checked 1 output against the float reference: equal within", text, re.M)
    assert re.search(r"^code for Fake GPU, in \d+ kernels$", text, re.M)
    assert re.search(r"^copies .* more for inputs and outputs, to the GPU and back$", text, re.M)
    assert re.search(r"^float cosine 1, largest difference ", text, re.M)


def test_a_gpu_that_is_too_old_ends_with_2_before_anything_is_read(driver: Path) -> None:
    ran = run(
        driver, "vtakit", "run", "missing.onnx", *CUDA, settings={"CAPABILITY": "6.1"}, check=False
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "vtakit run: Fake GPU has compute capability 6.1; 8.0 or newer would do\n"
    )


@pytest.mark.skipif(driver_version() is not None, reason="this machine has a GPU")
def test_without_a_gpu_the_engine_says_so(refused: Any) -> None:
    assert refused("run", DIGITS, *CUDA) == "no NVIDIA GPU, or no driver for it"


def test_a_gpu_takes_part_in_a_comparison(driver: Path) -> None:
    ran = run(driver, "vtakit", "compare", DIGITS, "--repeat", 3, "--json")
    found = json.loads(ran.stdout)
    assert found["missing"] == []
    assert found["checked"]["equal"]
    rivals = {one["key"]: one for one in found["rivals"]}
    assert {"cuda", "cuda-float32"} <= set(rivals)
    assert rivals["cuda"]["exact"]
    assert rivals["cuda"]["detail"]["GPU"] == "Fake GPU"
    assert all(set(row["seconds"]) >= {"cuda", "cuda-float32"} for row in found["layers"][1:])


def test_the_doctor_finds_it(driver: Path) -> None:
    found = json.loads(run(driver, "vtakit", "doctor", "--json").stdout)
    engines = {row["name"]: row["found"] for row in found["engines"]}
    machine = {row["name"]: row["found"] for row in found["machine"]}
    assert engines["cuda"] == "runs, on Fake GPU"
    assert machine["CUDA driver"] == "CUDA 13.0, 1 GPU"
