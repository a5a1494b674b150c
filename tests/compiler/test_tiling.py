"""vta.tiling: the ways to cut a layer, what they take of the buffers and what they cost."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.kernel import build
from vtakit.compiler.passes.fuse import fuse
from vtakit.compiler.schedule import Scope
from vtakit.compiler.vta.layer import Layer, match
from vtakit.compiler.vta.search import measure
from vtakit.compiler.vta.template import express, plan
from vtakit.compiler.vta.tiling import (
    Candidates,
    Keep,
    Overlap,
    Tiling,
    TilingError,
    Workload,
    buffer_use,
    candidates,
)
from vtakit.isa.config import PRESETS, Config

from .integer_layers import Layers

MEMORIES = {"inp": Scope.INP, "wgt": Scope.WGT, "acc": Scope.ACC}


def conv(
    channels: int,
    size: int,
    outputs: int,
    window: int,
    stride: int,
    groups: int = 1,
    *,
    residual: bool = False,
) -> Layer:
    layers = Layers()
    pad = window // 2
    out = (size + 2 * pad - window) // stride + 1
    x = layers.input(1, channels, size, size)
    other = layers.input(1, outputs, out, out) if residual else None
    graph = layers.build(
        layers.conv(
            x,
            outputs,
            (window, window),
            strides=(stride, stride),
            pads=(pad, pad, pad, pad),
            groups=groups,
            add=other,
        )
    )
    (group,) = fuse(graph)
    return match(group, graph)


def pooling() -> Layer:
    layers = Layers()
    graph = layers.build(layers.average_pool(layers.input(1, 20, 9, 9), (3, 3), (2, 2)))
    (group,) = fuse(graph)
    return match(group, graph)


def some(found: Candidates, count: int) -> list[int]:
    """Return so many candidates, best and worst among them."""
    return sorted({round(i) for i in np.linspace(0, len(found) - 1, count)})


def measured(layer: Layer, tiling: Tiling, config: Config) -> int:
    made = express(layer, config)
    return measure(build(plan(made, tiling, config.acc_banks), config), made, config)


@pytest.mark.parametrize("name", ["default", "small", "big", "batch2"])
@pytest.mark.parametrize(
    "shape",
    [
        (64, 28, 64, 3, 1),
        (64, 28, 128, 3, 2),
        (3, 64, 32, 7, 2),
        (128, 14, 128, 1, 1),
        (96, 28, 96, 3, 1, 96),
        (128, 14, 128, 3, 1, 2),
    ],
    ids=["3x3", "stride 2", "first", "1x1", "depthwise", "two groups"],
)
def test_the_best_estimate_is_within_15_per_cent_of_the_cycle_model(
    name: str, shape: tuple[int, ...]
) -> None:
    config, layer = PRESETS[name], conv(*shape)
    found = candidates(layer.workload(config), config)
    cycles = measured(layer, found[0], config)
    assert abs(int(found.cycles[0]) - cycles) <= 0.15 * cycles


def test_estimates_rank_tilings_about_as_the_cycle_model_does() -> None:
    config = PRESETS["default"]
    layer = conv(32, 16, 64, 3, 1)
    found = candidates(layer.workload(config), config)
    chosen = some(found, 12)
    cycles = [measured(layer, found[index], config) for index in chosen]
    ranks = np.argsort(np.argsort(cycles))
    assert np.corrcoef(ranks, range(len(ranks)))[0, 1] > 0.8
    assert min(cycles[1:]) > 0.98 * cycles[0], "the best estimate is the best there is, or nearly"


LAYERS = {
    "conv": conv(20, 9, 24, 3, 1),
    "strided": conv(9, 11, 17, 5, 3),
    "residual": conv(20, 7, 24, 3, 1, residual=True),
    "pooling": pooling(),
    "depthwise": conv(40, 9, 40, 3, 2, 40),
    "two groups": conv(64, 7, 64, 3, 1, 2),
}


@pytest.mark.parametrize("name", ["default", "tiny", "small", "banked"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_kernel_takes_no_more_of_the_buffers_than_its_tiling_says(kind: str, name: str) -> None:
    layer, config = LAYERS[kind], PRESETS[name]
    work = layer.workload(config)
    found = candidates(work, config)
    use = buffer_use(work, found.columns, config.acc_banks)
    exact = 0
    for index in some(found, 12):
        kernel = build(plan(express(layer, config), found[index], config.acc_banks), config)
        for memory, tiles in use.items():
            taken = kernel.tiles[MEMORIES[memory]]
            assert taken <= tiles[index], (found[index], memory)
            exact += taken == tiles[index]
    assert exact, "the tiles are counted, not only bounded"


workloads = st.builds(
    Workload,
    batches=st.integers(1, 3),
    out_blocks=st.integers(1, 40),
    out_rows=st.integers(1, 60),
    out_cols=st.integers(1, 60),
    in_blocks=st.integers(1, 40),
    section=st.integers(1, 40),
    window=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    dense=st.just(True),
    vectors=st.integers(0, 3),
    residuals=st.integers(0, 2),
    tile_cycles=st.integers(1, 12),
)


@settings(max_examples=40, deadline=None)
@given(work=workloads, name=st.sampled_from(list(PRESETS)))
def test_every_candidate_fits_and_cuts_the_output_in_whole_tiles(work: Workload, name: str) -> None:
    config = PRESETS[name]
    found = candidates(work, config)
    assert len(found) == len(found.cycles) > 0
    assert (np.diff(found.cycles) >= 0).all()
    assert (found.cycles >= work.gemm_cycles).all()
    use = buffer_use(work, found.columns, config.acc_banks)
    for memory, depth in (
        ("inp", config.inp_depth),
        ("wgt", config.wgt_depth),
        ("acc", config.acc_depth),
    ):
        assert (use[memory] <= depth).all()
    for axis, extent in (
        ("blocks", work.out_blocks),
        ("rows", work.out_rows),
        ("cols", work.out_cols),
        ("depth", work.in_blocks),
    ):
        sizes = found.columns[axis]
        assert ((sizes >= 1) & (sizes <= extent)).all()


@settings(max_examples=20, deadline=None)
@given(work=workloads)
def test_larger_buffers_never_cost_cycles(work: Workload) -> None:
    config = PRESETS["small"]
    larger = replace(config, inp_buffer_bytes=8 << 10, acc_buffer_bytes=64 << 10)
    best = [int(candidates(work, machine).cycles[0]) for machine in (config, larger)]
    assert best[1] <= best[0]


def test_a_column_is_a_tiling() -> None:
    config = PRESETS["default"]
    found = candidates(LAYERS["conv"].workload(config), config)
    tilings = [found[index] for index in range(len(found))]
    assert len(set(tilings)) == len(tilings), "none is tried twice"
    assert {tiling.overlap for tiling in tilings} == set(Overlap)
    assert {tiling.keep for tiling in tilings} == set(Keep)
    assert {tiling.hold_vectors for tiling in tilings} == {True, False}


def test_when_nothing_fits_the_error_names_the_buffer() -> None:
    work = LAYERS["residual"].workload(PRESETS["tiny"])
    small = replace(PRESETS["tiny"], acc_buffer_bytes=32)
    with pytest.raises(TilingError) as error:
        candidates(work, small)
    assert str(error.value) == (
        "no tiling fits the buffers; the smallest one needs acc 4 tiles of 2; "
        "a larger acc_buffer_bytes would do"
    )


def test_a_layer_too_large_for_two_buffers_names_both() -> None:
    pool = replace(LAYERS["pooling"].workload(PRESETS["tiny"]), window=(20, 20))
    with pytest.raises(TilingError, match=r"needs acc \d+ tiles of 128; a larger acc_buffer_bytes"):
        candidates(pool, PRESETS["tiny"])


def test_of_a_large_layer_the_tilings_are_counted_in_little_memory() -> None:
    import tracemalloc

    work = conv(64, 14, 64, 3, 1).workload(PRESETS["tiny"])
    work = replace(work, out_rows=224, out_cols=224)
    tracemalloc.start()
    found = candidates(work, PRESETS["tiny"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) > 10000
    assert peak < 150 << 20
