"""cli.build: a network compiled for a CPU, to a file that runs without the compiler."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtakit.compiler.network import load_network
from vtakit.compiler.passes.quantize import random_samples
from vtakit.compiler.reference import outputs
from vtakit.runtime.native.jit import this_cpu
from vtakit.runtime.native.program import NativeSession
from vtakit.runtime.native.programfile import load

from .conftest import ROOT
from .test_run import DIGITS, QUANTIZED

AARCH64 = 183
"""ELF's number of a machine."""


@pytest.mark.parametrize("words", [(), ("--precision", "float32")], ids=["int8", "float32"])
def test_what_is_built_gives_what_the_reference_does(
    vtakit: Any, tmp_path: Path, words: tuple[str, ...]
) -> None:
    path = tmp_path / "digits.native"
    found = json.loads(vtakit("build", DIGITS, "-o", path, *words, "--json").out)
    assert (found["target"], found["cpu"]) == ("native", this_cpu().name)
    assert found["bytes"]["file"] == path.stat().st_size
    network = load_network(DIGITS)
    graph = network.source if words else network.integers
    (inputs,) = random_samples(graph, 1, 4)
    program = load(path)
    assert found["bytes"]["code"] == len(program.code.object_code)
    with NativeSession(program) as session:
        made = np.asarray(session.run(inputs)["scores"], np.float32)
    np.testing.assert_allclose(made, outputs(graph, inputs)["scores"], rtol=1e-5, atol=1e-5)


def test_a_file_runs_without_compiler_and_onnx(vtakit: Any, tmp_path: Path) -> None:
    path = tmp_path / "digits.native"
    vtakit("build", QUANTIZED, "-o", path)
    code = f"""
import sys
import numpy as np
from vtakit.runtime.native.program import NativeSession
from vtakit.runtime.native.programfile import load
with NativeSession(load({str(path)!r}), threads=1) as session:
    print(session.run({{"image": np.zeros((1, 1, 8, 8), np.float32)}})["scores"].shape)
print([name for name in sys.modules if name.startswith(("vtakit.compiler", "onnx", "numba"))])
"""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / ".root")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "(1, 10)\n[]\n"


def test_code_for_another_cpu_is_written_and_not_run_here(
    vtakit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = vtakit("build", DIGITS, "--target", "aarch64+dotprod")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("digits.native: digits in int8 for aarch64, aarch64+dotprod; ")
    program = load(tmp_path / "digits.native")
    assert program.code.triple == "aarch64-unknown-linux-gnu"
    assert int.from_bytes(program.code.object_code[18:20], "little") == AARCH64


@pytest.mark.skipif(platform.machine() != "x86_64", reason="compiles for x86-64 and runs it")
def test_run_measures_code_for_a_lesser_cpu(vtakit: Any) -> None:
    words = ("--engine", "cpu", "--target", "x86-64-v2", "--json")
    found = json.loads(vtakit("run", DIGITS, *words).out)
    assert found["checked"]["equal"]
    assert found["cpu"] == "x86-64-v2"


@pytest.mark.parametrize(("words", "said"), [
    (("--target", "x86-64-v7"), "target 'x86-64-v7': there is no CPU 'x86-64-v7'; did you mean "),
    (("--precision", "int4"), "--precision 'int4' does not exist"),
    (("-o", "nowhere/d.native"), "--output nowhere/d.native: there is no folder nowhere; make it"),
    (("-o", "."), "--output . is a folder; give the name of a file"),
    (("-o", str(DIGITS)), f"--output {DIGITS} would write over {DIGITS}; give another name"),
    (("--batch", "2"), "input image is (1, 1, 8, 8), which cannot be (2, 1, 8, 8)"),
])  # fmt: skip
def test_what_cannot_be_built_is_one_line_and_no_file(
    refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused("build", DIGITS, *words)
    assert not list(tmp_path.iterdir())


def test_a_quantized_model_has_no_float(refused: Any) -> None:
    assert refused("build", QUANTIZED, "--precision", "float32") == (
        f"{QUANTIZED}: the model is quantized, and has no version in float32; run its integers"
    )
