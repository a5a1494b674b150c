"""passes.plan: no two tensors that are needed at one time share a byte."""

from itertools import combinations
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.graph import Graph, Value
from vtakit.compiler.passes.pack import Packed, pack
from vtakit.compiler.passes.partition import Placed, partition
from vtakit.compiler.passes.plan import Memory, plan_memory
from vtakit.compiler.passes.sequence import sequence
from vtakit.isa.config import PRESETS, Config

from .integer_layers import Layers

DEFAULT = PRESETS["default"]


class Planned(NamedTuple):
    graph: Graph
    placed: tuple[Placed, ...]
    packed: dict[Value, Packed]
    memory: Memory


def planned(graph: Graph, config: Config = DEFAULT, *, reuse: bool = True) -> Planned:
    placed = sequence(partition(graph, config), graph)
    packed = pack(placed, config, graph)
    return Planned(graph, placed, packed, plan_memory(placed, packed, graph, reuse=reuse))


def spans(plan: Planned) -> dict[Packed, range]:
    """Return the positions at which each tensor's contents matter, found one position at a time."""
    found: dict[Packed, range] = {}
    for tensor in set(plan.packed.values()):
        shown = {value for value, packed in plan.packed.items() if packed is tensor}
        at = [
            position
            for position, item in enumerate(plan.placed)
            if shown & {*item.inputs, *item.group.inputs, *item.group.outputs}
        ]
        last = len(plan.placed) if shown & set(plan.graph.outputs) else max(at)
        whole = any(tensor.halo)  # written once, before the first run
        found[tensor] = range(len(plan.placed) + 1) if whole else range(min(at), last + 1)
    return found


def bytes_of(plan: Planned, tensor: Packed) -> range:
    begin = plan.memory.offsets[tensor.value]
    return range(begin, begin + tensor.size_bytes)


def meet(one: range, other: range) -> bool:
    return max(one.start, other.start) < min(one.stop, other.stop)


def assert_apart(plan: Planned) -> None:
    """Assert that tensors that matter at one time lie apart, aligned, in the arena."""
    lifetimes = spans(plan)
    for one, other in combinations(lifetimes, 2):
        if meet(lifetimes[one], lifetimes[other]):
            assert not meet(bytes_of(plan, one), bytes_of(plan, other)), (one.value, other.value)
    for tensor in lifetimes:
        place = bytes_of(plan, tensor)
        assert place.start % plan.memory.align == 0
        assert place.stop <= plan.memory.arena_bytes
    assert {tensor.name for tensor in plan.memory.tensors} == {t.value.name for t in lifetimes}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw layers that read any earlier tensors, so that lifetimes are of all lengths."""
    layers = Layers()
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 40)), 4, draw(st.integers(2, 9)))
    made = [layers.input(*shape) for _ in range(draw(st.integers(1, 3)))]
    for _ in range(draw(st.integers(1, 12))):
        x = draw(st.sampled_from(made))
        kind = draw(st.sampled_from(["scale", "add", "conv", "halo", "pool"]))
        if kind == "scale":
            made.append(layers.scale(x))
        elif kind == "add":
            made.append(layers.add(x, draw(st.sampled_from(made))))
        elif kind == "pool":
            made.append(layers.max_pool(x, (3, 3), pads=(1, 1, 1, 1)))
        else:
            zero = 5 if kind == "halo" else 0
            made.append(layers.conv(x, shape[1], pads=(1, 1, 1, 1), pad_value=zero))
    outputs = draw(st.lists(st.sampled_from(made[-4:]), min_size=1, max_size=3, unique=True))
    return layers.build(*outputs)


@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize("name", ["default", "tiny", "batch2"])
@settings(max_examples=60, deadline=None)
@given(graph=graphs())
def test_tensors_that_are_needed_at_one_time_lie_apart(
    name: str, reuse: bool, graph: Graph
) -> None:
    plan = planned(graph, PRESETS[name], reuse=reuse)
    if plan.packed:
        assert_apart(plan)


@settings(max_examples=60, deadline=None)
@given(graph=graphs())
def test_without_reuse_every_tensor_has_a_place_of_its_own(graph: Graph) -> None:
    plan = planned(graph, reuse=False)
    for one, other in combinations(spans(plan), 2):
        assert not meet(bytes_of(plan, one), bytes_of(plan, other))
    reused = planned(graph, reuse=True).memory
    assert reused.arena_bytes <= plan.memory.arena_bytes


@settings(max_examples=60, deadline=None)
@given(graph=graphs())
def test_a_tensor_with_a_halo_shares_its_place_with_none(graph: Graph) -> None:
    plan = planned(graph)
    lifetimes = spans(plan)
    for tensor in (tensor for tensor in lifetimes if any(tensor.halo)):
        for other in lifetimes:
            assert other is tensor or not meet(bytes_of(plan, tensor), bytes_of(plan, other))


def test_a_chain_needs_the_memory_of_two_tensors() -> None:
    layers = Layers()
    x = layers.input(1, 16, 32, 16)
    for _ in range(6):
        x = layers.scale(x)
    plan = planned(layers.build(x))
    assert plan.memory.arena_bytes == 2 * 32 * 16 * DEFAULT.inp_tile_bytes
    kept = planned(layers.build(x), reuse=False)
    assert kept.memory.arena_bytes == 7 * 32 * 16 * DEFAULT.inp_tile_bytes


def test_constants_lie_behind_all_tensors_and_apart() -> None:
    layers = Layers()
    memory = planned(layers.build(layers.scale(layers.input(1, 16, 8, 8)))).memory
    end = memory.arena_bytes
    offsets = [memory.constant(size) for size in (1, memory.align, memory.align + 1, 5)]
    steps = [0, 1, 2, 4]
    assert offsets == [end + step * memory.align for step in steps]
    assert memory.arena_bytes == end + 5 * memory.align
