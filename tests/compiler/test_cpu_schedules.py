"""What schedules for a CPU add: tiles that overlap, registers, floats, and loops of other kinds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.evaluate import Array, evaluate
from vtakit.compiler.expr import (
    Compute,
    Function,
    Tensor,
    Type,
    call,
    cast,
    compute,
    placeholder,
    product,
    reduce_axis,
    total,
)
from vtakit.compiler.interpret import interpret
from vtakit.compiler.lower import lower
from vtakit.compiler.schedule import Schedule, ScheduleError, Scope

RANDOM = np.random.default_rng(3)


def product_of(rows: int, cols: int, depth: int) -> tuple[Compute, dict[Tensor, Array]]:
    """A matrix product in float32, a Relu after it, and its operands."""
    a = placeholder("a", (rows, depth), Type.FLOAT32)
    b = placeholder("b", (depth, cols), Type.FLOAT32)
    k = reduce_axis(depth, "k")
    c = compute("c", (rows, cols), lambda y, x: total(a[y, k] * b[k, x], over=(k,)))
    arrays: dict[Tensor, Array] = {
        t: RANDOM.integers(-8, 8, t.shape).astype(np.float32) for t in (a, b)
    }
    return c, arrays


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_overlapping_tiles_compute_the_same(rows: int, cols: int, high: int, wide: int) -> None:
    c, arrays = product_of(rows, cols, 3)
    s, sums = Schedule.of(c, tiled=False).cache_write(c, Scope.REGISTERS)
    y, x = c.axes
    s, y_o, y_i = s.split(c, y, high, overlap=True)
    s, x_o, x_i = s.split(c, x, wide, overlap=True)
    s = s.reorder(c, y_o, x_o, y_i, x_i).unroll(c, y_i).vectorize(c, x_i)
    s = s.compute_at(sums, c, x_o)
    program = lower(s)
    made = interpret(program, arrays)[c]
    np.testing.assert_array_equal(made, evaluate(c, arrays))


def test_every_inner_loop_of_overlapping_tiles_is_whole() -> None:
    c, _ = product_of(7, 5, 2)
    s, _, inner = Schedule.of(c, tiled=False).split(c, c.axes[0], 3, overlap=True)
    text = str(lower(s))
    assert "min(y_o*3, 4) + y_i" in text.replace(" * ", "*"), text
    assert inner.extent == 3


def test_parts_of_a_tensor_have_no_overlapping_tiles() -> None:
    c, _ = product_of(8, 8, 2)
    s, sums = Schedule.of(c, tiled=False).cache_write(c, Scope.REGISTERS)
    s, outer, _ = s.split(c, c.axes[0], 3)
    s, _, _ = s.split(sums, sums.axes[0], 2, overlap=True)
    with pytest.raises(ScheduleError, match=r"y of c.REG is made in parts; its tiles cannot over"):
        lower(s.compute_at(sums, c, outer))


def test_types_and_functions_are_numpys() -> None:
    x = placeholder("x", (3, 4), Type.UINT8)
    f = placeholder("f", (3, 4), Type.FLOAT32)
    k = reduce_axis(4, "k")
    wide = compute("wide", (3, 4), lambda i, j: cast(x[i, j], Type.INT64) * -3)
    quotient = compute("quotient", (3, 4), lambda i, j: wide[i, j] // 2)
    root = compute("root", (3,), lambda i: product(call(Function.TANH, f[i, k]), over=(k,)))
    arrays: dict[Tensor, Array] = {
        x: RANDOM.integers(0, 256, x.shape).astype(np.uint8),
        f: RANDOM.normal(size=f.shape).astype(np.float32),
    }
    whole = arrays[x].astype(np.int64) * -3
    np.testing.assert_array_equal(evaluate(quotient, arrays), np.trunc(whole / 2).astype(np.int64))
    expected = np.tanh(arrays[f]).prod(axis=1)
    np.testing.assert_allclose(evaluate(root, arrays), expected, rtol=1e-6)
    made = interpret(lower(Schedule.of(root, quotient, tiled=False)), arrays)
    np.testing.assert_allclose(made[root], expected, rtol=1e-6)
