"""What an expression is worth: evaluated directly, in NumPy, over whole grids of axis values.

This is the meaning of the language. It is meant for tests and small tensors: a reduction is held
in memory in full before it is folded.
"""

from collections.abc import Callable, Mapping, Sequence
from math import erf
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .expr import (
    Axis,
    Binary,
    BinaryOp,
    Call,
    Cast,
    Compute,
    Const,
    Expr,
    ExpressionError,
    Function,
    Read,
    Real,
    Reduce,
    Select,
    Tensor,
    Type,
)

Array: TypeAlias = NDArray[Any]

DTYPES: dict[Type, np.dtype[Any]] = {
    kind: np.dtype(np.int64 if kind is Type.INDEX else kind.value) for kind in Type
}


def evaluate(tensor: Tensor, given: Mapping[Tensor, Array]) -> Array:
    """Return all elements of `tensor`, computed from the tensors that are given.

    Raises
    ------
    ExpressionError
        When a placeholder is missing or has another shape, or an index leaves its tensor.
    """
    known = dict(given)

    def array(wanted: Tensor) -> Array:
        if wanted not in known:
            if not isinstance(wanted, Compute):
                raise ExpressionError(f"{wanted.name} is read and no array is given for it")
            known[wanted] = _elements(wanted, array)
        found = known[wanted]
        if found.shape != wanted.shape:
            raise ExpressionError(f"{wanted} is given with shape {found.shape}")
        return found

    return array(tensor)


def _elements(tensor: Compute, array: Callable[[Tensor], Array]) -> Array:
    reduced = tensor.body.axes if isinstance(tensor.body, Reduce) else ()
    grid = open_grid([*tensor.axes, *reduced], [*tensor.shape, *(axis.extent for axis in reduced)])
    shape = tuple(len(values.ravel()) for values in grid.values())
    body = tensor.body.body if isinstance(tensor.body, Reduce) else tensor.body
    value = value_of(body, grid, array)
    value = np.broadcast_to(value, shape).astype(DTYPES[tensor.element])
    if isinstance(tensor.body, Reduce):
        over = tuple(range(len(tensor.shape), len(shape)))
        initial = np.full(tensor.shape, tensor.body.initial, DTYPES[tensor.element])
        value = arithmetic(tensor.body.op, initial, fold(tensor.body.op, value, over))
    return value


def open_grid(axes: Sequence[Axis], extents: Sequence[int]) -> dict[Axis, Array]:
    """Return each axis's values, int64, shaped so that together they broadcast to all `extents`."""
    grid: dict[Axis, Array] = {}
    for place, (axis, extent) in enumerate(zip(axes, extents, strict=True)):
        shape = [1] * len(axes)
        shape[place] = extent
        grid[axis] = np.arange(extent, dtype=np.int64).reshape(shape)
    return grid


def fold(op: BinaryOp, value: Array, over: tuple[int, ...]) -> Array:
    """Return `value` with the array axes `over` folded by ADD, MAX or MIN; INT32 wraps."""
    match op:
        case BinaryOp.ADD:
            return value.sum(axis=over, dtype=value.dtype)
        case BinaryOp.MAX:
            return value.max(axis=over)
        case BinaryOp.MIN:
            return value.min(axis=over)
        case BinaryOp.MUL:
            return value.prod(axis=over, dtype=value.dtype)
        case _:
            raise ExpressionError(f"{op.value} is no reduction; +, *, max and min are")


def value_of(
    expr: Expr,
    env: Mapping[Axis, Array],
    array: Callable[[Tensor], Array],
    *,
    guarded: bool = False,
) -> Array:
    """Return the expression's value for every combination of axis values in `env`, broadcast.

    `array` gives a tensor's elements. With `guarded`, an index out of its tensor reads any
    element, for the part of a `Select` that is not chosen.
    """
    match expr:
        case Const(value) | Real(value):
            return np.full((1,) * _rank(env), value, DTYPES[expr.type])
        case Binary(BinaryOp.DIV, a, b) if expr.type is not Type.INDEX and not expr.type.is_float:
            return _toward_zero(
                value_of(a, env, array, guarded=guarded), value_of(b, env, array, guarded=guarded)
            )
        case Axis():
            return env[expr]
        case Binary(op, a, b):
            return arithmetic(
                op,
                value_of(a, env, array, guarded=guarded),
                value_of(b, env, array, guarded=guarded),
            )
        case Select(condition, a, b):
            return np.where(
                value_of(condition, env, array, guarded=guarded),
                value_of(a, env, array, guarded=True),
                value_of(b, env, array, guarded=True),
            )
        case Cast(to, operand):
            return value_of(operand, env, array, guarded=guarded).astype(DTYPES[to])
        case Call(function, operands):
            return FUNCTIONS[function](
                *(value_of(operand, env, array, guarded=guarded) for operand in operands)
            )
        case Read(tensor, indices):
            source = array(tensor)
            if guarded and not source.size:  # a part of a tensor of which nothing is needed
                return np.zeros((1,) * _rank(env), source.dtype)
            places: list[Array] = []
            for index, extent in zip(indices, source.shape, strict=True):
                place = value_of(index, env, array, guarded=guarded)
                if guarded:
                    place = np.clip(place, 0, extent - 1)
                elif place.size and (place.min() < 0 or place.max() >= extent):
                    raise ExpressionError(
                        f"{expr} reads {tensor.name} at {index} = {place.min()}..{place.max()}; "
                        f"its extent there is {extent}"
                    )
                places.append(place)
            return source[tuple(places)]
        case _:
            raise ExpressionError(f"{expr} cannot be evaluated here")


def arithmetic(op: BinaryOp, a: Array, b: Array) -> Array:
    """Return `a op b`, element by element; int32 wraps."""
    match op:
        case BinaryOp.ADD:
            return a + b
        case BinaryOp.SUB:
            return a - b
        case BinaryOp.MUL:
            return a * b
        case BinaryOp.DIV:
            return a / b if a.dtype.kind == "f" else a // b
        case BinaryOp.MOD:
            return a % b
        case BinaryOp.MIN:
            return np.minimum(a, b)
        case BinaryOp.MAX:
            return np.maximum(a, b)
        case BinaryOp.SHR:
            return np.where(b >= 0, a >> np.clip(b, 0, 31), a << np.clip(-b, 0, 31))
        case BinaryOp.LT:
            return a < b
        case BinaryOp.LE:
            return a <= b
        case BinaryOp.EQ:
            return a == b
        case BinaryOp.AND:
            return a & b


def _toward_zero(a: Array, b: Array) -> Array:
    divisor = np.where(b == 0, b.dtype.type(1), b)
    quotient: Array = a // divisor
    rounded: Array = quotient + ((quotient < 0) & (quotient * divisor != a))
    return np.where(b == 0, 0, rounded).astype(a.dtype)


FUNCTIONS: dict[Function, Callable[..., Any]] = {
    Function.ABS: np.abs,
    Function.ACOS: np.arccos,
    Function.ACOSH: np.arccosh,
    Function.ASIN: np.arcsin,
    Function.ASINH: np.arcsinh,
    Function.ATAN: np.arctan,
    Function.ATANH: np.arctanh,
    Function.CEIL: np.ceil,
    Function.COS: np.cos,
    Function.COSH: np.cosh,
    Function.ERF: np.vectorize(erf),
    Function.EXP: np.exp,
    Function.FLOOR: np.floor,
    Function.LOG: np.log,
    Function.LOG1P: np.log1p,
    Function.POW: np.power,
    Function.ROUND: np.rint,
    Function.SIN: np.sin,
    Function.SINH: np.sinh,
    Function.SQRT: np.sqrt,
    Function.TAN: np.tan,
    Function.TANH: np.tanh,
}


def _rank(env: Mapping[Axis, Array]) -> int:
    return max((values.ndim for values in env.values()), default=1) or 1
