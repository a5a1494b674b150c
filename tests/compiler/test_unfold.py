"""passes.unfold: first layers with window positions as channels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.build import build_module
from vtakit.compiler.graph import Graph
from vtakit.compiler.ops.linear import Conv2d
from vtakit.compiler.ops.shape import Pad, Unfold
from vtakit.compiler.passes.unfold import unfold
from vtakit.compiler.reference import evaluate
from vtakit.isa.config import PRESETS

from .integer_layers import Layers, run, sample

DEFAULT, TINY = PRESETS["default"], PRESETS["tiny"]
AROUND = (1, 1, 1, 1)


def operators(graph: Graph) -> list[str]:
    return [str(node.op) for node in graph.nodes if isinstance(node.op, Pad | Unfold | Conv2d)]


def first_layer(channels: int, window: tuple[int, int], *, stride: int = 2) -> Graph:
    layers = Layers()
    x = layers.input(1, channels, 20, 20)
    return layers.build(layers.conv(x, 32, window, strides=(stride, stride)))


def windows(graph: Graph) -> tuple[int, int] | None:
    """Return the window that is unfolded, if one is."""
    found = [node.op.window for node in graph.nodes if isinstance(node.op, Unfold)]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("channels", "window", "unfolded"),
    [
        (3, (7, 7), (7, 7)),
        (3, (3, 3), (3, 3)),
        (1, (5, 5), (5, 5)),
        (8, (3, 3), (3, 3)),
        (1, (16, 3), (16, 1)),
        (1, (3, 16), (1, 16)),
        (16, (3, 3), None),
        (3, (1, 1), None),
        (16, (1, 1), None),
    ],
)
def test_what_makes_fewer_blocks_of_channels_is_unfolded(
    channels: int, window: tuple[int, int], unfolded: tuple[int, int] | None
) -> None:
    graph = first_layer(channels, window)
    assert windows(unfold(graph, DEFAULT)) == unfolded
    if unfolded is None:
        assert unfold(graph, DEFAULT) is graph


def test_a_narrow_bus_loads_rather_less_than_it_saves_products() -> None:
    graph = first_layer(3, (3, 3), stride=1)
    narrow = replace(DEFAULT, bus_bits=32)
    assert windows(unfold(graph, DEFAULT)) == (3, 3)
    loads = unfold(graph, narrow)
    assert windows(loads) != (3, 3)


def test_what_a_layer_on_vta_computes_is_left_as_it_lies() -> None:
    layers = Layers()
    x = layers.conv(layers.input(1, 3, 12, 12), 4, (3, 3))
    y = layers.conv(layers.max_pool(x, (2, 2)), 8, (3, 3))
    graph = layers.build(y, layers.conv(x, 8, (3, 3)))
    changed = unfold(graph, DEFAULT)
    assert sum(isinstance(node.op, Unfold) for node in changed.nodes) == 1
    assert [node.layer for node in changed.nodes if isinstance(node.op, Unfold)] == ["conv1"]


def test_only_images_of_int8_and_constant_weights_are_unfolded() -> None:
    layers = Layers()
    x = layers.input(1, 3, 8, 8)
    computed = layers.builder.add(Conv2d(), x, layers.input(4, 3, 3, 3), layer="computed")
    grouped = layers.conv(x, 3, (3, 3), groups=3)
    constant = layers.conv(layers.weights(1, 3, 8, 8), 4, (3, 3))
    graph = layers.build(layers.narrow(computed, 9, "computed"), grouped, constant)
    assert unfold(graph, DEFAULT) is graph


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_value_stays_what_it_was(data: st.DataObject) -> None:
    integer = st.integers
    layers = Layers(data.draw(integer(0, 999)))
    n, channels = data.draw(integer(1, 3)), data.draw(integer(1, 9))
    kernel = data.draw(integer(1, 5)), data.draw(integer(1, 5))
    dilations = data.draw(integer(1, 2)), data.draw(integer(1, 2))
    spans = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    extents = [span + data.draw(integer(1, 9)) for span in spans]
    pads = (*(data.draw(integer(0, 3)) for _ in range(3)), 0)
    graph = layers.build(
        layers.conv(
            layers.input(n, channels, *extents),
            data.draw(integer(1, 40)),
            kernel,
            strides=(data.draw(integer(1, 3)), data.draw(integer(1, 3))),
            pads=(pads[0], pads[1], pads[2], pads[3]),
            dilations=dilations,
            pad_value=data.draw(integer(-128, 127)),
        )
    )
    config = data.draw(st.sampled_from([DEFAULT, TINY, PRESETS["batch2"]]))
    changed = unfold(graph, config)
    inputs = sample(graph)
    expected, found = evaluate(graph, inputs), evaluate(changed, inputs)
    known = set(found)
    values = [value for node in graph.nodes for value in node.outputs]
    assert known.issuperset(values)
    for value in values:
        np.testing.assert_array_equal(found[value], expected[value], err_msg=operators(changed))


@pytest.mark.parametrize("name", ["default", "tiny", "batch2"])
def test_unfolded_layers_run_on_vta(name: str) -> None:
    layers = Layers()
    x = layers.input(2, 3, 15, 14)
    x = layers.conv(x, 20, (5, 3), strides=(2, 1), pads=AROUND, pad_value=7)
    graph = layers.build(layers.conv(x, 8, (3, 3)))
    compiled = build_module(graph, PRESETS[name], keep=True, measured=1)
    assert [layer.device for layer in compiled.layers if layer.macs] == ["vta", "vta"]
    assert windows(compiled.graph) is not None
    assert run(compiled, "sim").equal
