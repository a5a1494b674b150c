"""passes.sequence: an order of groups with few changes between VTA and CPU."""

import numpy as np
from hypothesis import given, settings
from vtakit.compiler.build import build_module
from vtakit.compiler.graph import DType, Graph, Value
from vtakit.compiler.ops.elementwise import Cast, Maximum
from vtakit.compiler.ops.reduce import Softmax
from vtakit.compiler.passes.partition import Placed, partition
from vtakit.compiler.passes.sequence import sequence
from vtakit.isa.config import PRESETS
from vtakit.runtime.module import DeviceStep

from .integer_layers import Layers
from .random_networks import integer_networks

DEFAULT = PRESETS["default"]


def ordered(graph: Graph) -> tuple[Placed, ...]:
    return sequence(partition(graph, DEFAULT), graph)


def softmax(layers: Layers, x: Value) -> Value:
    wide = layers.builder.add(Cast(DType.FLOAT32), x, layer="wide")
    return layers.builder.add(Softmax(1), wide, layer="softmax")


def streams(graph: Graph) -> int:
    module = build_module(graph, DEFAULT, measured=1, unfolded=False).module
    return sum(isinstance(step, DeviceStep) for step in module.steps)


@settings(max_examples=50, deadline=None)
@given(integer_networks(most_channels=3, most_layers=8))
def test_everything_is_computed_before_it_is_read(graph: Graph) -> None:
    ready: set[Value] = {*graph.inputs, *graph.constants}
    placed = ordered(graph)
    for item in placed:
        assert ready.issuperset(item.inputs), item.group.layer
        ready.update(item.group.outputs)
    assert ready.issuperset(graph.outputs)


def test_work_for_the_cpu_that_nothing_waits_for_comes_after_the_layers_on_vta() -> None:
    layers = Layers()
    x = layers.conv(layers.input(1, 4, 8, 8), 4)
    head = softmax(layers, x)  # before the second convolution in the graph
    graph = layers.build(head, layers.conv(x, 5))
    where = ["vta" if item.layer else "cpu" for item in ordered(graph)]
    assert where == ["vta", "vta", "cpu", "cpu"]
    assert streams(graph) == 1


def test_a_layer_on_the_cpu_between_two_on_vta_cuts_the_stream() -> None:
    layers = Layers()
    x = layers.conv(layers.input(1, 4, 8, 8), 4)
    least = layers.constant(-100, np.int8)
    graph = layers.build(layers.conv(layers.builder.add(Maximum(), x, least, layer="int8"), 5))
    assert ["vta" if item.layer else "cpu" for item in ordered(graph)] == ["vta", "cpu", "vta"]
    assert streams(graph) == 2


def test_a_view_does_not_cut_the_stream() -> None:
    layers = Layers()
    flat = layers.flat(layers.conv(layers.input(2, 4, 3, 3), 6))
    graph = layers.build(layers.scale(flat))
    assert [item.layer is not None for item in ordered(graph)] == [True, False, True]
    assert streams(graph) == 1
