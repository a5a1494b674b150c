"""This project's own code for a GPU as a rival, in integers and in float."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .rival import Case, Rival, RivalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...compiler.graph import Graph
    from ...runtime.cuda.gpu import Gpu
    from ...runtime.cuda.session import CudaSession

TIMED_RUNS = 25
"""How often kernels are timed: layers have the median of each."""


def cuda(case: Case) -> Rival:
    """Return the whole integer network as code for the GPU."""
    return Cuda("cuda", case, case.network.integers, "int8", exact=True)


def cuda_float(case: Case) -> Rival | None:
    """Return a float model as code for the GPU; None for one that is int8, or without a GPU."""
    from ...runtime.cuda.gpu import driver_version

    if not case.network.was_float or driver_version() is None:
        return None
    return Cuda("cuda-float32", case, case.network.source, "float32", exact=False)


class Cuda:
    """Kernels in a GPU's memory, where inputs and outputs are too; see `rival.Rival`.

    Parameters
    ----------
    key : str
    case : Case
    graph : Graph
        What is compiled.
    arithmetic : str
    exact : bool
    """

    name = "vtakit's CUDA code"
    ours = True

    def __init__(self, key: str, case: Case, graph: Graph, arithmetic: str, *, exact: bool) -> None:
        self.key = key
        self.arithmetic = arithmetic
        self.exact = exact
        self._case = case
        self._graph = graph
        self._gpu: Gpu | None = None
        self._opened: CudaSession | None = None

    @property
    def detail(self) -> dict[str, str]:
        """Where it runs."""
        return {
            "GPU": self._gpu.name if self._gpu else "",
            "inputs and outputs": "in the GPU's memory",
            "kernels": str(len(self._session.program.launches)),
        }

    @property
    def _session(self) -> CudaSession:
        assert self._opened is not None, "it is not prepared"
        return self._opened

    def prepare(self) -> None:
        """Compile, and bring weights and inputs to the GPU.

        Raises
        ------
        RivalError
            Without a GPU that does.
        """
        from ...compiler.cuda.build import build_cuda
        from ...runtime.cuda.gpu import Gpu
        from ...runtime.cuda.program import CudaError
        from ...runtime.cuda.session import CudaSession

        try:
            self._gpu = Gpu()
            self._opened = CudaSession(build_cuda(self._graph), self._gpu)
            self._opened.run(self._case.inputs)
        except CudaError as error:
            raise RivalError(str(error)) from None

    def run(self) -> float:
        """Infer once; the seconds are those of launching and waiting."""
        session = self._session
        begun = perf_counter()
        session.execute()
        return perf_counter() - begun

    def layers(self) -> Mapping[str, float]:
        """Run with an event after each kernel, and add up those of a layer."""
        return layer_seconds(self._session)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return the outputs of the last inference."""
        return self._session.outputs()

    def close(self) -> None:
        """Give the GPU's memory back."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None
        if self._gpu is not None:
            self._gpu.close()
            self._gpu = None


def layer_seconds(session: CudaSession) -> dict[str, float]:
    """Return the median seconds of each layer on the inputs that are there, in order.

    Under "" is what belongs to no layer: inputs and outputs copied into another layout.
    """
    steps = np.median([session.times() for _ in range(TIMED_RUNS)], axis=0)
    found: dict[str, float] = {}
    for layer, seconds in zip(session.program.layers, steps, strict=True):
        found[layer] = found.get(layer, 0.0) + float(seconds)
    return found
