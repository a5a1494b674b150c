"""Index arithmetic: whatever is rewritten keeps its value, and bounds bound."""

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.compiler.affine import affine, depends, extremes, limits, simplify
from vtakit.compiler.emit.plan import number
from vtakit.compiler.evaluate import value_of
from vtakit.compiler.expr import Axis, Const, Expr, Type, maximum, minimum

AXES = (Axis("a", 4), Axis("b", 3), Axis("one", 1), Axis("c", 5))


def indices(depth: int = 4) -> st.SearchStrategy[Expr]:
    leaves = st.one_of(st.sampled_from(AXES), st.integers(-9, 9).map(Const))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda a, b: a + b, inner, inner),
            st.builds(lambda a, b: a - b, inner, inner),
            st.builds(lambda a, n: a * n, inner, st.integers(-3, 4)),
            st.builds(lambda a, n: a // n, inner, st.integers(1, 4)),
            st.builds(lambda a, n: a % n, inner, st.integers(1, 4)),
            st.builds(minimum, inner, inner),
            st.builds(maximum, inner, inner),
        ),
        max_leaves=8,
    )


def value(expr: Expr, point: dict[Axis, int]) -> int:
    env = {axis: np.array([at]) for axis, at in point.items()}
    return int(value_of(expr, env, {}.__getitem__)[0])


def points() -> list[dict[Axis, int]]:
    return [
        dict(zip(AXES, at, strict=True)) for at in product(*(range(axis.extent) for axis in AXES))
    ]


@settings(max_examples=150, deadline=None)
@given(indices())
def test_simplified_indices_keep_their_value_and_stay_in_their_limits(expr: Expr) -> None:
    simple, gathered = simplify(expr), affine(expr)
    low, high = limits(expr)
    compiled = number(simple)
    for point in points()[::7]:
        wanted = value(expr, point)
        assert value(simple, point) == wanted
        assert value(gathered.expr(), point) == wanted
        assert compiled(point) == wanted
        assert low <= wanted <= high


@settings(max_examples=150, deadline=None)
@given(indices(), st.sets(st.sampled_from(AXES)))
def test_extremes_bound_an_index_as_some_axes_run(expr: Expr, free: set[Axis]) -> None:
    low, high = extremes(expr, free)
    assert not depends(low, free)
    assert not depends(high, free)
    for point in points()[::7]:
        assert value(low, point) <= value(expr, point) <= value(high, point)


@settings(max_examples=100, deadline=None)
@given(indices(), indices())
def test_simplified_conditions_keep_their_value(a: Expr, b: Expr) -> None:
    for condition in (a < b, a <= b):
        simple = simplify(condition)
        for point in points()[::11]:
            assert value(simple, point) == value(condition, point)


def test_bounds_of_tiles_come_out_short() -> None:
    outer, inner = Axis("y_o", 4), Axis("y_i", 4)
    assert str(simplify(minimum(outer * 4 + 4, 14) - outer * 4)) == "min(4, 14 - y_o * 4)"
    assert str(simplify(minimum(outer * 4 + 4, 16) - outer * 4)) == "4"
    assert str(simplify((outer * 4 + inner) // 4)) == "y_o"
    assert str(simplify((outer * 4 + inner) % 4)) == "y_i"
    assert simplify(inner < 4) == Const(1, Type.BOOL)
    assert simplify(inner < 0) == Const(0, Type.BOOL)
