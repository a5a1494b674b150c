"""passes.pack and runtime.host.layout: tensors as tiles, with what is around them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from vtakit.compiler.build import build_module
from vtakit.compiler.graph import Graph, Value
from vtakit.compiler.ops.shape import Concat, Reshape
from vtakit.compiler.passes.pack import Packed, pack
from vtakit.compiler.passes.partition import partition
from vtakit.compiler.reference import outputs
from vtakit.isa.config import PRESETS, Config
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.host.layout import unpack_tiles
from vtakit.runtime.module import DeviceStep
from vtakit.runtime.session import Session

from .integer_layers import Layers, run, sample

DEFAULT = PRESETS["default"]
extents = st.integers(1, 5)
halos = st.tuples(*[st.integers(0, 3)] * 4)


def pack_tiles(
    x: NDArray[Any], *, batch: int, block: int, halo: Sequence[int], value: int
) -> NDArray[Any]:
    """Return x, int8 (N, C, H, W) or (N, C), as tiles (NB, CB, H', W', batch, block).

    `halo` is the rows and columns of `value` around each image: top, left, bottom, right. Images
    and channels beyond N and C are zero.
    """
    n, c, *extents = x.shape
    rows, cols = extents or (1, 1)
    top, left, bottom, right = halo
    nb, cb = -(-n // batch), -(-c // block)
    out = np.zeros((nb, batch, cb, block, rows + top + bottom, cols + left + right), np.int8)
    flat = out.reshape(nb * batch, cb * block, *out.shape[4:])
    if any(halo):
        flat[:n, :c] = value
    flat[:n, :c, top : top + rows, left : left + cols] = x.reshape(n, c, rows, cols)
    return np.ascontiguousarray(out.transpose(0, 2, 4, 5, 1, 3))


def arrays(shape: tuple[int, ...], seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def packed_of(graph: Graph, config: Config = DEFAULT) -> dict[Value, Packed]:
    return pack(partition(graph, config), config, graph)


@settings(deadline=None)
@given(
    shape=st.tuples(extents, st.integers(1, 9), extents, extents),
    batch=st.sampled_from([1, 2, 4]),
    block=st.sampled_from([1, 4, 8]),
    halo=halos,
    value=st.integers(-128, 127),
    seed=st.integers(0, 99),
)
def test_an_element_lies_in_the_tile_of_its_channels_and_around_it_the_halo(
    shape: tuple[int, int, int, int],
    batch: int,
    block: int,
    halo: tuple[int, int, int, int],
    value: int,
    seed: int,
) -> None:
    x = arrays(shape, seed)
    tiles = pack_tiles(x, batch=batch, block=block, halo=halo, value=value)
    top, left, bottom, right = halo
    n, c, rows, cols = shape
    assert tiles.shape[2:4] == (rows + top + bottom, cols + left + right)
    for index in np.ndindex(*shape):
        i, j, y, z = index
        at = (i // batch, j // block, y + top, z + left, i % batch, j % block)
        assert tiles[at] == x[index]
    around = np.ones(tiles.shape, bool)
    around[:, :, top : top + rows, left : left + cols] = False
    used = np.zeros(tiles.shape, bool)
    for i in range(n):
        for j in range(c):
            used[i // batch, j // block, :, :, i % batch, j % block] = True
    assert (tiles[around & used] == value).all()
    assert (tiles[~used] == 0).all()
    np.testing.assert_array_equal(unpack_tiles(tiles, shape=shape, halo=halo), x)


def test_vectors_are_images_of_one_pixel() -> None:
    x = arrays((3, 10))
    tiles = pack_tiles(x, batch=2, block=4, halo=(0, 0, 0, 0), value=0)
    assert tiles.shape == (2, 3, 1, 1, 2, 4)
    as_image = pack_tiles(x.reshape(3, 10, 1, 1), batch=2, block=4, halo=(0, 0, 0, 0), value=0)
    np.testing.assert_array_equal(tiles, as_image)
    np.testing.assert_array_equal(unpack_tiles(tiles, shape=(3, 10), halo=(0, 0, 0, 0)), x)


@settings(deadline=None)
@given(
    shape=st.tuples(extents, st.integers(1, 40), extents, extents),
    config=st.sampled_from(list(PRESETS.values())),
    pads=halos,
    fewer=halos,
)
def test_strides_and_the_first_byte_lead_to_every_element(
    shape: tuple[int, int, int, int],
    config: Config,
    pads: tuple[int, int, int, int],
    fewer: tuple[int, int, int, int],
) -> None:
    layers = Layers()
    x = layers.input(*shape)
    y = layers.conv(x, 1, (1, 1), pads=pads, pad_value=7)
    packed = packed_of(layers.build(y), config)[x]
    assert packed.halo == pads
    array = arrays(shape)
    block = {"batch": config.batch, "block": config.block_in}
    memory = pack_tiles(array, **block, halo=pads, value=packed.halo_value).reshape(-1)
    assert packed.size_bytes == memory.size
    top, left, bottom, right = (min(pair) for pair in zip(pads, fewer, strict=True))
    around = (top, left, bottom, right)
    rows, cols = shape[2] + top + bottom, shape[3] + left + right
    seen = np.lib.stride_tricks.as_strided(
        memory[packed.inner_byte(around) :],
        (*packed.tiles[:2], rows, cols, config.batch, config.block_in),
        (
            *(stride * config.inp_tile_bytes for stride in packed.strides),
            config.block_in,
            1,
        ),
    )
    expected = pack_tiles(array, **block, halo=around, value=7)
    np.testing.assert_array_equal(seen, expected)


def test_the_halo_is_the_largest_that_a_reader_asks_for() -> None:
    layers = Layers()
    x = layers.scale(layers.input(1, 5, 8, 8))
    layers_of = [
        layers.conv(x, 3, pads=(1, 0, 2, 1), pad_value=9),
        layers.average_pool(x, (3, 2), pads=(2, 1, 0, 0), pad_value=9),
        layers.max_pool(x, (2, 2), pads=(1, 1, 1, 1)),
        layers.conv(x, 3, (1, 1)),
    ]
    packed = packed_of(layers.build(*layers_of))
    assert packed[x].halo == (2, 1, 2, 1)
    assert packed[x].halo_value == 9
    assert packed[layers_of[0]].halo == (0, 0, 0, 0)


def test_zeros_that_loads_can_write_need_no_halo() -> None:
    layers = Layers()
    x, y = layers.input(1, 5, 8, 8), layers.input(1, 5, 3, 3)
    padded = layers.conv(x, 3, pads=(1, 1, 1, 1)), layers.conv(y, 3, pads=(3, 3, 3, 3))
    packed = packed_of(layers.build(*padded))
    assert packed[x].halo == (0, 0, 0, 0)
    assert packed[y].halo == (3, 3, 3, 3), "whole windows of zeros are in memory"


def test_views_share_the_tiles_of_what_they_show() -> None:
    layers = Layers()
    x = layers.conv(layers.input(2, 5, 3, 3), 6)
    flat = layers.flat(x)
    back = layers.builder.add(Reshape((2, 6, 1, 1)), flat, layer="back")
    graph = layers.build(layers.dense(flat, 3), layers.conv(back, 4, pads=(1, 1, 1, 1)))
    packed = packed_of(graph)
    assert packed[flat] is packed[x]
    assert packed[back] is packed[x]
    assert packed[x].value is x


def test_only_what_vta_touches_is_packed() -> None:
    layers = Layers()
    x = layers.input(1, 4, 6, 6)
    y = layers.conv(x, 4, (3, 3))
    moved = layers.builder.add(Reshape((1, 8, 2, 4)), y, layer="moved")
    graph = layers.build(moved)
    assert set(packed_of(graph)) == {x, y}


def joining(
    channels: Sequence[int], *, batch: int = 1, read: bool = False, halo: bool = False
) -> Graph:
    """Return two convolutions whose results, side by side, a third one reads."""
    layers = Layers()
    x = layers.input(batch, 5, 6, 6)
    parts = [layers.conv(x, count, pads=(1, 1, 1, 1)) for count in channels]
    whole = layers.builder.add(Concat(1), *parts, layer="concat")
    ends = [layers.conv(whole, 8, pads=(1, 1, 1, 1), pad_value=3 if halo else 0)]
    if read:
        ends.append(layers.conv(parts[0], 7))
    return layers.build(*ends)


@pytest.mark.parametrize("name", ["default", "tiny", "batch2", "banked"])
@pytest.mark.parametrize("read", [False, True])
def test_a_concatenation_takes_no_copies_where_its_parts_are_whole_blocks(
    name: str, read: bool
) -> None:
    config = PRESETS[name]
    block = config.block_in
    graph = joining((block, 2 * block, block - 1), batch=config.batch, read=read)
    for keep in (False, True):
        compiled = build_module(graph, config, keep=keep, measured=1, unfolded=False)
        assert {layer.device for layer in compiled.layers} == {"vta"}, "nothing else is done"
        assert sum(isinstance(step, DeviceStep) for step in compiled.module.steps) == 1
    check = run(compiled)
    assert check.equal
    assert check.compared == 4 + read


@pytest.mark.parametrize(
    "graph",
    [
        joining((15, 16)),
        joining((16, 16), batch=2),
        joining((16, 16), halo=True),
    ],
    ids=["a part of a block", "two batches", "surrounded"],
)
def test_other_concatenations_are_copied(graph: Graph) -> None:
    compiled = build_module(graph, DEFAULT, keep=True, measured=1, unfolded=False)
    assert [layer.kind for layer in compiled.layers if layer.device == "cpu"] == ["Concat"]
    assert run(compiled).equal


def test_what_is_joined_is_not_overwritten_before_it_is_read() -> None:
    """With memory that is used again: another layer between a part and its reader."""
    layers = Layers()
    x = layers.input(1, 16, 6, 6)
    first = layers.conv(x, 16, pads=(1, 1, 1, 1))
    between = x
    for _ in range(3):
        between = layers.conv(between, 16, pads=(1, 1, 1, 1))
    whole = layers.builder.add(Concat(1), first, between, layer="concat")
    graph = layers.build(layers.conv(whole, 8))
    compiled = build_module(graph, DEFAULT, measured=1, unfolded=False)
    inputs = sample(graph)
    with open_device("sim", DEFAULT) as device, Session(compiled.module, device) as session:
        found = session.run(inputs).outputs
    for name, wanted in outputs(graph, inputs).items():
        np.testing.assert_array_equal(found[name], wanted)
