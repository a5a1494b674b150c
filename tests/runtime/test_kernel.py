"""Kernels of micro-ops against the loop nests they were made of, iteration by iteration."""

from collections import Counter
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.stream import decode_uops
from vtakit.runtime.kernel import Axis, Kernel, KernelError, Nest, Operands, compile_nest

TINY = PRESETS["tiny"]
DEFAULT = PRESETS["default"]


def enumerate_nest(nest: Nest) -> Iterator[tuple[int, int, int]]:
    for point in product(*(range(axis.extent) for axis in nest.axes)):
        pairs = list(zip(point, nest.axes, strict=True))
        yield (
            nest.dst + sum(i * axis.dst for i, axis in pairs),
            nest.src + sum(i * axis.src for i, axis in pairs),
            nest.wgt + sum(i * axis.wgt for i, axis in pairs),
        )


def enumerate_kernel(kernel: Kernel, config: Config) -> Iterator[tuple[int, int, int]]:
    """Iterate as the hardware does."""
    uops = decode_uops(kernel.uops.view(np.uint8), config)
    for out, inn, u in product(
        range(kernel.iter_out), range(kernel.iter_in), range(len(kernel.uops))
    ):
        yield (
            int(uops["dst"][u]) + out * kernel.dst_factors[0] + inn * kernel.dst_factors[1],
            int(uops["src"][u]) + out * kernel.src_factors[0] + inn * kernel.src_factors[1],
            int(uops["wgt"][u]) + out * kernel.wgt_factors[0] + inn * kernel.wgt_factors[1],
        )


def source_changes(kernel: Kernel, config: Config) -> int:
    sources = [src for _, src, _ in enumerate_kernel(kernel, config)]
    return sum(a != b for a, b in zip([None, *sources], sources, strict=False))


@st.composite
def nests(draw: st.DrawFn, config: Config) -> Nest:
    """Nests that stay inside the buffers of GEMM, with strides of any sign."""
    depths = (config.acc_depth, config.inp_depth, config.wgt_depth)
    count = draw(st.integers(0, 5))
    extents = [draw(st.sampled_from([1, 2, 3, 4, 5, 7])) for _ in range(count)]
    strides: list[list[int]] = []
    bases: list[int] = []
    for depth in depths:
        room = depth - 1
        low = 0
        own: list[int] = []
        for extent in extents:
            most = room // max(extent - 1, 1)
            stride = draw(st.integers(-most, most) | st.integers(0, min(most, 4)))
            reach = (extent - 1) * stride
            room -= abs(reach)
            low += min(reach, 0)
            own.append(stride)
        strides.append(own)
        bases.append(-low + draw(st.integers(0, room)))
    axes = [Axis(e, *s) for e, *s in zip(extents, *strides, strict=True)]
    return Nest(tuple(axes), *bases)


@settings(deadline=None, max_examples=150)
@given(data=st.data(), name=st.sampled_from(["tiny", "small"]))
def test_kernels_run_every_iteration_of_a_gemm_nest_once(data: st.DataObject, name: str) -> None:
    config = PRESETS[name]
    nest = data.draw(nests(config))
    kernels = compile_nest(nest, Operands.GEMM, config)
    got = Counter(step for kernel in kernels for step in enumerate_kernel(kernel, config))
    assert got == Counter(enumerate_nest(nest))
    for kernel in kernels:
        steps = list(enumerate_kernel(kernel, config))
        assert kernel.steps == len(steps)
        assert len(kernel.uops) <= config.uop_depth
        for column, span in zip(
            zip(*steps, strict=True), (kernel.dst, kernel.src, kernel.wgt), strict=True
        ):
            assert (min(column), max(column) + 1) == (span.start, span.stop)


@settings(deadline=None, max_examples=60)
@given(nest=nests(TINY))
def test_a_reset_writes_each_tile_of_the_nest(nest: Nest) -> None:
    kernels = compile_nest(nest, Operands.RESET, TINY)
    got = {step for kernel in kernels for step in enumerate_kernel(kernel, TINY)}
    assert got == {(dst, 0, 0) for dst, _, _ in enumerate_nest(nest)}
    assert all(kernel.src == kernel.wgt == slice(0, 0) for kernel in kernels)


def test_contiguous_axes_become_one_loop_and_one_micro_op() -> None:
    nest = Nest((Axis(4, 32, 32), Axis(8, 4, 4), Axis(4, 1, 1), Axis(16, 128, 0, 1)))
    (kernel,) = compile_nest(nest, Operands.GEMM, DEFAULT)
    assert len(kernel.uops) == 1
    assert {kernel.iter_out, kernel.iter_in} == {128, 16}


def test_the_longest_two_axes_of_a_convolution_go_to_the_hardware() -> None:
    rows, columns, kernel_size, blocks = 7, 14, 3, 8
    axes = (
        Axis(rows, columns, columns + 2),
        Axis(columns, 1, 1),
        Axis(blocks, 0, (rows + 2) * (columns + 2), kernel_size**2),
        Axis(kernel_size, 0, columns + 2, kernel_size),
        Axis(kernel_size, 0, 1, 1),
    )
    (kernel,) = compile_nest(Nest(axes), Operands.GEMM, DEFAULT)
    assert (kernel.iter_out, kernel.iter_in) in ((14, 8), (8, 14))
    assert len(kernel.uops) == rows * kernel_size**2


def test_backward_axes_are_turned_around() -> None:
    (kernel,) = compile_nest(Nest((Axis(8, -1, -2, 0),), 7, 14), Operands.GEMM, DEFAULT)
    assert len(kernel.uops) == 1
    assert kernel.dst_factors[1] == 1
    assert kernel.src_factors[1] == 2


def test_opposite_strides_are_written_out_as_micro_ops() -> None:
    (kernel,) = compile_nest(Nest((Axis(8, 1, -1, 0),), 0, 7), Operands.GEMM, DEFAULT)
    assert len(kernel.uops) == 8


def test_a_broadcast_operand_of_alu_is_fetched_once_a_channel() -> None:
    channels = Axis(8, 49, 1)
    for axes in (
        (channels, Axis(49, 1, 0)),
        (Axis(7, 7, 0), channels, Axis(5, 1, 0)),
        (Axis(3, 2, 0), Axis(2, 7, 0), channels, Axis(2, 1, 0)),
    ):
        (kernel,) = compile_nest(Nest(axes, src=1000), Operands.ALU, DEFAULT)
        assert source_changes(kernel, DEFAULT) == 8


def test_a_nest_that_overfills_the_micro_op_buffer_is_cut() -> None:
    axes = (Axis(3, 0, 30), Axis(5, 0, 6), Axis(6, 0, 1, 1), Axis(7, 5, 0, 7), Axis(5, 1, 31))
    nest = Nest(axes)
    total = 3 * 5 * 6 * 7 * 5
    kernels = compile_nest(nest, Operands.GEMM, TINY)
    assert sum(kernel.steps for kernel in kernels) == total
    assert all(len(kernel.uops) <= TINY.uop_depth for kernel in kernels)
    assert len({kernel.uops.tobytes() for kernel in kernels}) <= len(kernels)


@pytest.mark.parametrize("extent", [16383, 16384, 20000, 40000])
def test_axes_longer_than_a_hardware_loop_are_cut(extent: int) -> None:
    nest = Nest((Axis(extent, 0, 0, 0),), 3, 4, 5)
    kernels = compile_nest(nest, Operands.GEMM, DEFAULT)
    assert sum(kernel.steps for kernel in kernels) == extent
    assert all(max(kernel.iter_in, kernel.iter_out) <= 16383 for kernel in kernels)


def test_no_iterations_give_no_kernels() -> None:
    assert compile_nest(Nest((Axis(4, 1), Axis(0, 1))), Operands.GEMM, TINY) == ()


@pytest.mark.parametrize(
    ("nest", "operands", "message"),
    [
        (Nest((Axis(40, 4),)), Operands.RESET, "dst of RESET reaches from tile 0 to 156"),
        (Nest((Axis(2, 0, -1),)), Operands.GEMM, "src of GEMM reaches from tile -1 to 0; the inp"),
        (Nest((Axis(99, 0, 0, 1),)), Operands.GEMM, "the wgt buffer holds tiles 0 to 63"),
        (Nest((), 0, 128), Operands.ALU, "the acc buffer holds tiles 0 to 127"),
        (Nest((Axis(-1),)), Operands.ALU, "negative extent"),
    ],
)
def test_what_leaves_a_buffer_is_refused(nest: Nest, operands: Operands, message: str) -> None:
    with pytest.raises(KernelError, match=message):
        compile_nest(nest, operands, TINY)
