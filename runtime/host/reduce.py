"""Reductions along axes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "max": np.max,
    "mean": np.mean,
    "min": np.min,
    "prod": np.prod,
    "sum": np.sum,
}


def reduce(x: NDArray[Any], *, function: str, axes: Sequence[int], keepdims: bool) -> NDArray[Any]:
    """Reduce x over `axes` with one of REDUCTIONS, in the type of x.

    Of no elements the maximum is the least number, and the minimum the greatest.
    """
    least: dict[str, Any] = {}
    if not x.size and function in ("max", "min"):
        limits = np.finfo(x.dtype) if x.dtype.kind == "f" else np.iinfo(x.dtype)
        most = (-np.inf, np.inf) if x.dtype.kind == "f" else (limits.min, limits.max)
        least["initial"] = most[function == "min"]
    out = REDUCTIONS[function](x, axis=tuple(axes), keepdims=keepdims, **least)
    return np.asarray(out, x.dtype)


def softmax(x: NDArray[Any], *, axis: int, log: bool) -> NDArray[Any]:
    """Return exp(x) over its sum along `axis`, or the logarithm of that."""
    shifted = x - x.max(axis=axis, keepdims=True)
    total = np.exp(shifted).sum(axis=axis, keepdims=True)
    return shifted - np.log(total) if log else np.exp(shifted) / total


def argmax(x: NDArray[Any], *, axis: int, keepdims: bool) -> NDArray[Any]:
    """Return the index, int64, of the greatest element along `axis`; of equal ones the first."""
    return np.asarray(np.argmax(x, axis=axis, keepdims=keepdims), np.int64)
