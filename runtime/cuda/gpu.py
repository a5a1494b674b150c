"""An NVIDIA GPU through its driver: CUDA Driver API, by `cuda-bindings`."""
# pyright: basic
# (cuda-bindings has no types)

import ctypes
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from .program import CudaError
from .session import Started

Array = npt.NDArray[np.generic]

OLDEST = (8, 0)
"""Compute capability that all kernels are compiled for; newer GPUs run them too."""

INSTALL = "pip install 'vtakit[cuda]'"


def driver_version() -> str | None:
    """Return the version of CUDA that the driver has, and its number of GPUs; None without."""
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
    return f"CUDA {major}.{minor}, {devices.value} GPU{'s' * (devices.value != 1)}"


class Gpu:
    """The first GPU that the driver has; a `session.Device`.

    Attributes
    ----------
    name : str
        `NVIDIA H100 80GB HBM3`.
    capability : tuple of int
        Its compute capability: (9, 0).

    Raises
    ------
    CudaError
        Without cuda-bindings, a driver, a GPU, or one that is new enough.
    """

    def __init__(self) -> None:
        try:
            from cuda.bindings import driver  # pyright: ignore[reportAttributeAccessIssue]
        except ImportError:
            raise CudaError(f"the cuda engine needs cuda-bindings: {INSTALL}") from None
        self._driver: Any = driver
        if driver_version() is None:
            raise CudaError("no NVIDIA GPU, or no driver for it")
        self._call("cuInit", 0)
        if not self._call("cuDeviceGetCount"):
            raise CudaError("no NVIDIA GPU: the driver has none")
        self._device = self._call("cuDeviceGet", 0)
        raw: bytes = self._call("cuDeviceGetName", 128, self._device)
        self.name = raw.split(b"\0")[0].decode(errors="replace")
        kinds = driver.CUdevice_attribute
        self.capability: tuple[int, int] = (
            self._call(
                "cuDeviceGetAttribute",
                kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                self._device,
            ),
            self._call(
                "cuDeviceGetAttribute",
                kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                self._device,
            ),
        )
        if self.capability < OLDEST:
            raise CudaError(
                f"{self.name} has compute capability {self.capability[0]}.{self.capability[1]}; "
                f"{OLDEST[0]}.{OLDEST[1]} or newer would do"
            )
        self._call("cuCtxSetCurrent", self._call("cuDevicePrimaryCtxRetain", self._device))
        flags = driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        self._stream = self._call("cuStreamCreate", flags)

    def load(self, ptx: str) -> Any:
        """Have the driver compile PTX for this GPU."""
        return self._call("cuModuleLoadData", ptx.encode() + b"\0")

    def function(self, module: Any, name: str) -> Any:
        """Return a kernel of a module."""
        return self._call("cuModuleGetFunction", module, name.encode())

    def unload(self, module: Any) -> None:
        """Give a module's memory back."""
        self._try("cuModuleUnload", module)

    def allocate(self, size: int) -> int:
        """Return the address of so many bytes of the GPU's memory."""
        return int(self._call("cuMemAlloc", size, about=f"{size:,} bytes"))

    def free(self, address: int) -> None:
        """Give memory back."""
        self._try("cuMemFree", address)

    def write(self, address: int, array: Array) -> None:
        """Copy a contiguous array to the GPU's memory."""
        if array.nbytes:
            self._call("cuMemcpyHtoD", address, array.ctypes.data, array.nbytes)

    def read(self, address: int, array: Array) -> None:
        """Fill a contiguous array from the GPU's memory."""
        if array.nbytes:
            self._call("cuMemcpyDtoH", array.ctypes.data, address, array.nbytes)

    def launch(self, function: Any, blocks: int, threads: int, addresses: Sequence[int]) -> None:
        """Have a kernel run after those launched before it."""
        values = np.array(addresses, np.uint64)
        pointers = values.ctypes.data + 8 * np.arange(values.size, dtype=np.uint64)
        self._call(
            "cuLaunchKernel",
            function,
            *(blocks, 1, 1),
            *(threads, 1, 1),
            0,
            self._stream,
            pointers.ctypes.data,
            0,
        )

    def record(self, launches: Sequence[Started]) -> Any:
        """Return kernels as a graph, which is launched at once."""
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", self._stream, mode)
        try:
            for started in launches:
                self.launch(*started)
        finally:
            graph = self._call("cuStreamEndCapture", self._stream)
        try:
            return self._call("cuGraphInstantiate", graph, 0)
        finally:
            self._try("cuGraphDestroy", graph)

    def replay(self, recorded: Any) -> None:
        """Launch a graph."""
        self._call("cuGraphLaunch", recorded, self._stream)

    def forget(self, recorded: Any) -> None:
        """Give a graph's memory back."""
        self._try("cuGraphExecDestroy", recorded)

    def wait(self) -> None:
        """Wait until all that was launched has ended."""
        self._call("cuStreamSynchronize", self._stream)

    def timed(self, launches: Sequence[Started]) -> list[float]:
        """Run kernels one after the other; return the seconds of each."""
        marks = [self._call("cuEventCreate", 0) for _ in range(len(launches) + 1)]
        try:
            self._call("cuEventRecord", marks[0], self._stream)
            for mark, started in zip(marks[1:], launches, strict=True):
                self.launch(*started)
                self._call("cuEventRecord", mark, self._stream)
            self.wait()
            return [
                self._call("cuEventElapsedTime", before, after) / 1e3
                for before, after in zip(marks, marks[1:], strict=False)
            ]
        finally:
            for mark in marks:
                self._try("cuEventDestroy", mark)

    def close(self) -> None:
        """Let go of the GPU."""
        self._try("cuStreamDestroy", self._stream)
        self._try("cuDevicePrimaryCtxRelease", self._device)

    def _call(self, name: str, *arguments: Any, about: str = "") -> Any:
        """Call the driver; return what it gives besides its status."""
        function: Callable[..., tuple[Any, ...]] = getattr(self._driver, name)
        try:
            status, *found = function(*arguments)
        except RuntimeError as error:  # there is no driver, or it has no such function
            raise CudaError(f"no NVIDIA driver that has {name}: {error}") from None
        if status != self._driver.CUresult.CUDA_SUCCESS:
            _, text = self._driver.cuGetErrorString(status)
            said = text.decode() if isinstance(text, bytes) else str(status)
            raise CudaError(f"{name}{about and f' of {about}'} failed: {said}")
        return found[0] if found else None

    def _try(self, name: str, *arguments: Any) -> None:
        """Call the driver, which may have lost what is to be given back."""
        with suppress(CudaError):
            self._call(name, *arguments)
