"""passes.repeat: pixels that a layer writes as often as the image after it repeats them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.build import Compiled, build_module
from vtakit.compiler.graph import Graph
from vtakit.compiler.ops.shape import Concat, Gather
from vtakit.compiler.reference import outputs
from vtakit.isa.config import PRESETS
from vtakit.isa.instructions import Memory
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.module import DeviceStep
from vtakit.runtime.session import Session
from vtakit.runtime.stream import moved_bytes

from .integer_layers import Layers, Pads, repeat, run, sample

DEFAULT = PRESETS["default"]
CONFIGS = ["default", "tiny", "batch2", "banked"]


def built(graph: Graph, config: str, *, keep: bool = True) -> Compiled:
    return build_module(graph, PRESETS[config], keep=keep, measured=1, unfolded=False)


def streams(compiled: Compiled) -> int:
    return sum(isinstance(step, DeviceStep) for step in compiled.module.steps)


def assert_outputs(graph: Graph, config: str) -> None:
    """Assert what the network gives when memory is used again."""
    compiled = built(graph, config, keep=False)
    inputs = sample(graph)
    with (
        open_device("sim", PRESETS[config]) as device,
        Session(compiled.module, device) as session,
    ):
        found = session.run(inputs).outputs
    for name, wanted in outputs(graph, inputs).items():
        np.testing.assert_array_equal(found[name], wanted)


@settings(max_examples=40, deadline=None)
@given(
    config=st.sampled_from(CONFIGS),
    shape=st.tuples(*[st.integers(1, top) for top in (3, 20, 6, 6)]),
    channels=st.integers(1, 20),
    repeats=st.sampled_from([(2, 2), (1, 3), (3, 1), (3, 2)]),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    pad_value=st.sampled_from([0, 0, 5]),
)
def test_up_sampling_between_layers_takes_no_copies(
    config: str,
    shape: tuple[int, int, int, int],
    channels: int,
    repeats: tuple[int, int],
    pads: Pads,
    pad_value: int,
) -> None:
    layers = Layers()
    y = repeat(layers, layers.conv(layers.input(*shape), channels, (1, 1)), *repeats)
    y = layers.conv(y, 5, (1, 1), pads=pads, pad_value=pad_value)
    graph = layers.build(y)
    compiled = built(graph, config)
    assert {layer.device for layer in compiled.layers} == {"vta"}, "nothing else is done"
    assert streams(compiled) == 1
    check = run(compiled, "sim")
    assert check.equal
    assert check.compared == 2
    assert_outputs(graph, config)


@pytest.mark.parametrize("config", CONFIGS)
def test_what_is_repeated_may_be_a_part_of_a_concatenation(config: str) -> None:
    layers = Layers()
    block = PRESETS[config].block_in
    x = layers.input(1, 5, 4, 4)
    small, other = layers.conv(x, 2 * block), repeat(layers, x, 1, 1)
    beside = layers.conv(layers.input(1, 5, 4, 6), block, (1, 1))
    whole = layers.builder.add(Concat(1), beside, repeat(layers, small, 2, 3), layer="concat")
    assert other is x
    graph = layers.build(layers.conv(whole, 7, pads=(1, 1, 1, 1)))
    compiled = built(graph, config)
    assert streams(compiled) == 1
    assert run(compiled, "sim").equal
    assert_outputs(graph, config)


def test_other_readers_of_the_small_image_let_the_cpu_repeat_it() -> None:
    layers = Layers()
    small = layers.conv(layers.input(1, 5, 4, 4), 16)
    large = layers.conv(repeat(layers, small, 2, 2), 3)
    for ends in ((large, layers.conv(small, 4, (1, 1))), (large, small)):
        graph = layers.build(*ends)
        compiled = built(graph, "default")
        assert [layer.kind for layer in compiled.layers if layer.device == "cpu"] == ["Gather"] * 2
        assert run(compiled, "sim").equal


def test_other_gathers_are_no_repetitions() -> None:
    for indices in ([0, 1, 0, 1], [0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1]):
        layers = Layers()
        small = layers.conv(layers.input(1, 5, 2, 4), 16, (1, 1))
        places = layers.constant(indices, np.int64)
        large = layers.builder.add(Gather(2), small, places, layer="gather")
        compiled = built(layers.build(layers.conv(large, 3, (1, 1))), "default")
        assert "cpu" in {layer.device for layer in compiled.layers}
        assert run(compiled, "sim").equal


def test_the_larger_image_may_be_an_output_and_be_read_on_the_cpu() -> None:
    layers = Layers()
    large = repeat(layers, layers.conv(layers.input(1, 5, 4, 4), 16), 2, 2)
    graph = layers.build(layers.conv(large, 3), large)
    compiled = built(graph, "default")
    assert {layer.device for layer in compiled.layers} == {"vta"}
    assert run(compiled, "sim").equal
    assert_outputs(graph, "default")


def test_the_small_image_is_stored_once_for_each_copy() -> None:
    layers = Layers()
    large = repeat(layers, layers.conv(layers.input(1, 5, 4, 4), 16, (1, 1)), 2, 2)
    compiled = built(layers.build(layers.conv(large, 3, (1, 1))), "default")
    (step,) = [step for step in compiled.module.steps if isinstance(step, DeviceStep)]
    stored = moved_bytes(step.stream.insns, DEFAULT)[Memory.OUT].sum()
    assert stored == (4 * 16 + 64) * DEFAULT.out_tile_bytes
