"""How functions are translated to machine code by LLVM, through Numba.

Such a function is plain Python over integers, records and pointers (`pointers`): integers wrap at
64 bits, no index is checked, and a module's names are constants.
"""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile as part of the functions that call it."""
    return cast(F, numba.njit(error_model="numpy")(function))


def merged(function: F) -> F:
    """Compile into the functions that call it: for what is called at one place, often."""
    return cast(F, numba.njit(error_model="numpy", forceinline=True)(function))


def inlined(function: F) -> F:
    """Copy into the functions that call it, before they are compiled: for what is small."""
    return cast(F, numba.njit(error_model="numpy", inline="always")(function))


def entry(function: F) -> F:
    """Compile a function that Python calls, on its first call, and keep the code on disk.

    Other threads run meanwhile, so that one of them can answer an interruption.

    Its argument must be a record that has a field named by `sources_digest`: kept code is then only
    used with the sources that it came from, those of the functions it calls among them. Where
    nothing can be written to disk, each process compiles for itself.
    """
    try:
        return cast(F, numba.njit(error_model="numpy", cache=True, nogil=True)(function))
    except RuntimeError:  # "no locator available"
        return compiled(function)


def constant(value: int) -> int:
    """Return a number to pass to compiled functions.

    Given a plain integer, Numba compiles a function once more, for that value.
    """
    return cast(int, np.int64(value))


def sources_digest() -> str:
    """Return a name that changes whenever a source that compiled code depends on does."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for folder in (here, here.parent / "isa"):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    return f"sources_{digest.hexdigest()[:16]}"
