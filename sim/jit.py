"""`compiled`: a function of plain loops, translated to machine code by LLVM (through Numba)."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba  # pyright: ignore[reportMissingTypeStubs]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile on first call and keep the machine code on disk, for the next process.

    What it may hold is Numba's subset of Python: loops, NumPy arrays, integers. Array indices are
    not checked, integers wrap at 64 bits, and a module's names are constants.
    """
    return cast(F, numba.njit(cache=True, error_model="numpy", boundscheck=False)(function))  # pyright: ignore
