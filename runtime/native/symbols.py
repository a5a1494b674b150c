"""The functions of the C library that native code may call, and where they are."""

import ctypes
import functools
import sys
from contextlib import suppress

from .errors import NativeError

FUNCTIONS = frozenset(
    {
        # memory, and what LLVM makes of loops that are one of these
        *("memcpy", "memmove", "memset", "memcmp", "bcmp"),
        # float32
        *("expf", "exp2f", "expm1f", "logf", "log2f", "log10f", "log1pf", "powf", "sqrtf", "cbrtf"),
        *("sinf", "cosf", "tanf", "asinf", "acosf", "atanf", "atan2f", "erff", "erfcf"),
        *("sinhf", "coshf", "tanhf", "asinhf", "acoshf", "atanhf", "fmodf", "ldexpf", "fmaf"),
        *("floorf", "ceilf", "truncf", "roundf", "roundevenf", "rintf", "nearbyintf", "lrintf"),
        *("fminf", "fmaxf", "fabsf", "copysignf"),
        # float64
        *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "sqrt", "cbrt"),
        *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "erf", "erfc"),
        *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "fmod", "ldexp", "fma"),
        *("floor", "ceil", "trunc", "round", "roundeven", "rint", "nearbyint", "lrint"),
        *("fmin", "fmax", "fabs", "copysign"),
        # the team's waiting
        *("sched_yield", "clock_gettime"),
    }
)


def address(name: str) -> int:
    """Return where a function of the C library is in this process.

    Raises
    ------
    NativeError
        For one that is not in `FUNCTIONS`, or that this system's library has not.
    """
    if name not in FUNCTIONS:
        raise NativeError(f"native code calls {name!r}, which the runtime does not provide")
    for library in _libraries():
        try:
            function = getattr(library, name)
        except AttributeError:
            continue
        found = ctypes.cast(function, ctypes.c_void_p).value
        assert found is not None
        return found
    raise NativeError(f"native code calls {name!r}, which the C library of this system has not")


@functools.cache
def _libraries() -> list[ctypes.CDLL]:
    """Return the process itself, and libm in case that nothing has loaded it for all to see."""
    found = [ctypes.CDLL(None)]
    if sys.platform == "linux":
        with suppress(OSError):  # musl has it in libc
            found.append(ctypes.CDLL("libm.so.6"))
    return found
