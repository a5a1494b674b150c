"""vta.search: the tiling of least cycles, found once for each shape."""

from collections.abc import Iterator
from typing import Any

import pytest
from vtakit.compiler.build import build_module
from vtakit.compiler.kernel import Kernel
from vtakit.compiler.passes.fuse import fuse
from vtakit.compiler.schedule import ScheduleError
from vtakit.compiler.vta import search as module
from vtakit.compiler.vta.layer import Layer, match
from vtakit.compiler.vta.search import Search, measure
from vtakit.compiler.vta.tiling import TilingError, candidates
from vtakit.isa.config import PRESETS
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.session import Session

from .integer_layers import Layers, sample

DEFAULT, TINY = PRESETS["default"], PRESETS["tiny"]


def same_layers(count: int) -> list[Layer]:
    """Return convolutions of one shape, each with weights of its own."""
    layers = Layers()
    x = layers.input(1, 20, 8, 8)
    for _ in range(count):
        x = layers.conv(x, 20, pads=(1, 1, 1, 1))
    graph = layers.build(x)
    return [match(group, graph) for group in fuse(graph)]


class Counted:
    """Counts the kernels that are measured, and what each came to."""

    def __init__(self) -> None:
        self.cycles: list[int] = []

    def __call__(self, *arguments: Any) -> int:
        self.cycles.append(measure(*arguments))
        return self.cycles[-1]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counter = Counted()
    monkeypatch.setattr(module, "measure", counter)
    return counter


def test_the_least_of_the_cycles_measured_is_chosen(counted: Counted) -> None:
    (layer,) = same_layers(1)
    choice = Search(DEFAULT, 5).choose(layer)
    assert len(counted.cycles) == 5
    assert choice.cycles == min(counted.cycles)
    assert choice.cycles == measure(choice.kernel, choice.made, DEFAULT)


def test_layers_of_one_shape_share_a_search(counted: Counted) -> None:
    search = Search(DEFAULT, 3)
    first, *rest = (search.choose(layer) for layer in same_layers(4))
    assert len(counted.cycles) == 3
    for choice in rest:
        assert (choice.tiling, choice.cycles) == (first.tiling, first.cycles)
        assert choice.made is not first.made, "their weights differ"
        (mine,), (theirs,) = (
            [a for t, a in c.made.arrays.items() if t is c.made.weights] for c in (choice, first)
        )
        assert (mine != theirs).any()


def test_layers_of_other_shapes_do_not(counted: Counted) -> None:
    search = Search(DEFAULT, 2)
    layers = Layers()
    x = layers.input(1, 20, 8, 8)
    graph = layers.build(
        layers.conv(x, 20, pads=(1, 1, 1, 1)),
        layers.conv(x, 20, pads=(0, 1, 2, 1)),
        layers.conv(x, 20, pads=(1, 1, 1, 1), pad_value=3),
        layers.conv(x, 36, pads=(1, 1, 1, 1)),
    )
    for group in fuse(graph):
        search.choose(match(group, graph))
    assert len(counted.cycles) == 4 * 2


def test_with_one_to_measure_the_estimate_decides(counted: Counted) -> None:
    (layer,) = same_layers(1)
    choice = Search(DEFAULT, 1).choose(layer)
    assert choice.tiling == candidates(layer.workload(DEFAULT), DEFAULT)[0]
    assert choice.cycles is None
    assert counted.cycles == []


def test_the_cycles_of_a_choice_are_those_of_a_network_of_this_layer() -> None:
    layers = Layers()
    graph = layers.build(layers.conv(layers.input(1, 20, 9, 9), 40, pads=(1, 1, 1, 1)))
    compiled = build_module(graph, DEFAULT, measured=2, unfolded=False)
    (info,) = compiled.layers
    assert info.choice is not None
    assert info.choice.cycles is not None
    with open_device("sim", DEFAULT) as device, Session(compiled.module, device) as session:
        cycles = session.run(sample(graph)).cycles
    assert cycles is not None
    assert abs(cycles - info.choice.cycles) <= 0.01 * cycles


def refusing(monkeypatch: pytest.MonkeyPatch, refused: Iterator[bool]) -> None:
    """Let `build` fail where `refused` says so."""
    real = module.build

    def build(*arguments: Any) -> Kernel:
        if next(refused):
            raise ScheduleError("no room")
        return real(*arguments)

    monkeypatch.setattr(module, "build", build)


def endless(*first: bool, then: bool) -> Iterator[bool]:
    yield from first
    while True:
        yield then


def test_tilings_that_do_not_build_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, counted: Counted
) -> None:
    refusing(monkeypatch, endless(True, True, True, then=False))
    (layer,) = same_layers(1)
    choice = Search(TINY, 1).choose(layer)
    ranked = candidates(layer.workload(TINY), TINY)
    assert choice.tiling == ranked[3]


def test_a_known_tiling_that_does_not_build_is_searched_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = same_layers(2)
    refusing(monkeypatch, endless(False, True, True, then=False))
    search = Search(TINY, 1)
    ranked = candidates(first.workload(TINY), TINY)
    assert search.choose(first).tiling == ranked[0]
    assert search.choose(second).tiling == ranked[1]


def test_when_none_builds_the_error_says_how_many_were_tried_and_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusing(monkeypatch, endless(then=True))
    (layer,) = same_layers(1)
    with pytest.raises(TilingError, match=r"^none of \d+ tilings of conv1 could be built: no room"):
        Search(TINY).choose(layer)


def test_a_tiling_whose_instructions_are_refused_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = endless(True, then=False)

    def measured(*arguments: Any) -> int:
        if next(refused):
            raise ScheduleError("more zeros than a load writes")
        return measure(*arguments)

    monkeypatch.setattr(module, "measure", measured)
    (layer,) = same_layers(1)
    assert Search(TINY, 2).choose(layer).cycles is not None
