"""What the threads of a team share, and the compiled functions that work on it."""
# pyright: basic
# (llvmlite has no types)

import ctypes
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from .jit import Linked, target_machine, this_cpu
from .symbols import address

LINE_BYTES = 128
"""Apart enough for two threads' words: CPUs fetch cache lines of 64 bytes in pairs."""


class Outcome(IntEnum):
    """What `run` and `stop` return."""

    DONE = 0
    ASLEEP = 1  # nothing was begun: workers are parked
    BUSY = 2  # nothing was begun: the team is running, or stopped


class TeamState(ctypes.Structure):
    """`Team` of native code. Padding keeps apart what is written at different times."""

    _fields_ = [
        ("epoch", ctypes.c_uint32),  # counts the runs
        ("stopping", ctypes.c_int32),
        ("entry", ctypes.c_void_p),  # what the newest run calls, and with what
        ("arena", ctypes.c_void_p),
        ("constants", ctypes.c_void_p),
        ("times", ctypes.c_void_p),
        ("_run_line", ctypes.c_byte * (LINE_BYTES - 40)),
        ("generation", ctypes.c_uint32),  # of the barrier: counts how often all have met
        ("arrived", ctypes.c_int32),  # at the barrier
        ("threads", ctypes.c_int32),
        ("spins", ctypes.c_int32),  # looks at a word before the CPU is offered to others
        ("_barrier_line", ctypes.c_byte * (LINE_BYTES - 16)),
        ("claimed", ctypes.c_int32),  # 1 while a caller runs the team, and once it is stopped
        ("parked", ctypes.c_int32),  # workers that are not in `work`
        ("idle_ns", ctypes.c_int64),  # after which a worker without work parks
        ("_park_line", ctypes.c_byte * (LINE_BYTES - 16)),
    ]


@dataclass(frozen=True, eq=False)
class TeamFunctions:
    """The compiled functions; while one runs, other Python threads do.

    Attributes
    ----------
    run : (team, entry, arena, constants, times, patience) -> Outcome
        Has every thread call the entry, and returns when all have. While workers are parked it
        waits for them first, about `patience` nanoseconds at most.
    work : (team, thread) -> 0 when this worker is parked, 1 when the team is stopped
        A worker's part of the runs to come.
    stop : (team) -> Outcome
        Has every worker's `work` return 1.
    barrier : int
        The address of `void vtakit_barrier(Team *)`.
    linked : Linked
        Their memory.
    """

    run: Callable[[int, int, int, int, int, int], int]
    work: Callable[[int, int], int]
    stop: Callable[[int], int]
    barrier: int
    linked: Linked


_ONE_AT_A_TIME = threading.Lock()


def team_functions() -> TeamFunctions:
    """Compile and load the functions, in some 20 ms, once in a process: they are never unloaded."""
    with _ONE_AT_A_TIME:
        return _compiled()


@functools.cache
def _compiled() -> TeamFunctions:
    from llvmlite import binding

    from .team_ir import team_module

    machine = target_machine(this_cpu())
    module = binding.parse_assembly(str(team_module(this_cpu())))
    module.verify()
    pointer = ctypes.c_void_p  # for numbers too, where calls must be fast: ctypes passes it fastest
    signatures: dict[str, tuple[Any, ...]] = {
        "run": (ctypes.c_int32, *[pointer] * 6),
        "work": (ctypes.c_int32, pointer, ctypes.c_int32),
        "stop": (ctypes.c_int32, pointer),
    }
    linked = Linked(
        machine.emit_object(module),
        {name: address(name) for name in ("sched_yield", "clock_gettime")},
        [f"vtakit_{name}" for name in (*signatures, "barrier")],
    )
    functions: dict[str, Any] = {
        name: ctypes.CFUNCTYPE(*types)(linked.addresses[f"vtakit_{name}"])
        for name, types in signatures.items()
    }
    return TeamFunctions(**functions, barrier=linked.addresses["vtakit_barrier"], linked=linked)
