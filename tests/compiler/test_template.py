"""vta.template: every way to schedule a layer gives the same results."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from vtakit.compiler.build import Compiled, build_module
from vtakit.compiler.graph import Graph, Value
from vtakit.compiler.kernel import build
from vtakit.compiler.passes.fuse import fuse
from vtakit.compiler.schedule import ScheduleError
from vtakit.compiler.vta.layer import Layer, match
from vtakit.compiler.vta.search import Choice, Search
from vtakit.compiler.vta.template import express, pack_vector, pack_weights, plan
from vtakit.compiler.vta.tiling import Keep, Overlap, Tiling, candidates
from vtakit.isa.config import PRESETS, Config

from .integer_layers import Layers, run

TINY, DEFAULT, BATCH2 = PRESETS["tiny"], PRESETS["default"], PRESETS["batch2"]
ENGINES = ("functional", "sim")


def one_layer(make: Callable[[Layers], Value]) -> Graph:
    layers = Layers()
    return layers.build(make(layers))


GRAPHS = {
    "conv": one_layer(lambda a: a.conv(a.input(2, 9, 7, 6), 10, pads=(1, 1, 1, 1))),
    "residual": one_layer(
        lambda a: a.conv(
            a.input(1, 9, 7, 7), 10, strides=(2, 2), pads=(1, 1, 1, 1), add=a.input(1, 10, 4, 4)
        )
    ),
    "zero point": one_layer(
        lambda a: a.conv(a.input(1, 9, 6, 7), 10, (2, 3), pads=(1, 1, 0, 1), pad_value=-77)
    ),
    "depthwise": one_layer(
        lambda a: a.conv(a.input(1, 24, 6, 7), 24, pads=(1, 1, 1, 1), groups=24, pad_value=3)
    ),
    "in groups": one_layer(lambda a: a.conv(a.input(1, 24, 5, 6), 48, pads=(1, 1, 1, 1), groups=3)),
    "dense": one_layer(lambda a: a.dense(a.input(3, 30), 40)),
}
COMBINATIONS = list(product(Overlap, Keep, (False, True)))


def layer_of(graph: Graph) -> Layer:
    (group,) = fuse(graph)
    return match(group, graph)


def tilings(layer: Layer, config: Config) -> list[Tiling]:
    """Return one tiling for each combination that there is, and for each way to cut the window.

    Of several the one with the median number of tiles, so that there is something to overlap.
    """
    work = layer.workload(config)
    found = candidates(work, config)
    columns = found.columns
    tiles = np.ones(len(found))
    for axis, extent in (
        ("blocks", work.out_blocks),
        ("rows", work.out_rows),
        ("cols", work.out_cols),
        ("depth", work.in_blocks),
    ):
        tiles *= -(-extent // columns[axis])
    keys = ["overlap", "keep", "hold_vectors", "channels_outer", "window_rows", "window_cols"]
    groups: dict[tuple[int, ...], list[int]] = {}
    for index in range(len(found)):
        groups.setdefault(tuple(int(columns[key][index]) for key in keys), []).append(index)
    return [
        found[sorted(rows, key=lambda index: tiles[index])[len(rows) // 2]]
        for rows in groups.values()
    ]


def with_tiling(
    graph: Graph, config: Config, tiling: Tiling, monkeypatch: pytest.MonkeyPatch
) -> Compiled:
    """Return the module of one layer with a given tiling."""

    def choose(self: Search, layer: Layer) -> Choice:
        made = express(layer, self.config)
        return Choice(made, tiling, build(plan(made, tiling), self.config), None)

    monkeypatch.setattr(Search, "choose", choose)
    return build_module(graph, config, keep=True, unfolded=False)


@pytest.mark.parametrize("config", [TINY, DEFAULT, BATCH2], ids=["tiny", "default", "batch2"])
@pytest.mark.parametrize("name", GRAPHS)
def test_every_combination_of_overlap_and_kept_operands_gives_the_reference(
    name: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = GRAPHS[name]
    seen: set[tuple[Overlap, Keep, bool]] = set()
    for number, tiling in enumerate(tilings(layer_of(graph), config)):
        try:
            compiled = with_tiling(graph, config, tiling, monkeypatch)
        except ScheduleError as error:
            pytest.fail(f"{tiling}: {error}")
        assert compiled.layers[0].device == "vta", (tiling, compiled.layers[0].reason)
        check = run(compiled, ENGINES[number % 2], seed=number)
        assert check.equal, (tiling, check)
        seen.add((tiling.overlap, tiling.keep, tiling.hold_vectors))
    if name == "conv" and config is TINY:
        assert seen == {
            (overlap, keep, hold)
            for overlap, keep, hold in COMBINATIONS
            if (overlap, keep) != (Overlap.CHANNELS, Keep.WEIGHTS)
            and (keep is not Keep.INPUTS or overlap not in (Overlap.ROWS, Overlap.COLS))
        }


POOLINGS = {
    "maximum": one_layer(lambda a: a.max_pool(a.input(2, 9, 9, 8), (3, 3), (2, 2), (1, 1, 1, 1))),
    "average": one_layer(
        lambda a: a.average_pool(a.input(1, 9, 9, 8), (3, 2), (2, 1), (1, 1, 1, 0))
    ),
    "scale": one_layer(lambda a: a.scale(a.input(2, 20, 5, 6))),
    "add": one_layer(lambda a: a.add(a.input(2, 20, 5, 6), a.input(2, 20, 5, 6))),
}


@pytest.mark.parametrize("config", [TINY, BATCH2], ids=["tiny", "batch2"])
@pytest.mark.parametrize("name", POOLINGS)
def test_every_way_to_schedule_layers_without_weights_gives_the_reference(
    name: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = POOLINGS[name]
    overlaps: set[Overlap] = set()
    for number, tiling in enumerate(tilings(layer_of(graph), config)):
        check = run(with_tiling(graph, config, tiling, monkeypatch), ENGINES[number % 2], number)
        assert check.equal, (tiling, check)
        overlaps.add(tiling.overlap)
    assert overlaps >= {Overlap.NONE, Overlap.BUFFERS}


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize(
    ("shape", "groups"),
    [((19, 10, 2, 3), 1), ((40, 1, 3, 3), 40), ((80, 1, 1, 2), 40), ((72, 24, 2, 1), 3)],
    ids=["whole", "depthwise", "multiplied", "groups"],
)
def test_weights_lie_in_tiles_of_output_by_input_channels(
    shape: tuple[int, int, int, int], groups: int, config: Config
) -> None:
    layers = Layers()
    x = layers.input(1, groups * shape[1], 4, 4)
    graph = layers.build(layers.conv(x, shape[0], shape[2:], groups=groups))
    layer = layer_of(graph)
    assert layer.weights is not None
    assert layer.weights.shape == shape
    section = layer.section(config)
    packed = pack_weights(layer.weights, groups, section, config)
    assert packed.flags.c_contiguous
    block = config.block_in
    assert packed.shape == (-(-shape[0] // block), section[1], *shape[2:], block, block)
    for index in np.ndindex(*shape):
        o, c, ky, kx = index
        channel = (
            o // (shape[0] // groups) * shape[1]
            + c
            - o // block // section[0] * (section[1] * block)
        )
        found = packed[o // block, channel // block, ky, kx, o % block, channel % block]
        assert found == layer.weights[index]
    assert packed.sum(dtype=np.int64) == layer.weights.sum(dtype=np.int64), "the rest is zero"


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_a_constant_of_each_channel_is_the_same_for_each_image_of_a_batch(config: Config) -> None:
    vector = np.random.default_rng(0).integers(-(2**31), 2**31, 19).astype(np.int32)
    packed = pack_vector(vector, config)
    assert packed.shape == (-(-19 // config.block_out), config.batch, config.block_out)
    for image in range(config.batch):
        channels = packed[:, image].ravel()
        np.testing.assert_array_equal(channels[:19], vector)
        assert not channels[19:].any()


def test_an_input_that_is_a_residual_too_is_read_in_two_places() -> None:
    layers = Layers()
    x = layers.input(1, 9, 6, 6)
    made = express(layer_of(layers.build(layers.conv(x, 9, pads=(1, 1, 1, 1), add=x))), DEFAULT)
    assert made.data is made.images[x]
    assert made.added is not None
    assert made.added is not made.data
