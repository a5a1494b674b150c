"""A team of threads that stays warm, and runs native functions together."""

import ctypes
import functools
import os
import sys
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from .errors import NativeError
from .memory import aligned
from .team_functions import LINE_BYTES, Outcome, TeamState, team_functions

SPINS = 200
"""Looks at a word before a waiting thread offers its CPU to others: some 10 us.

Longer would gain little, as the offer costs a fraction of one where nobody takes it, and lose much
where caller and worker have come to share a CPU: then every run waits as long."""

IDLE_SECONDS = 0.1
"""After which a worker without work parks, and uses no CPU."""

PATIENCE_NS = 20_000_000
"""Waits for workers it has woken, before a caller looks for interruptions and wakes them again.

They need the interpreter's lock, which other threads may hold for long."""

LEAVE_SECONDS = 1.0
"""Given to a worker to leave, when a team is closed."""

MOST_THREADS = 1024


class Team:
    """Threads that run a native function together; the caller's is number 0.

    The others start with the first run. Between runs they wait outside Python, ready in about a
    microsecond; after `idle_seconds` they park, and the next run wakes them. A process that forks
    may use its teams on both sides. Teams left open stop with the process, or when forgotten.

    Parameters
    ----------
    threads : int
        How many, the caller's among them.
    pinned : bool
        Keep thread i on the i-th CPU of those that the process may use, where the system can
        (Linux) and there are as many; the caller's only inside `caller_pinned`.
    idle_seconds : float
        How long a worker waits for the next run, on its CPU, before it parks.

    Raises
    ------
    NativeError
        For a number of threads below 1 or above `MOST_THREADS`.
    """

    def __init__(
        self, threads: int, *, pinned: bool = True, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        if not 1 <= threads <= MOST_THREADS:
            raise NativeError(f"a team cannot have {threads} threads, but 1 to {MOST_THREADS}")
        self.threads = threads
        self.pinned = pinned
        self.idle_seconds = idle_seconds
        self._native_run = team_functions().run
        self._enrol()
        _teams().add(self)

    def run(self, entry_address: int, arena: int, constants: int, times: int) -> None:
        """Have every thread call a function, and return when all have.

            void entry(arena, constants, times, team, thread, threads)

        Parameters
        ----------
        entry_address : int
            Of the function, as `LoadedCode.address` gives it. Nothing checks it, and what the
            function does to memory is its own affair.
        arena, constants, times : int
            Addresses that it is given.

        Raises
        ------
        NativeError
            When the team is running already, or closed, or its threads cannot be started. Nothing
            was called then.
        """
        outcome = self._native_run(self._state, entry_address, arena, constants, times, 0)
        if outcome != Outcome.DONE:
            self._run_after(outcome, entry_address, arena, constants, times)

    def _run_after(
        self, outcome: int, entry_address: int, arena: int, constants: int, times: int
    ) -> None:
        """Run after a first try that found the team asleep or busy.

        An interruption on the way leaves the team as it was: native code begins a run only once
        all are awake, and then ends it.
        """
        while outcome == Outcome.ASLEEP:
            with self.caller_pinned():  # off the workers' CPUs; where it is, it may stay
                self._crew.wake()
                outcome = self._native_run(
                    self._state, entry_address, arena, constants, times, PATIENCE_NS
                )
        if outcome == Outcome.BUSY:
            if self._crew.stopped:
                raise NativeError("the team is closed")
            raise NativeError(
                "the team is running already: a run cannot begin inside another, nor in two "
                "threads at once; give each its own team"
            )

    @contextmanager
    def caller_pinned(self) -> Generator[None]:
        """Keep the calling thread on the first CPU, and let it go where it might before after."""
        if not self._crew.cpus:
            yield
            return
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {self._crew.cpus[0]})
            yield
        finally:
            os.sched_setaffinity(0, before)

    def close(self) -> None:
        """Stop the threads, and wait until they have left. May be called again.

        Raises
        ------
        NativeError
            When the team is running.
        """
        if not self._crew.stop():
            raise NativeError("the team is running: it cannot be closed before it is done")
        self._stop.detach()
        self._crew.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def renew(self) -> None:
        """Take new threads, in a process that was forked and has only the one that did it."""
        if not self._crew.stopped:
            self._stop.detach()
            self._enrol()

    def _enrol(self) -> None:
        self._crew = _Crew(self.threads, self.pinned, self.idle_seconds)
        self._state = self._crew.address
        self._stop = weakref.finalize(self, self._crew.stop)


class _Crew:
    """The workers of a team and what they share; they keep it, and not the team, alive."""

    def __init__(self, threads: int, pinned: bool, idle_seconds: float) -> None:
        self.functions = team_functions()
        available = _cpus()
        enough = len(available) >= threads
        self.cpus = available[:threads] if pinned and enough else []
        memory = aligned(ctypes.sizeof(TeamState), LINE_BYTES)
        self._state = TeamState.from_buffer(memory.data)
        self._state.threads = threads
        self._state.parked = threads - 1  # not started is as good as parked
        self._state.spins = SPINS if enough else 0
        self._state.idle_ns = int(1e9 * idle_seconds)
        self.address = ctypes.addressof(self._state)
        self._seats = [_Seat() for _ in range(1, threads)]

    @property
    def stopped(self) -> bool:
        return bool(self._state.stopping)

    def wake(self) -> None:
        """Start the workers that there are not, and wake the others."""
        for thread, seat in enumerate(self._seats, 1):
            if seat.taken.locked():
                with suppress(RuntimeError):  # it is open already
                    seat.gate.release()
                continue
            worker = threading.Thread(
                target=self._work, args=(thread,), name=f"vtakit-{thread}", daemon=True
            )
            try:
                worker.start()
            except RuntimeError as error:
                raise NativeError(f"cannot start thread {thread} of a team: {error}") from None

    def stop(self) -> bool:
        """Tell the workers to leave; return whether they do, which they cannot during a run."""
        if not self.stopped and self.functions.stop(self.address) != Outcome.DONE:
            return False
        for seat in self._seats:
            with suppress(RuntimeError):
                seat.gate.release()
        return True

    def join(self) -> None:
        """Wait until the workers have left."""
        for seat in self._seats:
            if seat.taken.acquire(timeout=LEAVE_SECONDS):
                seat.taken.release()

    def _work(self, thread: int) -> None:
        seat = self._seats[thread - 1]
        if not seat.taken.acquire(blocking=False):
            return  # started twice, by a caller who was interrupted
        try:
            if self.cpus:
                with suppress(OSError):  # a CPU that the process may not use any more
                    os.sched_setaffinity(0, {self.cpus[thread]})
            while not self.functions.work(self.address, thread):
                seat.gate.acquire()
        finally:
            seat.taken.release()


class _Seat:
    """A worker's place: `taken` as long as it has a thread, which parks at the `gate`."""

    def __init__(self) -> None:
        self.taken = threading.Lock()
        self.gate = threading.Lock()
        self.gate.acquire()


def _cpus() -> list[int]:
    """Return the CPUs that the process may use: its first thread's, where the system tells."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(os.getpid()))
    return list(range(os.cpu_count() or 1))


@functools.cache
def _teams() -> "weakref.WeakSet[Team]":
    """Return where every team is noted, so that a forked process gives each new threads."""
    teams: weakref.WeakSet[Team] = weakref.WeakSet()

    def renew() -> None:
        for team in list(teams):
            team.renew()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)
    return teams
