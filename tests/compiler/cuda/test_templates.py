"""Schedules of kernels: every tile of warps and threads holds what it computes and no more."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from vtakit.compiler.builder import GraphBuilder
from vtakit.compiler.cuda.build import build_cuda, planned
from vtakit.compiler.graph import DType, Graph
from vtakit.compiler.loops import buffers
from vtakit.compiler.ops.linear import Conv2d, Dense
from vtakit.compiler.reference import outputs
from vtakit.compiler.schedule import Scope
from vtakit.runtime.cuda.session import CudaSession

from .assembler import assemble
from .ptx_gpu import PtxGpu

Array = NDArray[Any]


def numbers(seed: int, shape: tuple[int, ...], kind: str) -> Array:
    random = np.random.default_rng(seed)
    if kind == "int8":
        return random.integers(-128, 127, shape, np.int8, endpoint=True)
    return random.normal(size=shape).astype(np.float32)


def convolution(shape: tuple[int, ...], weights: tuple[int, ...], kind: str, op: Conv2d) -> Graph:
    builder = GraphBuilder("convolution")
    x = builder.input("x", shape, DType(kind))
    w = builder.constant(numbers(1, weights, kind), "w")
    return builder.build([builder.add(op, x, w, layer="conv", name="y")])


def check(graph: Graph, kind: str) -> None:
    (value,) = graph.inputs
    inputs = {"x": numbers(2, value.shape, kind)}
    program = build_cuda(graph)
    with CudaSession(program, PtxGpu()) as session:
        found = session.run(inputs)["y"]
    wanted = outputs(graph, inputs)["y"]
    if kind == "int8":
        np.testing.assert_array_equal(found, wanted)
    else:
        made = np.asarray(found, np.float32)
        np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    taken = assemble(program.ptx, "sm_80")
    assert not any(kernel.spilled_bytes for kernel in taken.values()), taken


def accumulators(graph: Graph, scope: Scope) -> list[tuple[int, ...]]:
    """Return the shapes of what kernels add up in."""
    return [
        buffer.shape
        for _, kernel in planned(graph).steps
        for buffer in buffers(kernel.program.body)
        if buffer.scope is scope
    ]


@pytest.mark.parametrize(("channels", "rows", "cols", "tall", "wide"), [
    (20, 5, 5, 1, 1), (1024, 16, 16, 1, 2), (1024, 16, 33, 2, 2), (1000, 32, 33, 2, 4),
    (1024, 64, 33, 4, 4),
])  # fmt: skip
@pytest.mark.parametrize("n", [1, 2])
def test_a_warp_has_tiles_of_eight_pixels(
    channels: int, rows: int, cols: int, tall: int, wide: int, n: int
) -> None:
    if n == 2 and rows > 5:
        rows //= 2
    graph = convolution((n, 16, rows, cols), (channels, 16, 1, 1), "int8", Conv2d())
    assert accumulators(graph, Scope.FRAGMENT) == [(tall, 8 * wide, 16)]
    check(graph, "int8")


@pytest.mark.parametrize(("channels", "rows", "cols", "tall", "wide"), [
    (20, 5, 5, 1, 1), (512, 8, 17, 1, 2), (512, 16, 17, 1, 4), (512, 16, 33, 2, 4),
    (512, 32, 33, 4, 4),
])  # fmt: skip
@pytest.mark.parametrize("n", [1, 2])
def test_a_thread_has_pixels_side_by_side(
    channels: int, rows: int, cols: int, tall: int, wide: int, n: int
) -> None:
    if n == 2 and rows > 5:
        rows //= 2
    graph = convolution((n, 5, rows, cols), (channels, 5, 1, 1), "float32", Conv2d())
    assert accumulators(graph, Scope.REGISTERS) == [(tall, wide, 1)]
    check(graph, "float32")


@pytest.mark.parametrize("kind", ["int8", "float32"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("op", [
    Conv2d((1, 1), (1, 1, 1, 1)), Conv2d((2, 1), (2, 0, 1, 2)),
    Conv2d((1, 2), (2, 2, 2, 2), (2, 2)),
])  # fmt: skip
def test_windows_move_over_images(kind: str, groups: int, op: Conv2d) -> None:
    shape, weights = (2, 32, 9, 11), (48, 32 // groups, 3, 3)
    check(
        convolution(shape, weights, kind, Conv2d(op.strides, op.pads, op.dilations, groups)), kind
    )


@pytest.mark.parametrize("kind", ["int8", "float32"])
@pytest.mark.parametrize("n", [1, 3, 9, 16])
@pytest.mark.parametrize("features", [(5, 7), (64, 10), (400, 120)])
def test_dense_layers(kind: str, n: int, features: tuple[int, int]) -> None:
    inner, outer = features
    builder = GraphBuilder("dense")
    x = builder.input("x", (n, inner), DType(kind))
    w = builder.constant(numbers(1, (outer, inner), kind), "w")
    check(builder.build([builder.add(Dense(), x, w, layer="dense", name="y")]), kind)
