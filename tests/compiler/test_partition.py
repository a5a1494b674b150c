"""passes.partition: what runs on VTA, and why the rest does not."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from vtakit.compiler.build import build_module
from vtakit.compiler.graph import DType, Graph, GraphError, Value
from vtakit.compiler.ops.elementwise import Add, Cast, Maximum, ShiftRight
from vtakit.compiler.ops.linear import Conv2d
from vtakit.compiler.ops.pool import SumPool2d
from vtakit.compiler.ops.shape import Reshape
from vtakit.compiler.passes.partition import Placed, is_view, partition
from vtakit.isa.config import PRESETS, Config

from .integer_layers import Layers, run

DEFAULT, TINY = PRESETS["default"], PRESETS["tiny"]


def on_cpu(graph: Graph, config: Config = DEFAULT) -> list[Placed]:
    return [item for item in partition(graph, config) if item.layer is None]


def wide(layers: Layers, x: Value) -> Value:
    return layers.builder.add(Cast(DType.INT32), x, layer="wide")


def weights_that_are_computed(layers: Layers) -> Value:
    x, w = layers.input(1, 4, 6, 6), layers.input(5, 4, 3, 3)
    return layers.narrow(layers.builder.add(Conv2d(), x, w, layer="conv"), 9, "conv")


def constant_image(layers: Layers) -> Value:
    return layers.conv(layers.weights(1, 4, 6, 6), 5)


def floats(layers: Layers) -> Value:
    x = layers.input(1, 4, 6, 6, dtype=DType.FLOAT32)
    zero = layers.constant(0, np.float32)
    return layers.builder.add(Maximum(), x, zero, layer="relu")


def int32_result(layers: Layers) -> Value:
    return wide(layers, layers.input(1, 4, 6, 6))


def int8_arithmetic(layers: Layers) -> Value:
    x = layers.input(1, 4, 6, 6)
    return layers.builder.add(Add(), x, x, layer="add")


def rank_3(layers: Layers) -> Value:
    return layers.narrow(wide(layers, layers.input(4, 6, 6)), 1, "narrow")


def constant_within_a_channel(layers: Layers) -> Value:
    ramp = layers.constant(np.arange(36).reshape(6, 6))
    acc = layers.builder.add(Add(), wide(layers, layers.input(1, 4, 6, 6)), ramp, layer="ramp")
    return layers.narrow(acc, 1, "ramp")


def constant_shifted(layers: Layers) -> Value:
    x = wide(layers, layers.input(1, 4, 6, 6))
    count = layers.builder.add(Maximum(), x, layers.constant(0), layer="shift")
    count = layers.builder.add(ShiftRight(), count, layers.constant(3), layer="shift")
    of = layers.constant(np.full((1, 4, 6, 6), 1 << 20))
    return layers.narrow(layers.builder.add(ShiftRight(), of, count, layer="shift"), 1, "shift")


def broadcast_over_batch(layers: Layers) -> Value:
    one, two = (wide(layers, layers.input(n, 4, 6, 6)) for n in (1, 2))
    return layers.narrow(layers.builder.add(Add(), one, two, layer="add"), 1, "add")


def broadcast_of_an_anchor(layers: Layers) -> Value:
    x = layers.input(1, 4, 6, 6)
    mean = layers.builder.add(SumPool2d((6, 6)), x, layer="mean")
    return layers.narrow(layers.builder.add(Add(), wide(layers, x), mean, layer="add"), 5, "add")


def own_result_read_back(layers: Layers) -> Value:
    x = wide(layers, layers.input(1, 4, 6, 6))
    again = wide(layers, layers.narrow(x, 2, "narrow"))
    return layers.narrow(layers.builder.add(Add(), again, x, layer="add"), 1, "add")


def accumulators_of_two(layers: Layers) -> Value:
    x = layers.input(1, 4, 6, 6)
    one, other = (
        layers.builder.add(Conv2d(), x, layers.weights(4, 4, 3, 3), layer=f"conv{i}")
        for i in range(2)
    )
    return layers.narrow(layers.builder.add(Add(), one, other, layer="add"), 9, "add")


REASONS: dict[Callable[[Layers], Value], str] = {
    weights_that_are_computed: "its weights are not constant",
    constant_image: "its input is constant",
    floats: "it gives float32; VTA stores one int8 tensor",
    int32_result: "it gives int32; VTA stores one int8 tensor",
    int8_arithmetic: "Add of int8; VTA computes on int32",
    rank_3: "it has a tensor of rank 3; VTA works on images",
    constant_within_a_channel: "a constant varies within a channel",
    constant_shifted: "ShiftRight of a constant and a tensor",
    broadcast_over_batch: "wide broadcasts (1, 4, 6, 6) to (2, 4, 6, 6)",
    broadcast_of_an_anchor: "mean broadcasts (1, 4, 1, 1) to (1, 4, 6, 6)",
    own_result_read_back: "it reads narrow.cast back, which it computes itself",
    accumulators_of_two: "conv0 and conv1 add their accumulators",
}


@pytest.mark.parametrize(
    ("make", "reason"), REASONS.items(), ids=lambda x: getattr(x, "__name__", "")
)
def test_what_vta_cannot_do_runs_on_the_cpu_and_says_why(
    make: Callable[[Layers], Value], reason: str
) -> None:
    layers = Layers()
    graph = layers.build(make(layers))
    (item,) = on_cpu(graph)
    assert item.reason == reason
    compiled = build_module(graph, DEFAULT, keep=True, measured=1, unfolded=False)
    assert [(layer.device, layer.reason) for layer in compiled.layers] == [("cpu", reason)]
    assert run(compiled).equal


def test_a_window_that_fits_no_buffer_names_the_buffer_and_by_how_much() -> None:
    layers = Layers()
    graph = layers.build(layers.average_pool(layers.input(1, 4, 12, 12), (12, 12)))
    (item,) = on_cpu(graph, TINY)
    assert item.reason == (
        "no tiling fits the buffers; the smallest one needs acc 145 tiles of 128; "
        "a larger acc_buffer_bytes would do"
    )
    assert on_cpu(graph) == []
    compiled = build_module(graph, TINY, keep=True, measured=1, unfolded=False)
    assert run(compiled).equal


def test_readers_that_want_different_pads_around_one_tensor_do_not_both_run_on_vta() -> None:
    layers = Layers()
    x = layers.scale(layers.input(1, 5, 6, 6))
    around = (1, 1, 1, 1)
    graph = layers.build(*(layers.conv(x, 3, pads=around, pad_value=v) for v in (3, 3, -8)))
    (item,) = on_cpu(graph)
    assert item.group.layer == "conv4"
    assert item.reason == (f"it wants {x.name} surrounded by -8, and another layer by 3")
    assert run(build_module(graph, DEFAULT, keep=True, measured=1, unfolded=False)).equal


def test_a_refused_layer_runs_on_the_cpu_for_the_reason_given() -> None:
    layers = Layers()
    x = layers.conv(layers.input(1, 5, 6, 6), 4)
    graph = layers.build(layers.max_pool(x, (2, 2)))
    placed = partition(graph, DEFAULT, {x: "because"})
    assert [item.reason for item in placed] == ["because", ""]
    assert [item.layer is None for item in placed] == [True, False]


def reshape(layers: Layers, x: Value, *shape: int) -> Value:
    return layers.builder.add(Reshape(shape), x, layer="reshape")


@pytest.mark.parametrize(
    ("shape", "target", "view"),
    [
        ((2, 6, 1, 1), (2, 6), True),
        ((2, 6), (2, 6, 1, 1), True),
        ((2, 6, 1, 1), (12, 1), False),
        ((2, 6, 2, 1), (2, 12), False),
        ((2, 6, 2, 1), (2, 6, 1, 2), False),
        ((2, 6), (2, 2, 3), False),
    ],
)
def test_a_view_has_the_same_tiles_under_another_shape(
    shape: tuple[int, ...], target: tuple[int, ...], view: bool
) -> None:
    layers = Layers()
    (item,) = partition(layers.build(reshape(layers, layers.input(*shape), *target)), DEFAULT)
    assert is_view(item) is view


def test_a_dense_layer_reads_images_before_they_are_flattened() -> None:
    layers = Layers()
    x = layers.conv(layers.input(2, 3, 6, 6), 5)
    (_, dense) = partition(layers.build(layers.dense(x, 7)), DEFAULT)
    assert dense.layer is not None
    assert dense.inputs == (x,)
    assert dense.layer.window == x.shape[2:]


def test_a_flattening_that_others_read_stays() -> None:
    layers = Layers()
    flat = layers.flat(layers.conv(layers.input(2, 3, 6, 6), 5))
    placed = partition(layers.build(layers.dense(flat, 7), flat), DEFAULT)
    kinds: list[Any] = [item.layer.kind if item.layer else None for item in placed]
    assert sorted(map(str, kinds)) == ["Conv", "Gemm", "None"]


def test_a_layer_runs_on_the_cpu_where_that_is_asked_for() -> None:
    layers = Layers()
    graph = layers.build(layers.conv(layers.conv(layers.input(1, 16, 8, 8), 16), 16))
    compiled = build_module(graph, DEFAULT, keep=True, measured=1, on_cpu=["conv2"])
    assert [(layer.device, layer.reason) for layer in compiled.layers] == [
        ("vta", ""),
        ("cpu", "as asked"),
    ]
    assert run(compiled).equal


def test_a_layer_runs_where_it_takes_less_time() -> None:
    layers = Layers()
    narrow = layers.conv(layers.input(1, 1, 12, 12), 1, (1, 1))
    graph = layers.build(layers.conv(layers.conv(narrow, 32), 32))
    devices: dict[float | None, list[str]] = {}
    for cpu_macs in (None, 1e-3, 8, 1e9):
        compiled = build_module(graph, DEFAULT, keep=True, measured=1, cpu_macs=cpu_macs)
        devices[cpu_macs] = [layer.device for layer in compiled.layers]
        assert run(compiled).equal
    assert devices[None] == devices[1e-3] == ["vta"] * 3
    assert devices[1e9] == ["cpu"] * 3
    assert devices[8][0] == "cpu", "one product of 256"
    assert devices[8][2] == "vta"
    compiled = build_module(graph, DEFAULT, measured=1, cpu_macs=8)
    assert re.fullmatch(
        r"VTA takes [\d,]+ cycles, the CPU as long as [\d,]+ of them at 8 MACs each",
        compiled.layers[0].reason,
    )


def test_a_layer_that_there_is_not_cannot_be_asked_for() -> None:
    layers = Layers()
    graph = layers.build(layers.conv(layers.conv(layers.input(1, 16, 8, 8), 16), 16))
    with pytest.raises(
        GraphError, match=r"^there is no layer conv3; layers has conv2, conv1, \.\.\.$"
    ):
        build_module(graph, DEFAULT, on_cpu=["conv3"])
