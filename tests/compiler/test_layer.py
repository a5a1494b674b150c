"""vta.layer: groups of operators as layers."""

from collections.abc import Callable

import numpy as np
import pytest
from vtakit.compiler.graph import DType, Graph, Value
from vtakit.compiler.ops.elementwise import Add, Cast, Mul
from vtakit.compiler.ops.pool import SumPool2d
from vtakit.compiler.passes.fuse import fuse
from vtakit.compiler.vta.layer import MAX_PAD, Immediate, Layer, Vector, image, match
from vtakit.isa.config import PRESETS

from .integer_layers import Layers, Pads

DEFAULT = PRESETS["default"]


def only_layer(graph: Graph) -> Layer:
    (group,) = fuse(graph)
    return match(group, graph)


def layer_of(layers: Layers, output: Value) -> Layer:
    return only_layer(layers.build(output))


def test_a_convolution_with_its_epilogue() -> None:
    layers = Layers()
    x, r = layers.input(2, 20, 9, 8), layers.input(2, 7, 5, 4)
    layer = layer_of(layers, layers.conv(x, 7, (3, 2), strides=(2, 2), pads=(1, 0, 1, 1), add=r))
    assert (layer.kind, layer.name) == ("Conv", "conv1")
    assert layer.inputs == (x, r)
    assert layer.window == (3, 2)
    assert layer.pads == (1, 0, 1, 1)
    assert layer.halo is None
    assert layer.macs == (2 * 7 * 5 * 4) * (20 * 3 * 2)
    kinds = [type(step.op).__name__ for step in layer.steps]
    assert kinds == ["Add", "Mul", "Mul", "Add", "ShiftRight", "Maximum", "Minimum"]
    work = layer.workload(DEFAULT)
    assert (work.batches, work.out_blocks, work.in_blocks) == (2, 1, 2)
    assert (work.out_rows, work.out_cols) == (5, 4)
    assert (work.vectors, work.residuals) == (2, 1)
    assert work.tile_cycles == 1 + 6 + 2, "reset, six immediates or vectors, one tensor operand"
    assert work.gemm_cycles == 2 * 5 * 4 * 2 * 6


def test_workloads_count_the_tiles_of_the_machine() -> None:
    layers = Layers()
    layer = layer_of(layers, layers.conv(layers.input(3, 20, 9, 8), 33))
    for config in PRESETS.values():
        work = layer.workload(config)
        assert work.batches == -(-3 // config.batch)
        assert work.in_blocks == -(-20 // config.block_in)
        assert work.out_blocks == -(-33 // config.block_out)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda layers, x: layers.dense(layers.flat(x), 5), "Gemm"),
        (lambda layers, x: layers.max_pool(x, (2, 2)), "MaxPool"),
        (lambda layers, x: layers.average_pool(x, (2, 3)), "AveragePool"),
        (lambda layers, x: layers.average_pool(x, (6, 7)), "GlobalAveragePool"),
        (lambda layers, x: layers.scale(x), "Requantize"),
        (lambda layers, x: layers.add(x, layers.input(*x.shape)), "Add"),
    ],
)
def test_a_layer_is_named_as_onnx_names_its_anchor(
    make: Callable[[Layers, Value], Value], kind: str
) -> None:
    layers = Layers()
    graph = layers.build(make(layers, layers.input(1, 4, 6, 7)))
    (layer,) = (match(g, graph) for g in fuse(graph) if g.layer[:4] != "flat")
    assert layer.kind == kind
    assert layer.macs == (5 * 4 * 6 * 7 if kind == "Gemm" else 0)


def test_images_of_one_pixel_are_vectors() -> None:
    layers = Layers()
    assert image(layers.input(3, 5)) == (3, 5, 1, 1)
    assert image(layers.input(3, 5, 2, 4)) == (3, 5, 2, 4)


@pytest.mark.parametrize(
    ("kernel", "pads", "zero", "halo"),
    [
        ((3, 3), (0, 0, 0, 0), 5, None),
        ((3, 3), (1, 1, 1, 1), 0, None),
        ((3, 3), (1, 1, 1, 1), 5, 5),
        ((3, 3), (2, 2, 2, 2), 0, None),
        ((3, 3), (3, 0, 0, 0), 0, 0),
        ((3, 1), (0, 0, 0, 1), 0, 0),
        ((1, 3), (0, 2, 0, 0), 0, None),
        ((20, 1), (MAX_PAD, 0, 0, 0), 0, None),
        ((20, 1), (MAX_PAD + 1, 0, 0, 0), 0, 0),
    ],
)
def test_pads_that_loads_cannot_write_are_in_memory(
    kernel: tuple[int, int], pads: Pads, zero: int, halo: int | None
) -> None:
    layers = Layers()
    x = layers.input(1, 3, 8, 8)
    for strides in ((1, 1), (2, 2)):
        if kernel[0] <= 8 + pads[0] + pads[2]:
            conv = layers.conv(x, 3, kernel, pads=pads, pad_value=zero, strides=strides)
            graph = layers.build(conv)
            assert only_layer(graph).halo == halo


def test_a_dilated_window_spans_what_it_skips() -> None:
    layers = Layers()
    x = layers.input(1, 3, 8, 8)
    conv = layers.conv(x, 3, (3, 3), pads=(4, 4, 4, 4), dilations=(2, 2))
    assert layer_of(layers, conv).halo is None, "a window of 5 x 5 meets the image"


def test_maximum_pooling_needs_nothing_around_its_input() -> None:
    layers = Layers()
    pool = layers.max_pool(layers.input(1, 3, 8, 8), (2, 2), pads=(1, 1, 1, 1))
    assert layer_of(layers, pool).halo is None


@pytest.mark.parametrize(
    ("array", "operand"),
    [
        (7, 7),
        (np.full((6, 1, 1), -32768), -32768),
        (np.full((1, 6, 1, 1), 32767), 32767),
        (np.full((1, 6, 4, 5), 3), 3),
        (32768, [32768] * 6),
        (-32769, [-32769] * 6),
        (np.arange(6).reshape(6, 1, 1), list(range(6))),
    ],
)
def test_a_constant_is_an_immediate_where_it_is_one_number_of_16_bits(
    array: object, operand: object
) -> None:
    layers = Layers()
    x = layers.builder.add(Cast(DType.INT32), layers.input(2, 6, 4, 5), layer="wide")
    y = layers.builder.add(Mul(), x, layers.constant(array), layer="mul")
    right = layer_of(layers, layers.narrow(y, 3, "narrow")).steps[0].right
    if isinstance(operand, int):
        assert right == Immediate(operand)
    else:
        assert isinstance(right, Vector)
        assert right.data.tolist() == operand


def test_a_constant_on_the_left_of_an_operator_that_commutes_is_an_operand() -> None:
    layers = Layers()
    x = layers.builder.add(Cast(DType.INT32), layers.input(2, 6, 4, 5), layer="wide")
    y = layers.builder.add(Add(), layers.constant(9), x, layer="add")
    (step, *_) = layer_of(layers, layers.narrow(y, 3, "narrow")).steps
    assert (step.left, step.right) == (x, Immediate(9))


def test_an_input_that_is_pooled_and_added_is_read_once() -> None:
    layers = Layers()
    x = layers.input(1, 6, 4, 5)
    acc = layers.builder.add(SumPool2d((1, 1)), x, layer="pool")
    wide = layers.builder.add(Cast(DType.INT32), x, layer="wide")
    y = layers.builder.add(Add(), acc, wide, layer="add")
    layer = layer_of(layers, layers.narrow(y, 1, "narrow"))
    assert layer.inputs == (x,)
    assert layer.casts == ((x, wide),)
