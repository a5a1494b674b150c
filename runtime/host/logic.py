"""Comparing element by element, and choosing, with NumPy broadcasting."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def equal(a: Array, b: Array) -> Array:
    """Return whether a is b."""
    return np.asarray(np.equal(a, b))


def less(a: Array, b: Array) -> Array:
    """Return whether a is less than b."""
    return np.asarray(np.less(a, b))


def less_or_equal(a: Array, b: Array) -> Array:
    """Return whether a is less than b, or is b."""
    return np.asarray(np.less_equal(a, b))


def where(condition: Array, a: Array, b: Array) -> Array:
    """Return a where the condition holds, b elsewhere."""
    return np.asarray(np.where(condition, a, b))
