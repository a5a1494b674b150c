"""Networks of the examples, compiled for GPUs once."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtakit.compiler.check import check_outputs, rounded_outputs
from vtakit.compiler.cuda.build import build_cuda
from vtakit.compiler.passes.quantize import random_samples
from vtakit.compiler.reference import outputs
from vtakit.runtime.cuda.program import CudaProgram
from vtakit.runtime.cuda.session import CudaSession

from ..networks import graph
from .ptx_gpu import PtxGpu


@functools.cache
def program(name: str, kind: str, folder: Path) -> CudaProgram:
    """Return a network compiled for GPUs."""
    return build_cuda(graph(name, kind, folder))


def check(name: str, kind: str, folder: Path) -> None:
    """Run a network on the interpreter of PTX and compare it with the reference."""
    found = graph(name, kind, folder)
    with CudaSession(program(name, kind, folder), PtxGpu()) as session:
        for seed in (1, 2):
            (inputs,) = random_samples(found, 1, seed)
            wanted: dict[str, NDArray[Any]] = outputs(found, inputs)
            checked = check_outputs(session.run(inputs), wanted, rounded_outputs(found))
            assert checked.equal, checked
            assert all(np.isfinite(array).all() for array in wanted.values())
