"""What a team of threads costs: the call, a barrier, and waking it after it has parked.

    python benchmarks/team.py [--threads N ...] [--json]

Medians. `bare` is the same call through ctypes without a team, and `over bare` what a run takes
more. `start` is the first run, which starts the threads. `wake` is a run after a pause in which
they parked; with one thread, which never parks, it is what the pause itself costs. Threads that
outnumber the CPUs, or share them with other programs, are slower: they offer their CPU to each
other.
"""

import argparse
import ctypes
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
from llvmlite import binding
from rich.console import Console
from rich.table import Table
from vtakit.runtime.native.code import LoadedCode, NativeCode
from vtakit.runtime.native.jit import target_machine, this_cpu
from vtakit.runtime.native.team import Team

CALLS = 5000
BARRIERS = 10_000
REPEATS = 20
IDLE_SECONDS = 0.005
ARGUMENTS = "ptr %arena, ptr %constants, ptr %times, ptr %team, i32 %thread, i32 %threads"
ENTRIES = f"""
    declare void @vtakit_barrier(ptr)

    define void @nothing({ARGUMENTS}) {{
      ret void
    }}
    define void @meet({ARGUMENTS}) {{
    begin:
      %count = load i32, ptr %constants
      br label %loop
    loop:
      %i = phi i32 [0, %begin], [%next, %loop]
      call void @vtakit_barrier(ptr %team)
      %next = add i32 %i, 1
      %more = icmp ult i32 %next, %count
      br i1 %more, label %loop, label %done
    done:
      ret void
    }}
"""


def main() -> int:
    """Run from the command line."""
    cpus = os.cpu_count() or 1
    default = sorted({1, 2, cpus, cpus + 1})
    parser = argparse.ArgumentParser(description="What a team of threads costs.")
    parser.add_argument("--threads", type=int, nargs="+", default=default, metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    with LoadedCode(compile_entries()) as code:
        bare = bare_call(code)
        rows = [
            measure(code, threads, pinned, bare)
            for threads in options.threads
            for pinned in (False, True)
        ]
    if options.json:
        print(json.dumps({"cpus": cpus, "bare_ns": bare, "teams": rows}, indent=1))
    else:
        print_table(rows, bare, cpus)
    return 0


def compile_entries() -> NativeCode:
    """Return the code of ENTRIES for this CPU."""
    cpu = this_cpu()
    machine = target_machine(cpu)
    data = machine.emit_object(binding.parse_assembly(ENTRIES))
    return NativeCode(data, cpu.triple, cpu.name, cpu.features, ("nothing", "meet"), ((), ()))


def bare_call(code: LoadedCode) -> float:
    """Return nanoseconds of calling `nothing` without a team."""
    pointers = [ctypes.c_void_p] * 6
    nothing = ctypes.CFUNCTYPE(None, *pointers)(code.address("nothing"))
    return statistics.median(times(lambda: nothing(0, 0, 0, 0, 0, 1), CALLS))


def measure(code: LoadedCode, threads: int, pinned: bool, bare: float) -> dict[str, Any]:
    """Return a row: medians, and of calls what 9 of 10 stay under."""
    count = np.array([BARRIERS], np.int32)
    nothing = (code.address("nothing"), 0, 0, 0)
    meet = (code.address("meet"), 0, count.ctypes.data, 0)
    with Team(threads, idle_seconds=IDLE_SECONDS) as team:
        started = times(lambda: team.run(*nothing), 1)[0]
        with team.caller_pinned() if pinned else nullcontext():
            calls = times(lambda: team.run(*nothing), CALLS)
            meetings = times(lambda: team.run(*meet), REPEATS)
            wakings: list[int] = []
            for _ in range(REPEATS):
                time.sleep(4 * IDLE_SECONDS)
                wakings += times(lambda: team.run(*nothing), 1)
    call = statistics.median(calls)
    return {
        "threads": threads,
        "caller_pinned": pinned,
        "start_ns": started,
        "call_ns": call,
        "call_9_of_10_ns": statistics.quantiles(calls, n=10)[8],
        "call_over_bare_ns": call - bare,
        "barrier_ns": (statistics.median(meetings) - call) / BARRIERS,
        "wake_ns": statistics.median(wakings),
    }


def times(function: Callable[[], object], count: int) -> list[int]:
    """Return nanoseconds of each of `count` calls."""
    taken: list[int] = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        function()
        taken.append(time.perf_counter_ns() - begun)
    return taken


def print_table(rows: list[dict[str, Any]], bare: float, cpus: int) -> None:
    """Print a row for each team."""
    titles = ("threads", "caller pinned", "start us", "call us", "9 of 10", "over bare us")
    table = Table(*titles, "barrier ns", "wake us", box=None)
    for column in table.columns:
        column.justify = "right"
    for row in rows:
        table.add_row(
            str(row["threads"]),
            "yes" if row["caller_pinned"] else "no",
            f"{row['start_ns'] / 1e3:.0f}",
            f"{row['call_ns'] / 1e3:.2f}",
            f"{row['call_9_of_10_ns'] / 1e3:.2f}",
            f"{row['call_over_bare_ns'] / 1e3:.2f}",
            f"{row['barrier_ns']:.1f}",
            f"{row['wake_ns'] / 1e3:.0f}",
        )
    console = Console(width=110)
    console.print(f"{cpus} CPUs; a bare call takes {bare / 1e3:.2f} us")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
