"""The CPUs that rivals are pinned to, and waiting until nothing of ours runs on them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROC = Path("/proc")
TOPOLOGY = Path("/sys/devices/system/cpu")

QUIET_STEP_SECONDS = 0.02
"""Some ticks of a kernel's clock: with each it counts what a thread on another CPU has used."""

QUIET_SECONDS = 0.5
"""The most that threads are waited for; those of ONNX Runtime 1.32 spin for 45 ms."""


def usable() -> tuple[int, ...]:
    """Return the CPUs that this process may use, those of different cores first.

    Where an operating system cannot say, none.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    allowed = sorted(os.sched_getaffinity(0))
    seen: set[tuple[int, ...]] = set()
    first: list[int] = []
    for cpu in allowed:
        core = siblings(cpu)
        if core not in seen:
            first.append(cpu)
        seen.add(core)
    return (*first, *(cpu for cpu in allowed if cpu not in first))


def siblings(cpu: int) -> tuple[int, ...]:
    """Return the CPUs that are hardware threads of one core with this one, which is among them."""
    try:
        text = (TOPOLOGY / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
        found: list[int] = []
        for part in text.strip().split(","):
            low, _, high = part.partition("-")
            found.extend(range(int(low), int(high or low) + 1))
    except (OSError, ValueError):
        return (cpu,)
    return tuple(found)


def model_name() -> str:
    """Return what the CPU calls itself."""
    try:
        for line in (PROC / "cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip().lower() in ("model name", "cpu model", "hardware") and value.strip():
                return " ".join(value.split())
    except OSError:
        pass
    return platform.processor() or platform.machine()


@contextmanager
def pinned(cpus: Sequence[int]) -> Generator[None]:
    """Keep the calling thread, and those that it starts, on these CPUs; none: where they are."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def quieten() -> None:
    """Wait until this process' other threads no longer spin, so that they disturb nobody's turn."""
    end = time.perf_counter() + QUIET_SECONDS
    while (began := time.perf_counter()) < end:
        used = time.process_time()
        time.sleep(QUIET_STEP_SECONDS)
        if time.process_time() - used < (time.perf_counter() - began) / 4:
            return
