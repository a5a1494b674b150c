"""cli.rivals.cpus and watch: which CPUs there are, and who else is on them."""

import os
from pathlib import Path

import pytest
from vtakit.cli.rivals import cpus, watch
from vtakit.cli.rivals.cpus import QUIET_SECONDS, model_name, pinned, quieten, siblings, usable
from vtakit.cli.rivals.watch import Watch, machine

linux = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="needs an operating system that pins threads"
)


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of our own, empty."""
    monkeypatch.setattr(cpus, "PROC", tmp_path)
    monkeypatch.setattr(watch, "PROC", tmp_path)
    return tmp_path


@pytest.fixture
def four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores of two hardware threads each, as Linux lists them."""
    for cpu, text in enumerate(("0,2", "1,3", "0,2", "1,3")):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(text + "\n")
    monkeypatch.setattr(cpus, "TOPOLOGY", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)


def waited(proc: Path, thread: int, nanoseconds: int) -> None:
    folder = proc / "self" / "task" / str(thread)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schedstat").write_text(f"123456 {nanoseconds} 99\n")


def stolen(proc: Path, *ticks: int) -> None:
    rows = [f"cpu{cpu} 1 2 3 4 5 6 7 {count} 0 0" for cpu, count in enumerate(ticks)]
    (proc / "stat").write_text("\n".join([f"cpu 1 2 3 4 5 6 7 {sum(ticks)} 0 0", *rows, "intr 9"]))


@pytest.mark.usefixtures("four")
def test_cpus_of_different_cores_come_first() -> None:
    assert usable() == (0, 1, 2, 3)
    assert siblings(0) == siblings(2) == (0, 2)
    assert not machine([0, 1]).shared_cores
    assert machine([0, 1, 2]).shared_cores


def test_siblings_may_be_a_range_and_may_be_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "TOPOLOGY", tmp_path)
    folder = tmp_path / "cpu5" / "topology"
    folder.mkdir(parents=True)
    (folder / "thread_siblings_list").write_text("4-6,9\n")
    assert siblings(5) == (4, 5, 6, 9)
    assert siblings(7) == (7,)


@linux
def test_a_thread_is_pinned_and_free_again_even_after_an_error() -> None:
    def fail() -> None:
        with pinned([first]):
            assert os.sched_getaffinity(0) == {first}
            raise KeyError

    before = os.sched_getaffinity(0)
    first = min(before)
    with pytest.raises(KeyError):
        fail()
    assert os.sched_getaffinity(0) == before
    with pinned([]):
        assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD  EPYC 9R14\n", "AMD EPYC 9R14"),
        ("processor : 0\nHardware\t: BCM2711\n", "BCM2711"),
    ],
)
def test_a_cpu_has_the_name_that_it_gives_itself(proc: Path, text: str, name: str) -> None:
    (proc / "cpuinfo").write_text(text)
    assert model_name() == name


@pytest.mark.usefixtures("proc")
def test_a_cpu_that_says_nothing_has_a_name_all_the_same() -> None:
    assert model_name()


def test_time_lost_is_what_all_threads_waited_and_what_was_stolen(proc: Path) -> None:
    waited(proc, 1, 500)
    waited(proc, 2, 70)
    stolen(proc, 10, 20, 30)
    found = Watch([0, 2])
    assert found.works
    found.begin()
    assert found.lost() == 0
    waited(proc, 1, 500 + 3_000_000)
    waited(proc, 3, 1_000_000)
    stolen(proc, 11, 500, 33)  # nobody of ours is on CPU 1
    assert found.lost() == pytest.approx(0.004 + 4 / os.sysconf("SC_CLK_TCK"))
    found.begin()
    assert found.lost() == 0


@pytest.mark.usefixtures("proc")
def test_where_a_system_does_not_say_nothing_is_lost() -> None:
    found = Watch([0])
    assert not found.works
    found.begin()
    assert found.lost() == 0
    assert not machine([0]).watched


@linux
def test_each_cpu_has_a_yardstick() -> None:
    chosen = usable()[:2]
    before = os.sched_getaffinity(0)
    assert all(seconds > 0 for seconds in Watch(chosen).yardsticks())
    assert len(Watch(chosen).yardsticks()) == len(chosen)
    assert len(Watch([]).yardsticks()) == 1
    assert os.sched_getaffinity(0) == before


class Clock:
    """Stands for the module `time`: threads of ours use the CPU until `busy_until`."""

    def __init__(self, busy_until: float) -> None:
        self.now, self.busy_until = 0.0, busy_until

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return min(self.now, self.busy_until)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("busy", [0.0, 0.045, 0.2])
def test_threads_that_spin_are_waited_for(busy: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(busy)
    monkeypatch.setattr(cpus, "time", clock)
    quieten()
    assert busy < clock.now < busy + 0.05


def test_threads_that_never_stop_are_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(1e9)
    monkeypatch.setattr(cpus, "time", clock)
    quieten()
    assert QUIET_SECONDS <= clock.now < QUIET_SECONDS + 0.1
