"""A network whole on this CPU: compiled by LLVM, timed by layer, its outputs checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .ran import Ran

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..compiler.graph import Graph
    from ..runtime.native.program import NativeSession
    from .rivals.figures import Figure

TIMED_SECONDS, TIMED_RUNS, MOST_TIMED_RUNS = 0.5, 7, 10_000
"""How long and how often the whole is timed, after a fifth as many runs that warm up."""


def run_on_cpu(
    graph: Graph,
    arrays: Mapping[str, NDArray[Any]],
    precision: str,
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
    cpus : sequence of int
        Empty where threads cannot be pinned.
    threads : int
    say
        Told what is being done.
    """
    from ..compiler.check import FLOAT_TOLERANCE, check_outputs, rounded_outputs
    from ..compiler.cpu.cache import cached_native
    from ..compiler.reference import outputs
    from .compare_report import scaled
    from .rivals.cpus import pinned
    from .rivals.native import layer_seconds, opened
    from .whole import print_whole, whole_report

    say("compiling with LLVM")
    begun = perf_counter()
    program = cached_native(graph)
    compiled_after = perf_counter() - begun
    say(f"running on {threads} thread{'s' * (threads > 1)}")
    with pinned(cpus[:1]), opened(program, threads, cpus) as session:
        found = session.run(arrays)
        time = _timed(session)
        layers = scaled(layer_seconds(session), time.median)
        repeated = {name: array.copy() for name, array in session.outputs.items()}
    say("checking")
    expected = outputs(graph, arrays)
    rounded = rounded_outputs(graph)
    check = check_outputs(found, expected, rounded)
    if check.equal:  # what was timed must be right too
        check = check_outputs(repeated, expected, rounded)
    rows = whole_report(graph, layers, "cpu")
    memory = {"arena_bytes": program.arena_bytes, "constant_bytes": len(program.constants)}
    return Ran(
        rows=rows,
        outputs=found,
        check=check,
        against="integer reference" if precision == "int8" else "float reference",
        unit="outputs",
        seconds={"compile": compiled_after, "run": time.median},
        show=print_whole,
        lines={
            "run": _words(time),
            "code": f"for {program.code.cpu}, on {threads} thread{'s' * (threads > 1)}",
        },
        facts={
            "precision": precision,
            "threads": threads,
            "cpu": program.code.cpu,
            "inference": {
                "seconds": time.median,
                "least": time.least,
                "spread": time.spread,
                "per_second": 1 / time.median,
                "macs_per_second": rows.macs / time.median,
            },
            "tolerance": FLOAT_TOLERANCE if rounded else 0.0,
            "memory": memory,
        },
    )


def _timed(session: NativeSession) -> Figure:
    """Return what inferences take, on the inputs that are there."""
    from .rivals.figures import figure

    samples: list[float] = []
    spent = 0.0
    while len(samples) < TIMED_RUNS or (
        spent < 1.2 * TIMED_SECONDS and len(samples) < MOST_TIMED_RUNS
    ):
        begun = perf_counter()
        session.execute()
        samples.append(perf_counter() - begun)
        spent += samples[-1]
    return figure(samples[len(samples) // 6 :])


def _words(time: Figure) -> str:
    from .compare_words import duration, per_cent

    return (
        f"{duration(time.median)} (least {duration(time.least)}, "
        f"spread {per_cent(time.spread)}), {1 / time.median:,.0f} a second"
    )
