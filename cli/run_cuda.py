"""A network whole on an NVIDIA GPU: its kernels timed by layer, its outputs checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .compare_words import duration
from .ran import Ran
from .whole import timed, whole_ran

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..compiler.graph import Graph
    from ..runtime.cuda.gpu import Gpu
    from ..runtime.cuda.session import CudaSession


def run_on_cuda(
    graph: Graph,
    arrays: Mapping[str, NDArray[Any]],
    precision: str,
    gpu: Gpu,
    say: Callable[[str], None],
) -> Ran:
    """Run a graph on a GPU.

    Parameters
    ----------
    graph : Graph
    arrays : mapping of input name to array
    precision : str
        That of the graph: "int8" or "float32".
    gpu : Gpu
    say
        Told what is being done.
    """
    from ..compiler.cuda.build import build_cuda
    from ..runtime.cuda.session import CudaSession
    from .rivals.cuda import layer_seconds

    say("compiling for the GPU")
    begun = perf_counter()
    program = build_cuda(graph)
    session = CudaSession(program, gpu)
    compiled_after = perf_counter() - begun
    say(f"running on {gpu.name}")
    with session:
        first = session.run(arrays)
        time = timed(session.execute)
        copies = timed(lambda: _copy(session, arrays))
        layers = layer_seconds(session)
        last = session.outputs()
    say("checking")
    return whole_ran(
        graph,
        precision,
        "cuda",
        arrays,
        first,
        last,
        time,
        layers,
        compiled_after,
        lines={
            "code": f"for {gpu.name}, in {len(program.launches)} kernels",
            "copies": f"{duration(copies.median)} more for inputs and outputs, to the GPU and back",
        },
        facts={
            "gpu": gpu.name,
            "capability": ".".join(map(str, gpu.capability)),
            "kernels": len(program.launches),
            "copies_seconds": copies.median,
            "memory": {
                "arena_bytes": program.arena_bytes,
                "constant_bytes": len(program.constants),
            },
        },
    )


def _copy(session: CudaSession, arrays: Mapping[str, NDArray[Any]]) -> None:
    session.put(arrays)
    session.outputs()
