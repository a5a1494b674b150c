"""A network whole on this CPU: compiled by LLVM, timed by layer, its outputs checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .ran import Ran
from .whole import timed, whole_ran

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..compiler.graph import Graph


def run_on_cpu(
    graph: Graph,
    arrays: Mapping[str, NDArray[Any]],
    precision: str,
    target: str,
    cpus: Sequence[int],
    threads: int,
    say: Callable[[str], None],
) -> Ran:
    """Run a graph with a team of threads, one on each of these CPUs.

    Parameters
    ----------
    graph : Graph
    arrays : mapping of input name to array
    precision : str
        That of the graph: "int8" or "float32".
    target : str
        The CPU to compile for; code for one that has more than this one is refused.
    cpus : sequence of int
        Empty where threads cannot be pinned.
    threads : int
    say
        Told what is being done.
    """
    from ..compiler.cpu.cache import cached_native
    from ..compiler.cpu.targets import target as cpu_of
    from ..runtime.native.code import check_target
    from ..runtime.native.jit import this_cpu
    from .rivals.cpus import pinned
    from .rivals.native import layer_seconds, opened

    cpu = cpu_of(target)
    check_target(cpu, this_cpu())
    say("compiling with LLVM")
    begun = perf_counter()
    program = cached_native(graph, cpu)
    compiled_after = perf_counter() - begun
    say(f"running on {threads} thread{'s' * (threads > 1)}")
    with pinned(cpus[:1]), opened(program, threads, cpus) as session:
        first = session.run(arrays)
        time = timed(session.execute)
        layers = layer_seconds(session)
        last = {name: array.copy() for name, array in session.outputs.items()}
    say("checking")
    return whole_ran(
        graph,
        precision,
        "cpu",
        arrays,
        first,
        last,
        time,
        layers,
        compiled_after,
        lines={"code": f"for {program.code.cpu}, on {threads} thread{'s' * (threads > 1)}"},
        facts={
            "threads": threads,
            "cpu": program.code.cpu,
            "memory": {
                "arena_bytes": program.arena_bytes,
                "constant_bytes": len(program.constants),
            },
        },
    )
