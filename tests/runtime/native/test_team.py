"""Teams: every thread runs, all meet at the barrier, and nothing leaves a team unusable."""

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.runtime.native.code import LoadedCode
from vtakit.runtime.native.errors import NativeError
from vtakit.runtime.native.memory import aligned, view
from vtakit.runtime.native.team import MOST_THREADS, Team

from .conftest import Compile

ARGUMENTS = "ptr %arena, ptr %constants, ptr %times, ptr %team, i32 %thread, i32 %threads"
ENTRIES = f"""
    declare void @vtakit_barrier(ptr)

    ; constants: how many steps. arena: slots, int32 (threads), and 4096 bytes later their sums.
    ; In each step every slot becomes the sum of its neighbours.
    define void @spread({ARGUMENTS}) {{
    begin:
      %steps = load i32, ptr %constants
      %next = add i32 %thread, 1
      %previous = add i32 %next, %threads
      %before_it = sub i32 %previous, 2
      %right = urem i32 %next, %threads
      %left = urem i32 %before_it, %threads
      %sums = getelementptr i8, ptr %arena, i64 4096
      %own = getelementptr i32, ptr %arena, i32 %thread
      %own_sum = getelementptr i32, ptr %sums, i32 %thread
      %left_at = getelementptr i32, ptr %arena, i32 %left
      %right_at = getelementptr i32, ptr %arena, i32 %right
      br label %step
    step:
      %i = phi i32 [0, %begin], [%following, %step]
      %l = load i32, ptr %left_at
      %r = load i32, ptr %right_at
      %sum = add i32 %l, %r
      store i32 %sum, ptr %own_sum
      call void @vtakit_barrier(ptr %team)
      %new = load i32, ptr %own_sum
      store i32 %new, ptr %own
      call void @vtakit_barrier(ptr %team)
      %following = add i32 %i, 1
      %more = icmp ult i32 %following, %steps
      br i1 %more, label %step, label %done
    done:
      store i64 7, ptr %times
      ret void
    }}

    ; Says in arena[0] that it runs, and does until arena[1] is set.
    define void @until_told({ARGUMENTS}) {{
    begin:
      %told = getelementptr i32, ptr %arena, i32 1
      store atomic i32 1, ptr %arena seq_cst, align 4
      br label %loop
    loop:
      %value = load atomic i32, ptr %told seq_cst, align 4
      %stay = icmp eq i32 %value, 0
      br i1 %stay, label %loop, label %done
    done:
      ret void
    }}

    ; The caller's thread calls the function whose address constants hold.
    define void @call_back({ARGUMENTS}) {{
    begin:
      %callers = icmp eq i32 %thread, 0
      br i1 %callers, label %call, label %done
    call:
      %function = load ptr, ptr %constants
      call void %function()
      br label %done
    done:
      ret void
    }}
"""
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="threads are pinned on Linux only")
SIZES = [1, 2, 3, 5]


class Spread:
    """Runs `spread` on teams, and checks it against NumPy."""

    def __init__(self, code: LoadedCode) -> None:
        self.entry = code.address("spread")
        self.memory = aligned(8192)
        self.given = aligned(128)
        self.steps = view(self.given, 0, np.int32, (1,))
        self.times = view(self.given, 64, np.uint64, (1,))

    def start(self, team: Team, steps: int, seed: int = 0) -> npt.NDArray[np.int32]:
        """Fill the slots and run; return what must be in them then."""
        slots = view(self.memory, 0, np.int32, (team.threads,))
        slots[...] = np.random.default_rng(seed).integers(-1 << 31, 1 << 31, team.threads)
        self.steps[0], self.times[0] = steps, 0
        expected = slots.astype(np.int32)
        for _ in range(steps):
            expected = np.roll(expected, 1) + np.roll(expected, -1)
        data = self.memory.ctypes.data, self.steps.ctypes.data, self.times.ctypes.data
        team.run(self.entry, *data)
        return expected

    def check(self, team: Team, steps: int = 3, seed: int = 0) -> None:
        expected = self.start(team, steps, seed)
        assert np.array_equal(view(self.memory, 0, np.int32, (team.threads,)), expected)
        assert self.times[0] == 7


@pytest.fixture(scope="module")
def code(compile_ir: Compile) -> Generator[LoadedCode]:
    with LoadedCode(compile_ir(ENTRIES, "spread", "until_told", "call_back")) as loaded:
        yield loaded


@pytest.fixture
def spread(code: LoadedCode) -> Spread:
    return Spread(code)


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("vtakit-")]


def soon(holds: Any) -> bool:
    """Whether something holds within some seconds."""
    end = time.monotonic() + 10
    while not holds() and time.monotonic() < end:
        time.sleep(0.002)
    return bool(holds())


@pytest.mark.parametrize("threads", SIZES)
def test_every_thread_runs_and_all_meet_a_thousand_times(threads: int, spread: Spread) -> None:
    with Team(threads) as team:
        for seed in range(1000):
            spread.check(team, seed=seed)


@settings(max_examples=30, deadline=None)
@given(threads=st.integers(1, 9), steps=st.integers(1, 400), pinned=st.booleans())
def test_any_number_of_threads_meets_any_number_of_times(
    code: LoadedCode, threads: int, steps: int, pinned: bool
) -> None:
    with Team(threads, pinned=pinned) as team:
        Spread(code).check(team, steps)


@pytest.mark.parametrize("threads", SIZES)
@pytest.mark.parametrize("idle_seconds", [0, 2e-5, 1e-3])
def test_no_run_is_lost_while_workers_park(
    threads: int, idle_seconds: float, spread: Spread
) -> None:
    pauses = np.random.default_rng(threads).exponential(idle_seconds + 1e-5, 300)
    with Team(threads, idle_seconds=idle_seconds) as team:
        for seed, pause in enumerate(pauses):
            spread.check(team, seed=seed)
            time.sleep(pause)


def test_an_idle_team_uses_no_cpu(spread: Spread) -> None:
    with Team(3, idle_seconds=0.01) as team:
        spread.check(team)
        time.sleep(0.2)
        before = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - before < 0.05
        spread.check(team)


def test_a_team_starts_no_thread_before_its_first_run(spread: Spread) -> None:
    before = workers()
    with Team(3) as team:
        assert workers() == before
        spread.check(team)
        assert len(workers()) == len(before) + 2


def test_a_closed_team_has_no_threads_and_runs_nothing(spread: Spread) -> None:
    before = workers()
    team = Team(3)
    spread.check(team)
    team.close()
    team.close()
    assert soon(lambda: workers() == before)
    with pytest.raises(NativeError, match=r"^the team is closed$"):
        spread.start(team, 1)


@pytest.mark.parametrize("parked", [False, True])
def test_a_forgotten_team_stops_its_threads(parked: bool, spread: Spread) -> None:
    before = workers()
    team = Team(3, idle_seconds=0.001 if parked else 100)
    spread.check(team)
    time.sleep(0.05)
    del team
    gc.collect()
    assert soon(lambda: workers() == before)


def test_two_teams_work_side_by_side(code: LoadedCode) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            spread = Spread(code)
            with Team(2) as team:
                for seed in range(200):
                    spread.check(team, steps=5, seed=seed)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_inside_a_run_is_refused(threads: int, code: LoadedCode, spread: Spread) -> None:
    errors: list[Exception] = []

    def again() -> None:
        for action in (lambda: spread.start(team, 1), team.close):
            try:
                action()
            except NativeError as error:
                errors.append(error)

    kind = ctypes.CFUNCTYPE(None)
    function = kind(again)
    pointer = ctypes.c_void_p(ctypes.cast(function, ctypes.c_void_p).value)
    with Team(threads) as team:
        team.run(code.address("call_back"), 0, ctypes.addressof(pointer), 0)
        first, second = map(str, errors)
        assert first.startswith("the team is running already: a run cannot begin inside another")
        assert second == "the team is running: it cannot be closed before it is done"
        spread.check(team)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_in_another_thread_meanwhile_is_refused(
    threads: int, code: LoadedCode, spread: Spread
) -> None:
    flags = view(aligned(64), 0, np.int32, (2,))
    with Team(threads) as team:
        given = (code.address("until_told"), flags.ctypes.data, 0, 0)
        other = threading.Thread(target=team.run, args=given)
        other.start()
        try:
            assert soon(lambda: flags[0] == 1)
            with pytest.raises(NativeError, match=r"^the team is running already"):
                spread.start(team, 1)
            with pytest.raises(NativeError, match=r"^the team is running: it cannot be closed"):
                team.close()
        finally:
            flags[1] = 1
            other.join()
        spread.check(team)


def test_wrong_arguments_leave_a_team_usable(spread: Spread) -> None:
    wrong: Any = 1.5
    with Team(2) as team:
        with pytest.raises(ctypes.ArgumentError):
            team.run(spread.entry, wrong, 0, 0)
        spread.check(team)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer's signals")
@pytest.mark.parametrize("threads", [2, 3])
def test_an_interruption_at_any_time_leaves_a_team_usable(threads: int, spread: Spread) -> None:
    class Interruption(BaseException):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interruption

    choose = np.random.default_rng(0)
    interrupted = 0
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Team(threads, idle_seconds=0) as team:
            for seed in range(400):
                try:
                    signal.setitimer(signal.ITIMER_REAL, choose.uniform(1e-5, 1e-3))
                    while True:
                        spread.start(team, 2)
                except Interruption:
                    interrupted += 1
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                spread.check(team, seed=seed)
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert interrupted == 400


def test_a_thread_that_cannot_be_started_is_an_error_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, spread: Spread
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "vtakit-2":
            raise RuntimeError("can't start new thread")
        start(thread)

    with Team(3) as team:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        message = r"^cannot start thread 2 of a team: can't start new thread$"
        with pytest.raises(NativeError, match=message):
            spread.start(team, 1)
        monkeypatch.undo()
        spread.check(team)


@pytest.mark.parametrize("threads", [0, -1, MOST_THREADS + 1])
def test_a_number_of_threads_that_makes_no_sense_is_refused(threads: int) -> None:
    message = f"^a team cannot have {threads} threads, but 1 to {MOST_THREADS}$"
    with pytest.raises(NativeError, match=message):
        Team(threads)


@ON_LINUX
@pytest.mark.parametrize("pinned", [True, False])
def test_each_worker_sits_on_its_own_cpu(pinned: bool, spread: Spread) -> None:
    cpus = sorted(os.sched_getaffinity(os.getpid()))
    old = set(workers())
    with Team(len(cpus), pinned=pinned) as team:
        spread.check(team)
        for thread in set(workers()) - old:
            position = int(thread.name.removeprefix("vtakit-"))
            expected = {cpus[position]} if pinned else set(cpus)
            assert thread.native_id is not None
            assert os.sched_getaffinity(thread.native_id) == expected
    assert os.sched_getaffinity(0) == set(cpus)


@ON_LINUX
def test_more_threads_than_cpus_are_not_pinned(spread: Spread) -> None:
    cpus = os.sched_getaffinity(os.getpid())
    old = set(workers())
    with Team(len(cpus) + 1) as team, team.caller_pinned():
        spread.check(team)
        masks = [os.sched_getaffinity(thread.native_id or 0) for thread in set(workers()) - old]
        assert [*masks, os.sched_getaffinity(0)] == [cpus] * (len(cpus) + 1)


@ON_LINUX
def test_the_caller_is_pinned_while_asked_to_and_then_as_before() -> None:
    before = os.sched_getaffinity(0)
    with Team(1) as team:
        with team.caller_pinned():
            assert os.sched_getaffinity(0) == {min(before)}
        assert os.sched_getaffinity(0) == before
        with suppress(KeyError), team.caller_pinned():
            raise KeyError
        assert os.sched_getaffinity(0) == before


PROGRAM = """
import os, sys, threading, time
import numpy as np
from llvmlite import binding
from vtakit.runtime.native.code import LoadedCode, NativeCode
from vtakit.runtime.native.jit import target_machine, this_cpu
from vtakit.runtime.native.memory import aligned
from vtakit.runtime.native.team import Team

text = '''define void @mark(ptr %arena, ptr %c, ptr %t, ptr %team, i32 %thread, i32 %threads) {
  %at = getelementptr i8, ptr %arena, i32 %thread
  store i8 1, ptr %at
  ret void
}
define void @forever(ptr %arena, ptr %c, ptr %t, ptr %team, i32 %thread, i32 %threads) {
  br label %loop
loop:
  %x = load atomic i32, ptr %arena seq_cst, align 4
  br label %loop
}'''
cpu = this_cpu()
machine = target_machine(cpu)
data = machine.emit_object(binding.parse_assembly(text))
code = LoadedCode(NativeCode(data, cpu.triple, cpu.name, "", ("mark", "forever"), ((), ())))

def marks(team):
    arena = aligned(64)
    team.run(code.address("mark"), arena.ctypes.data, 0, 0)
    return int(arena.sum())
"""

ENDS = {
    "warm": "team = Team(3, idle_seconds=100); assert marks(team) == 3",
    "parked": "team = Team(3, idle_seconds=0); assert marks(team) == 3; time.sleep(0.1)",
    "never run": "team = Team(3)",
    "forgotten": "assert marks(Team(3)) == 3",
    "running": """
team = Team(2); arena = aligned(64)
given = (code.address("forever"), arena.ctypes.data, 0, 0)
threading.Thread(target=team.run, args=given, daemon=True).start()
time.sleep(0.2)
""",
    "forked while warm": """
team, other, closed = Team(3), Team(2, idle_seconds=0), Team(2)
assert (marks(team), marks(other), marks(closed)) == (3, 2, 2)
closed.close()
for _ in range(10):
    child = os.fork()
    if not child:
        assert (marks(team), marks(other)) == (3, 2)
        try:
            marks(closed)
        except ValueError as error:
            sys.exit(str(error) != "the team is closed")
        sys.exit(1)
    assert (marks(team), marks(other)) == (3, 2)
    assert os.waitpid(child, 0)[1] == 0
""",
}


@pytest.mark.parametrize("name", ENDS)
def test_a_process_ends_whatever_its_teams_do(name: str) -> None:
    if "fork" in name and not hasattr(os, "fork"):
        pytest.skip("processes do not fork here")
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM + ENDS[name]],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=60,
    )
    assert (found.returncode, found.stderr) == (0, "")
