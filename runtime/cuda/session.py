"""A network loaded on a GPU, to be run."""

from collections.abc import Mapping
from math import prod
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from ..native.program import NativeArray
from .program import CudaError, CudaProgram, Place

Array = npt.NDArray[np.generic]


class Device(Protocol):
    """What a session needs of a GPU: `gpu.Gpu` is one. Addresses are those of its memory."""

    def load(self, ptx: str) -> Any: ...
    def function(self, module: Any, name: str) -> Any: ...
    def unload(self, module: Any) -> None: ...
    def allocate(self, size: int) -> int: ...
    def free(self, address: int) -> None: ...
    def write(self, address: int, array: Array) -> None: ...
    def read(self, address: int, array: Array) -> None: ...

    def launch(self, function: Any, blocks: int, threads: int, addresses: tuple[int, ...]) -> None:
        """Have a kernel run after those launched before it."""
        ...

    def record(self, launches: "list[Started]") -> Any:
        """Return kernels that can be launched together, one after the other."""
        ...

    def replay(self, recorded: Any) -> None: ...
    def forget(self, recorded: Any) -> None: ...
    def wait(self) -> None: ...

    def timed(self, launches: "list[Started]") -> list[float]:
        """Run kernels one after the other; return the seconds of each."""
        ...


Started = tuple[Any, int, int, tuple[int, ...]]
"""A function of the device, its blocks, its threads, and the addresses that it is given."""


class CudaSession:
    """A compiled network in a GPU's memory.

    Parameters
    ----------
    program : CudaProgram
    device : Device

    Raises
    ------
    CudaError
        When the GPU is too old for it or has too little memory.
    """

    def __init__(self, program: CudaProgram, device: Device) -> None:
        self.program = program
        self._device = device
        self._module = device.load(program.ptx)
        self._memory: list[int] = []
        self._recorded: Any = None
        try:
            self._arena = self._allocated(program.arena_bytes)
            self._constants = self._allocated(len(program.constants))
            device.write(self._constants, np.frombuffer(program.constants, np.uint8))
            for filling in program.fillings:
                array = np.full(filling.shape, filling.value, filling.dtype)
                device.write(self._arena + filling.offset, array)
            functions = {
                name: device.function(self._module, name)
                for name in dict.fromkeys(launch.function for launch in program.launches)
            }
            self._launches: list[Started] = [
                (
                    functions[launch.function],
                    launch.blocks,
                    launch.threads,
                    tuple(map(self._address, launch.pointers)),
                )
                for launch in program.launches
            ]
            self._recorded = device.record(self._launches)
        except CudaError:
            self.close()
            raise

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the network once; return its outputs.

        Raises
        ------
        CudaError
            For an input that is missing, unknown, or of another type or shape; and when a kernel
            fails.
        """
        self.put(inputs)
        self.execute()
        return self.outputs()

    def put(self, inputs: Mapping[str, Array]) -> None:
        """Write the inputs to the GPU's memory, where they stay."""
        places = {item.name: item for item in self.program.inputs}
        for name in inputs:
            if name not in places:
                known = ", ".join(places)
                raise CudaError(f"there is no input {name!r}; the network takes {known}")
        for name, item in places.items():
            if name not in inputs:
                raise CudaError(f"input {name!r} is missing; it is {item.dtype} {item.shape}")
            given = inputs[name]
            if given.dtype != item.dtype or given.shape != item.shape:
                raise CudaError(
                    f"input {name!r} is {given.dtype} {given.shape}; the network takes "
                    f"{item.dtype} {item.shape}"
                )
            self._device.write(self._arena + item.offset, np.ascontiguousarray(given))

    def execute(self) -> None:
        """Run the network on the inputs that are there, to its end."""
        self._device.replay(self._recorded)
        self._device.wait()

    def outputs(self) -> dict[str, Array]:
        """Return what the last run gave."""
        return {item.name: self._read(item) for item in self.program.outputs}

    def times(self) -> list[float]:
        """Run the network; return the seconds of each launch."""
        return self._device.timed(self._launches)

    def close(self) -> None:
        """Give the GPU's memory back; may be called again."""
        if self._recorded is not None:
            self._device.forget(self._recorded)
            self._recorded = None
        while self._memory:
            self._device.free(self._memory.pop())
        if self._module is not None:
            self._device.unload(self._module)
            self._module = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _allocated(self, size: int) -> int:
        self._memory.append(self._device.allocate(max(size, 1)))
        return self._memory[-1]

    def _address(self, place: Place) -> int:
        return (self._constants if place.constant else self._arena) + place.offset

    def _read(self, item: NativeArray) -> Array:
        found = np.empty(prod(item.shape), np.dtype(item.dtype)).reshape(item.shape)
        self._device.read(self._arena + item.offset, found)
        return found
