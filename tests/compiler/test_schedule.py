"""Primitives change what they say and nothing else, and refuse by name what cannot be."""

import pytest
from vtakit.compiler.expr import (
    Compute,
    Type,
    compute,
    elementwise,
    placeholder,
    reduce_axis,
    total,
)
from vtakit.compiler.lower import lower
from vtakit.compiler.schedule import LoopKind, Schedule, ScheduleError, Scope

A = placeholder("a", (8, 12, 2, 2), Type.INT32)


def sums() -> tuple[Compute, Compute]:
    k = reduce_axis(12, "k")
    folded = compute("folded", (8, 2, 2), lambda y, b, j: total(A[y, k, b, j], over=(k,)))
    return folded, elementwise("out", folded, lambda at: folded[at] + 1)


def names(s: Schedule, tensor: Compute) -> list[str]:
    return [axis.name for axis in s.axes(tensor)]


def test_a_schedule_is_a_value() -> None:
    folded, out = sums()
    before = Schedule.of(out)
    after, outer, inner = before.split(folded, folded.axes[0], 3)
    assert names(before, folded) == ["y", "b", "j", "k"]
    assert names(after, folded) == ["y_o", "y_i", "b", "j", "k"]
    assert (outer.extent, inner.extent) == (3, 3)
    assert [stage.tensor for stage in before.stages] == [folded, out]


def test_loops_are_tiled_fused_and_reordered() -> None:
    out = elementwise("out", A, lambda at: A[at] + 1)
    s = Schedule.of(out)
    y, x, b, j = s.axes(out)
    s, y_o, x_o, y_i, x_i = s.tile(out, y, x, 4, 6)
    assert s.axes(out) == (y_o, x_o, y_i, x_i, b, j)
    s, fused = s.fuse(out, y_o, x_o)
    assert (fused.name, fused.extent) == ("i0_o.i1_o", 4)
    assert s.reorder(out, x_i, fused).axes(out) == (x_i, y_i, fused, b, j)


def test_an_inlined_stage_is_gone() -> None:
    k = reduce_axis(12, "k")
    doubled = elementwise("doubled", A, lambda at: A[at] * 2)
    folded = compute("folded", (8,), lambda y: total(doubled[y, k, 0, 1], over=(k,)))
    s = Schedule.of(folded).compute_inline(doubled)
    assert [stage.tensor for stage in s.stages] == [folded]
    assert "folded[y] += a[y, k, 0, 1] * 2" in str(lower(s))


def test_a_cache_stands_between_a_tensor_and_its_reader() -> None:
    folded, out = sums()
    s, read = Schedule.of(out).cache_read(A, Scope.ACC)
    s, written = s.cache_write(folded, Scope.ACC)
    text = str(lower(s))
    assert (read.name, written.name) == ("a.ACC", "folded.ACC")
    assert "folded.ACC[y, b, j] += a.ACC[y, k, b, j]" in text
    assert "folded[y, b, j] = folded.ACC[y, b, j]" in text


def test_loops_are_marked() -> None:
    _, out = sums()
    s = Schedule.of(out)
    y = s.axes(out)[0]
    assert s.stage(out).kind(y) is LoopKind.SERIAL
    assert s.virtual_thread(out, y).stage(out).kind(y) is LoopKind.VTHREAD
    assert "for y in 8  (unrolled)" in str(lower(s.unroll(out, y)))


def test_what_cannot_be_is_refused_by_name() -> None:
    folded, out = sums()
    s = Schedule.of(out)
    y, b, j = s.axes(out)
    split, y_o, _ = s.split(out, y, 3)
    with pytest.raises(ScheduleError, match="cannot split y of out by 0; 1 to 8 would do"):
        s.split(out, y, 0)
    with pytest.raises(ScheduleError, match="y is no loop of out now; .* are y_o, y_i, b, j"):
        split.split(out, y, 2)
    with pytest.raises(ScheduleError, match="a is no stage of this schedule; .* are folded, out"):
        s.stage(A)
    with pytest.raises(ScheduleError, match="must be directly inside the first; the loops are"):
        s.fuse(out, y, j)
    with pytest.raises(ScheduleError, match="cannot fuse j and k of folded: one is reduced over"):
        s.fuse(folded, s.axes(folded)[2], s.axes(folded)[3])
    with pytest.raises(ScheduleError, match="reorder of out names a loop twice: y, b, y"):
        s.reorder(out, y, b, y)
    with pytest.raises(ScheduleError, match="out is an output and stays in DRAM; cache_write"):
        s.set_scope(out, Scope.ACC)
    with pytest.raises(ScheduleError, match="cannot inline folded: it is a reduction"):
        s.compute_inline(folded)
    with pytest.raises(ScheduleError, match="cannot inline out: it is an output"):
        s.compute_inline(out)
    with pytest.raises(ScheduleError, match="cannot compute out at y of out: an output is made"):
        s.compute_at(out, out, y)
    with pytest.raises(ScheduleError, match="cannot cache a for out: it is not read there"):
        s.cache_read(A, Scope.ACC, [out])
    with pytest.raises(ScheduleError, match="cannot cache out: its loops have been changed"):
        split.cache_write(out, Scope.ACC)
    with pytest.raises(ScheduleError, match="folded cannot have 0 places; 1 or more would do"):
        s.double_buffer(folded, 0)
    with pytest.raises(ScheduleError, match="cannot split y_o of out: folded is computed at it"):
        split.compute_at(folded, out, y_o).split(out, y_o, 2)
    with pytest.raises(ScheduleError, match="y_o of out: it is already marked vthread"):
        split.virtual_thread(out, y_o).split(out, y_o, 2)
