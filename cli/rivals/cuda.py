"""CUDA as a rival: which GPU there is; code for it is not in this version."""

from __future__ import annotations

import ctypes

from .rival import Case, Rival, RivalError


def driver() -> str | None:
    """Return the version of CUDA that the driver has and its number of devices; None without."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version, devices = ctypes.c_int(), ctypes.c_int()
    if (
        library.cuInit(0)
        or library.cuDriverGetVersion(ctypes.byref(version))
        or library.cuDeviceGetCount(ctypes.byref(devices))
    ):
        return None
    major, minor = version.value // 1000, version.value % 1000 // 10
    return f"CUDA {major}.{minor}, {devices.value} device{'s' * (devices.value != 1)}"


def cuda(case: Case) -> Rival | None:
    """Return this project's code on the GPU."""
    found = driver()
    if found is None:
        raise RivalError("no NVIDIA GPU, or no driver for it")
    raise RivalError(f"this version has no code for a GPU ({found})")
