"""compiler.layers: the operator that each layer is named after, and its work."""

import numpy as np
import pytest
from vtakit.compiler.build import build_module
from vtakit.compiler.builder import GraphBuilder
from vtakit.compiler.graph import DType
from vtakit.compiler.layers import layer_work
from vtakit.compiler.ops.linear import Conv2d, ConvTranspose2d
from vtakit.isa.config import PRESETS

from .integer_layers import Layers


def test_layers_have_the_operator_and_the_work_that_the_module_has() -> None:
    layers = Layers()
    first = layers.conv(layers.input(2, 5, 8, 8), 20, pads=(1, 1, 1, 1))
    pooled = layers.max_pool(first, (2, 2), (2, 2))
    graph = layers.build(layers.dense(layers.conv(pooled, 9), 7))
    compiled = build_module(graph, PRESETS["default"], measured=1)
    built = {layer.name: (layer.kind, layer.macs) for layer in compiled.layers}
    found = {name: (work.kind, work.macs) for name, work in layer_work(graph).items()}
    assert found.pop("flat5") == ("Reshape", 0), "which takes nothing, and is no layer there"
    assert found == {name: built[name] for name in found}
    assert {kind for kind, _ in found.values()} == {"Conv", "MaxPool", "Gemm"}
    assert found["conv1"] == ("Conv", 2 * 20 * 64 * 5 * 9)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_transposed_convolution_multiplies_every_pixel_by_its_window(groups: int) -> None:
    builder = GraphBuilder("net")
    x = builder.input("x", (2, 4, 5, 6), DType.FLOAT32)
    w = builder.constant(np.zeros((4, 8 // groups, 3, 2), np.float32))
    op = ConvTranspose2d((2, 1), (1, 0, 0, 0), (1, 1), groups)
    y = builder.add(op, x, w, layer="up", name="y")
    (work,) = layer_work(builder.build([y])).values()
    assert (work.kind, work.macs) == ("ConvTranspose", 2 * 4 * 5 * 6 * 8 // groups * 3 * 2)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_grouped_convolution_has_less_work(groups: int) -> None:
    builder = GraphBuilder("g")
    x = builder.input("x", (1, 4, 5, 5), DType.FLOAT32)
    w = builder.constant(np.zeros((8, 4 // groups, 3, 3), np.float32))
    y = builder.add(Conv2d((1, 1), (0, 0, 0, 0), (1, 1), groups), x, w, layer="conv", name="y")
    work = layer_work(builder.build([y]))["conv"]
    assert (work.kind, work.macs) == ("Conv", 8 * 9 * 9 * 4 // groups)
