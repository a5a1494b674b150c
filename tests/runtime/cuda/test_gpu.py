"""runtime.cuda.gpu: cuda-bindings and a driver's interface; behind it kernels run on NumPy."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from vtakit.runtime.cuda.gpu import driver_version

from .fake_driver import ROOT, run

NETWORK = """
from pathlib import Path
import numpy as np
from vtakit.compiler.cuda.build import build_cuda
from vtakit.compiler.network import load_network
from vtakit.compiler.passes.quantize import random_samples
from vtakit.compiler.reference import outputs
from vtakit.runtime.cuda.gpu import Gpu
from vtakit.runtime.cuda.program import CudaError
from vtakit.runtime.cuda.session import CudaSession

graph = load_network(Path("examples/digits/digits.onnx")).integers
program = build_cuda(graph)
samples = random_samples(graph, 3, 1)
"""


def test_a_network_runs_through_the_driver_again_and_again(driver: Path) -> None:
    code = (
        NETWORK
        + """
gpu = Gpu()
print(gpu.name, gpu.capability)
with CudaSession(program, gpu) as session:
    for inputs in samples:
        wanted = outputs(graph, inputs)["scores"]
        np.testing.assert_array_equal(session.run(inputs)["scores"], wanted)
    times = session.times()
    assert len(times) == len(program.launches) and min(times) > 0, times
    np.testing.assert_array_equal(session.outputs()["scores"], wanted)
gpu.close()
import ctypes
print(ctypes.CDLL("libcuda.so.1").fake_held())
"""
    )
    assert run(driver, "python", code).stdout == "Fake GPU (9, 0)\n0\n"


REFUSED = """
try:
    with CudaSession(program, Gpu()) as session:
        session.run(samples[0])
except CudaError as error:
    print(error)
"""


@pytest.mark.parametrize(("settings", "said"), [
    ({"CAPABILITY": "7.5"}, r"Fake GPU has compute capability 7\.5; 8\.0 or newer would do"),
    ({"DEVICES": "0"}, "no NVIDIA GPU: the driver has none"),
    ({"BYTES": "9000"}, r"cuMemAlloc of \d\d,\d\d\d bytes failed: out of memory"),
])  # fmt: skip
def test_a_gpu_that_does_not_do_is_one_line(
    driver: Path, settings: dict[str, str], said: str
) -> None:
    found = run(driver, "python", NETWORK + REFUSED, settings=settings)
    assert re.fullmatch(f"{said}\n", found.stdout)
    assert not found.stderr


def test_a_kernel_that_fails_is_told_when_the_network_has_run(driver: Path) -> None:
    code = NETWORK + """
from dataclasses import replace
from vtakit.runtime.cuda.program import Place
launch = program.launches[-1]
wrong = replace(launch, pointers=tuple(Place(False, 1 << 29) for _ in launch.pointers))
program = replace(program, launches=(*program.launches[:-1], wrong))
""" + REFUSED  # fmt: skip
    found = run(driver, "python", code)
    assert found.stdout == (
        "cuStreamSynchronize failed: an illegal memory access was encountered\n"
    )
    assert "nothing is allocated" in found.stderr


@pytest.mark.skipif(driver_version() is not None, reason="this machine has a GPU")
def test_without_a_driver_there_is_no_gpu() -> None:
    code = "from vtakit.runtime.cuda.gpu import Gpu; Gpu()"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / ".root")},
        capture_output=True,
        text=True,
    )
    assert ran.stderr.splitlines()[-1] == (
        "vtakit.runtime.cuda.program.CudaError: no NVIDIA GPU, or no driver for it"
    )


def test_without_cuda_bindings_what_brings_them_is_told(driver: Path) -> None:
    code = """
import sys
sys.modules["cuda"] = None
from vtakit.runtime.cuda.gpu import Gpu
from vtakit.runtime.cuda.program import CudaError
try:
    Gpu()
except CudaError as error:
    print(error)
"""
    assert run(driver, "python", code).stdout == (
        "the cuda engine needs cuda-bindings: pip install 'vtakit[cuda]'\n"
    )
