"""Arithmetic element by element, with NumPy broadcasting; integers wrap at their width."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def add(a: Array, b: Array) -> Array:
    """Return a + b."""
    return np.add(a, b)


def subtract(a: Array, b: Array) -> Array:
    """Return a - b."""
    return np.subtract(a, b)


def multiply(a: Array, b: Array) -> Array:
    """Return a * b; of int32, the low 32 bits."""
    return np.multiply(a, b)


def divide(a: Array, b: Array) -> Array:
    """Return a / b; of integers, rounded toward zero as ONNX has it (by zero: undefined)."""
    if a.dtype.kind == "f":
        return np.divide(a, b)
    quotient = np.floor_divide(a, b)
    return (quotient + ((quotient < 0) & (quotient * b != a))).astype(a.dtype)


def power(a: Array, b: Array) -> Array:
    """Return a to the power of b, in the type of a."""
    return np.power(a, b.astype(a.dtype))


def maximum(a: Array, b: Array) -> Array:
    """Return the greater of a and b."""
    return np.maximum(a, b)


def minimum(a: Array, b: Array) -> Array:
    """Return the lesser of a and b."""
    return np.minimum(a, b)


def shift_right(a: Array, b: Array) -> Array:
    """Shift a right by b bits, arithmetically; a negative count shifts left. |b| is under 32."""
    b = np.asarray(b)
    if np.all(b >= 0):
        return np.right_shift(a, b)
    shifted = np.right_shift(a, np.maximum(b, 0))
    return np.left_shift(shifted, np.maximum(-b, 0)).astype(a.dtype)


COMPARISONS: dict[str, Callable[[Array, Array], Array]] = {
    "equal": np.equal,
    "less": np.less,
    "less_equal": np.less_equal,
}
"""Conditions on two tensors."""


def compare(a: Array, b: Array, *, function: str) -> Array:
    """Return whether one of COMPARISONS holds, bool."""
    return np.asarray(COMPARISONS[function](a, b))


def where(condition: Array, a: Array, b: Array) -> Array:
    """Return a where the condition holds, else b."""
    return np.where(condition, a, b)


def cast(x: Array, *, dtype: str) -> Array:
    """Convert; integers keep their low bits, floats lose their fraction."""
    return np.asarray(x).astype(np.dtype(dtype))


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _erf(x: Array) -> Array:
    return np.fromiter((math.erf(v) for v in x.ravel()), x.dtype, x.size).reshape(x.shape)


def _round_half_even(x: Array) -> Array:
    return np.rint(x)


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "erf": _erf,
    "exp": np.exp,
    "floor": np.floor,
    "log": np.log,
    "round": _round_half_even,
    "sigmoid": _sigmoid,
    "softplus": lambda x: np.logaddexp(x, 0),
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}
"""Functions of one float variable."""


def unary(x: Array, *, function: str) -> Array:
    """Apply one of FUNCTIONS, in the type of x."""
    return np.asarray(FUNCTIONS[function](x), x.dtype)
