"""Virtual threads stand side by side, compute the same, and hide loads behind work."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.inplace import in_place
from vtakit.compiler.interpret import interpret
from vtakit.compiler.intrinsics import intrinsics
from vtakit.compiler.kernel import build
from vtakit.compiler.loops import Body, For, When, blocks, buffers
from vtakit.compiler.lower import lower
from vtakit.compiler.schedule import LoopKind
from vtakit.compiler.tensorize import tensorize
from vtakit.compiler.vthread import virtual_threads
from vtakit.isa.config import PRESETS
from vtakit.isa.instructions import Unit

from .tensor_programs import Tiles, conv, pool, run, scheduled

SMALL = PRESETS["small"]


def units(body: Body) -> str:
    """The units of a body's blocks in order, loops in brackets."""
    text = ""
    for statement in body:
        match statement:
            case For(_, _, _, inner):
                text += f"[{units(inner)}]"
            case When(_, inner):
                text += units(inner)
            case _:
                text += "".join(_letter(block.match) for block in blocks((statement,)))
    return text


def _letter(match: object) -> str:
    unit = getattr(match, "intrinsic").unit  # noqa: B009
    return {Unit.LOAD: "L", Unit.COMPUTE: "C", Unit.STORE: "S"}[unit]


def test_iterations_are_interleaved_by_unit() -> None:
    op = conv(SMALL, c=2, o=2, rows=4, cols=4)
    tiles = Tiles(o=1, y=4, x=4, c=1, threads="o", double=False, constants_outside=False)
    program = tensorize(in_place(lower(scheduled(op, tiles))), intrinsics(SMALL))
    assert units(program.body) == "[[LLCC]" + "C" * 8 + "S]"
    woven = virtual_threads(program)
    # Inputs are loaded once for both; weights, reset and GEMM of each thread follow each other.
    assert units(woven.body) == "[LLLCCCC]" + "C" * 16 + "SS"


def test_what_does_not_depend_on_the_thread_is_shared() -> None:
    op = conv(SMALL, c=2, o=2, rows=8, cols=4)
    tiles = Tiles(o=2, y=4, x=4, c=1, threads="y", double=False)
    names = [b.name for b in buffers(build(scheduled(op, tiles), SMALL).program.body)]
    assert names == ["bias.ACC", "mul.ACC", "acc.0", "acc.1", "wgt.WGT", "pad.0", "pad.1"]


def test_no_virtual_thread_is_left() -> None:
    op = conv(SMALL, o=4)
    program = build(scheduled(op, Tiles(threads="o")), SMALL).program

    def kinds(body: Body) -> set[LoopKind]:
        loops = [s for s in body if isinstance(s, For)]
        inner = [kinds(s.body) for s in body if isinstance(s, For | When)]
        return {loop.kind for loop in loops}.union(*inner)

    assert kinds(program.body) == {LoopKind.SERIAL}


@settings(max_examples=60, deadline=None)
@given(
    threads=st.sampled_from(["o", "y", "x"]),
    count=st.integers(1, 5),
    size=st.integers(1, 4),
    split_window=st.booleans(),
    pooled=st.booleans(),
    double=st.booleans(),
)
def test_threads_of_any_loop_compute_the_same(
    threads: str, count: int, size: int, split_window: bool, pooled: bool, double: bool
) -> None:
    tiles = Tiles(
        o=1 + size // 3,
        y=size,
        x=5 - size,
        c=1,
        threads=threads,
        split_window=split_window,
        double=double,
        constants_outside=double,
    )
    config = PRESETS["default"]
    if pooled:
        op = pool(config, largest_=True, c=count, rows=7, cols=6)
    else:
        op = conv(config, c=2, o=count, rows=5, cols=6, stride=(1, 2), residual=split_window)
    program = tensorize(in_place(lower(scheduled(op, tiles))), intrinsics(config))
    woven = virtual_threads(program)
    np.testing.assert_array_equal(interpret(program, op.given)[op.out], op.wanted)
    np.testing.assert_array_equal(interpret(woven, op.given)[op.out], op.wanted)


@pytest.mark.parametrize("overlap", ["threads", "buffers"])
def test_overlap_hides_loads_behind_multiplications(overlap: str) -> None:
    config = PRESETS["default"]
    op = conv(config, c=4, o=4, rows=14, cols=14)
    alone = Tiles(o=2, y=7, x=14, c=1, double=False)
    other = replace(alone, double=True, threads="o" if overlap == "threads" else "")
    _, one = run(build(scheduled(op, alone), config), op.given, op.out, timing=True)
    output, two = run(build(scheduled(op, other), config), op.given, op.out, timing=True)
    np.testing.assert_array_equal(output, op.wanted)
    assert one.cycles is not None
    assert two.cycles is not None
    least = 4 * 4 * 14 * 14 * 9  # GEMM micro-ops
    assert two.cycles - least < 0.6 * (one.cycles - least)
