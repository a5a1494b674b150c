"""Expressions mean what NumPy computes, and refuse what means nothing."""

from collections.abc import Callable

import numpy as np
import pytest
from vtakit.compiler.evaluate import evaluate
from vtakit.compiler.expr import (
    Axis,
    Cast,
    Const,
    ExpressionError,
    Function,
    Reduce,
    Type,
    call,
    cast,
    compute,
    elementwise,
    largest,
    maximum,
    minimum,
    placeholder,
    reduce_axis,
    select,
    smallest,
    total,
)
from vtakit.compiler.walk import substitute
from vtakit.isa.config import PRESETS

from .tensor_programs import addition, conv, pool

RANDOM = np.random.default_rng(1)
A = placeholder("a", (4, 6), Type.INT32)
A_VALUES = RANDOM.integers(-1000, 1000, A.shape).astype(np.int32)


@pytest.mark.parametrize("name", PRESETS)
def test_operators_evaluate_to_what_numpy_computes(name: str) -> None:
    config = PRESETS[name]
    for op in (
        conv(config, c=2, o=1, stride=(2, 1), residual=True, rows=5, cols=4),
        pool(config, largest_=True),
        pool(config, largest_=False),
        addition(config),
    ):
        np.testing.assert_array_equal(evaluate(op.out, op.given), op.wanted)


def test_int32_wraps_and_int8_keeps_the_low_bits() -> None:
    wrapped = elementwise("wrapped", A, lambda at: A[at] * 123456789 + 987654321)
    narrow = elementwise("narrow", A, lambda at: cast(wrapped[at], Type.INT8))
    wanted = (A_VALUES.astype(np.int64) * 123456789 + 987654321).astype(np.int32)
    np.testing.assert_array_equal(evaluate(wrapped, {A: A_VALUES}), wanted)
    np.testing.assert_array_equal(evaluate(narrow, {A: A_VALUES}), wanted.astype(np.int8))


def test_shifts_are_arithmetic_and_negative_counts_shift_left() -> None:
    right = elementwise("right", A, lambda at: A[at] >> 3)
    left = elementwise("left", A, lambda at: A[at] >> -3)
    np.testing.assert_array_equal(evaluate(right, {A: A_VALUES}), A_VALUES >> 3)
    np.testing.assert_array_equal(evaluate(left, {A: A_VALUES}), A_VALUES << 3)


@pytest.mark.parametrize(
    ("reduction", "wanted"),
    [
        (largest, A_VALUES.max(1)),
        (smallest, A_VALUES.min(1)),
        (total, A_VALUES.sum(1)),
        (lambda body, over: largest(body, over, initial=5000), np.full(4, 5000)),
    ],
)
def test_reductions_fold_every_value_into_the_first(
    reduction: Callable[..., Reduce], wanted: np.ndarray
) -> None:
    k = reduce_axis(6, "k")
    folded = compute("folded", (4,), lambda i: reduction(A[i, k], over=(k,)))
    np.testing.assert_array_equal(evaluate(folded, {A: A_VALUES}), wanted)


def test_what_is_not_selected_need_not_exist() -> None:
    shifted = compute("shifted", (4, 8), lambda i, j: select(j >= 2, A[i, j - 2], 7))
    wanted = np.concatenate([np.full((4, 2), 7), A_VALUES], axis=1)
    np.testing.assert_array_equal(evaluate(shifted, {A: A_VALUES}), wanted)


def test_an_index_out_of_its_tensor_is_refused() -> None:
    shifted = compute("shifted", (4, 6), lambda i, j: A[i, j + 1])
    with pytest.raises(ExpressionError, match=r"reads a at j \+ 1 = 1\.\.6; its extent there is 6"):
        evaluate(shifted, {A: A_VALUES})


def test_types_do_not_mix() -> None:
    narrow = placeholder("narrow", (4, 6), Type.INT8)
    with pytest.raises(ExpressionError, match="narrow.* is int8; cast it to int32 before"):
        elementwise("sum", A, lambda at: narrow[at] + narrow[at])
    with pytest.raises(ExpressionError, match="is int32 and .* int8; cast one of them"):
        elementwise("sum", A, lambda at: A[at] + narrow[at])
    with pytest.raises(ExpressionError, match="would hold indices; cast them to an int32 or"):
        elementwise("index", A, lambda at: at[0] + at[1])
    with pytest.raises(ExpressionError, match="only indices have a remainder"):
        elementwise("rest", A, lambda at: A[at] % 2)
    with pytest.raises(ExpressionError, match="exp takes floats of one type, not int32"):
        elementwise("power", A, lambda at: call(Function.EXP, A[at]))


def test_a_reduction_is_all_of_its_tensor() -> None:
    k = reduce_axis(6, "k")
    with pytest.raises(ExpressionError, match="give the reduction a tensor of its own"):
        compute("more", (4,), lambda i: total(A[i, k], over=(k,)) + 1)


def test_ranks_must_agree() -> None:
    with pytest.raises(ExpressionError, match="a has 2 axes and is read with 1 indices"):
        compute("row", (4,), lambda i: A[i])
    with pytest.raises(ExpressionError, match="row has 1 axes and its body takes 2: i, j"):
        compute("row", (4,), lambda i, j: A[i, j])
    with pytest.raises(ExpressionError, match="extents are at least 1"):
        placeholder("none", (4, 0), Type.INT8)


def test_expressions_are_compared_by_structure_and_print_as_they_are_written() -> None:
    i, j = Axis("i", 4), Axis("j", 6)
    assert A[i, j] + 1 == A[i, j] + 1
    assert A[i, j] + 1 != A[j, i] + 1
    assert str((A[i, j * 2 + 1] + 3) * 2 >> 4) == "(a[i, j * 2 + 1] + 3) * 2 >> 4"
    assert str(minimum(maximum(i - (j - 1), 0), 5)) == "min(max(i - (j - 1), 0), 5)"
    assert str(select(i < j, Const(1), Const(2))) == "select(i < j, 1, 2)"
    assert str(Cast(Type.INT8, A[i, j])) == "int8(a[i, j])"
    assert substitute(A[i, j], {i: j, j: i}) == A[j, i]
