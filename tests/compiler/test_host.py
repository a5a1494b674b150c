"""compiler.host: what the CPU does between streams, on tiles where they lie, and no copy more."""

from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.build import Compiled, build_module
from vtakit.compiler.graph import DType, Graph, Value
from vtakit.compiler.ops.elementwise import Unary
from vtakit.compiler.ops.linear import Conv2d
from vtakit.compiler.ops.quantize import DequantizeLinear, QuantizeLinear
from vtakit.compiler.ops.shape import Concat, Slice, Transpose
from vtakit.compiler.reference import outputs
from vtakit.isa.config import PRESETS, Config
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.module import HostStep
from vtakit.runtime.session import Session

from .integer_layers import Layers, run, sample

DEFAULT = PRESETS["default"]
CONFIGS: dict[str, Config] = {
    **PRESETS,
    "batch4": Config(batch=4, block_in=8, block_out=8),
    "batch2 of 32": replace(PRESETS["big"], batch=2),
}


def depthwise(layers: Layers, x: Value, zero: int = 0, stride: int = 1) -> Value:
    op = Conv2d((stride, stride), (1, 1, 1, 1), groups=x.shape[1], pad_value=zero)
    return grouped(layers, op, x, x.shape[1])


def grouped(layers: Layers, op: Conv2d, x: Value, channels: int) -> Value:
    layer = layers.name("grouped")
    weights = layers.weights(channels, x.shape[1] // op.groups, 3, 3)
    acc = layers.builder.add(op, x, weights, layer=layer)
    return layers.requantize(acc, layer, 70.0**2 * 3 * x.shape[1] / op.groups)


def names(graph: Graph) -> set[str]:
    """Return the layers made by `grouped`, which are kept on the CPU."""
    return {node.layer for node in graph.nodes if node.layer.startswith("grouped")}


def built(graph: Graph, config: Config = DEFAULT) -> Compiled:
    """Compile a graph with what `grouped` made on the CPU."""
    return build_module(graph, config, keep=True, measured=1, unfolded=False, on_cpu=names(graph))


def joined(layers: Layers, *parts: Value) -> Value:
    return layers.builder.add(Concat(1), *parts, layer=layers.name("concat"))


def through_floats(layers: Layers, x: Value, function: str = "abs") -> Value:
    """Return |x|, or another function, by way of float32."""
    scale, zero = layers.constant(0.25, np.float32), layers.constant(0, np.int8)
    layer = layers.name(function)
    wide = layers.builder.add(DequantizeLinear(), x, scale, zero, layer=layer)
    made = layers.builder.add(Unary(function), wide, layer=layer)
    if function == "sigmoid":
        scale = layers.constant(1 / 128, np.float32)
    return layers.builder.add(QuantizeLinear(), made, scale, zero, layer=layer)


def copies(compiled: Compiled) -> list[tuple[str, str]]:
    """Return the layouts between which a module copies, in order."""
    steps = [step for step in compiled.module.steps if isinstance(step, HostStep)]
    return [(copy.source, copy.target) for step in steps for copy in step.copies]


ROWS, TILES, BLOCKS = "row by row", "tiles of 1x16", "blocks of 16"
ENDS = [(ROWS, TILES), (TILES, ROWS)]


def test_depthwise_layers_between_layers_on_vta_read_and_write_tiles() -> None:
    layers = Layers()
    x = layers.conv(layers.input(1, 5, 9, 9), 20)
    for zero in (0, 3, -128):
        x = layers.conv(depthwise(layers, x, zero), 24, (1, 1))
    x = layers.conv(joined(layers, x, depthwise(layers, x)), 9, pads=(1, 1, 1, 1), pad_value=5)
    x = layers.conv(through_floats(layers, x), 20)
    compiled = built(layers.build(x))
    places = [device for device, _ in groupby(compiled.layers, lambda layer: layer.device)]
    assert places == ["vta", *["cpu", "vta"] * 5]
    assert copies(compiled) == ENDS
    assert run(compiled).equal


def test_floats_at_both_ends_are_no_copies() -> None:
    layers = Layers()
    scale, zero = layers.constant(0.5, np.float32), layers.constant(0, np.int8)
    x = layers.input(1, 3, 8, 8, dtype=DType.FLOAT32)
    x = layers.builder.add(QuantizeLinear(), x, scale, zero, layer="in")
    x = layers.builder.add(DequantizeLinear(), layers.conv(x, 7), scale, zero, layer="out")
    compiled = built(layers.build(x))
    assert copies(compiled) == []
    assert run(compiled).equal


def test_dot_products_on_the_cpu_have_their_operands_copied_without_sign() -> None:
    layers = Layers()
    x = layers.conv(layers.input(1, 5, 8, 8), 32)
    x = grouped(layers, Conv2d((1, 1), (1, 1, 1, 1), groups=2), x, 32)
    compiled = built(layers.build(layers.conv(x, 9)))
    assert copies(compiled) == [ENDS[0], (TILES, BLOCKS), ENDS[1]]
    assert run(compiled).equal


def test_a_halo_that_readers_want_of_different_values_is_copied_for_the_cpu() -> None:
    layers = Layers()
    x = layers.conv(layers.input(1, 5, 8, 8), 16)
    graph = layers.build(
        layers.conv(x, 9, pads=(1, 1, 1, 1), pad_value=7), layers.conv(depthwise(layers, x, 2), 9)
    )
    compiled = built(graph)
    assert copies(compiled) == [ENDS[0], (TILES, BLOCKS), ENDS[1], ENDS[1]]
    assert run(compiled).equal


def test_what_vta_reads_after_rounded_floats_is_held_against_what_it_read() -> None:
    layers = Layers()
    x = layers.conv(layers.input(1, 16, 24, 24), 32)
    for _ in range(3):
        x = layers.conv(through_floats(layers, x, "sigmoid"), 32)
    compiled = built(layers.build(x))
    check = run(compiled)
    assert check.equal
    assert check.max_abs_difference <= 1
    assert check.compared == 4


def any_layer(data: st.DataObject, layers: Layers, known: list[Value]) -> Value:
    """Return a layer on VTA, or an operator on the CPU, that reads one of the last values."""
    x = data.draw(st.sampled_from(known[-3:]))
    kinds = ["conv", "conv", "depthwise", "concat", "floats", "slice", "transpose", "pool", "add"]
    kinds += ["halves"] * (x.shape[1] % 2 == 0)
    match data.draw(st.sampled_from(kinds)):
        case "conv":
            pad = data.draw(st.sampled_from([0, 1]))
            zero = data.draw(st.sampled_from([0, 5]))
            channels = data.draw(st.sampled_from([3, 16, 20, 32]))
            kernel, pads = (2 * pad + 1, 2 * pad + 1), (pad, pad, pad, pad)
            return layers.conv(x, channels, kernel, pads=pads, pad_value=zero * pad)
        case "depthwise":
            return depthwise(layers, x, data.draw(st.sampled_from([0, 5, -3])))
        case "halves":
            op = Conv2d(
                (1, 1), (1, 1, 1, 1), groups=2, pad_value=data.draw(st.sampled_from([0, 5]))
            )
            return grouped(layers, op, x, data.draw(st.sampled_from([x.shape[1], 32])))
        case "concat":
            return joined(layers, x, data.draw(st.sampled_from(known)))
        case "floats":
            return through_floats(layers, x)
        case "slice":
            first, (n, channels, rows, cols) = x.shape[1] // 3, x.shape
            op = Slice((0, first, 0, 0), (n, channels - first, rows, cols), (1, 1, 1, 1))
            return layers.builder.add(op, x, layer="slice")
        case "transpose":
            return layers.builder.add(Transpose((0, 1, 3, 2)), x, layer="transpose")
        case "pool":
            return layers.max_pool(x, (3, 3), pads=(1, 1, 1, 1))
        case _:
            same = [value for value in known if value.shape == x.shape]
            return layers.add(x, data.draw(st.sampled_from(same)))


def any_network(data: st.DataObject) -> Graph:
    """Return a network of images of one size, on VTA and on the CPU by turns."""
    layers = Layers(data.draw(st.integers(0, 99)))
    images = data.draw(st.sampled_from([1, 1, 2, 3]))
    known = [layers.input(images, data.draw(st.sampled_from([3, 16, 20])), 5, 5)]
    for _ in range(data.draw(st.integers(2, 7))):
        known.append(any_layer(data, layers, known))
    ends = dict.fromkeys([known[-1], data.draw(st.sampled_from(known))])
    return layers.build(*ends)


@pytest.mark.parametrize("name", CONFIGS)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_networks_on_both_give_what_the_reference_gives(name: str, data: st.DataObject) -> None:
    graph, config = any_network(data), CONFIGS[name]
    check = run(built(graph, config))
    assert check.equal, (check, str(graph))
    assert check.max_abs_difference == 0
    module = build_module(graph, config, measured=1, unfolded=False, on_cpu=names(graph)).module
    threads = data.draw(st.sampled_from([1, 2]))
    with open_device("functional", config) as device, Session(module, device, threads) as session:
        for seed in range(2):
            inputs = sample(graph, seed)
            found = session.run(inputs).outputs
            for output, expected in outputs(graph, inputs).items():
                np.testing.assert_array_equal(found[output], expected, err_msg=str(graph))
