"""A network compiled for a CPU, as a value, and loaded to be run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from .code import LoadedCode, NativeCode
from .errors import NativeError
from .memory import Bytes, aligned, view
from .team import Team

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class NativeArray:
    """An array that the user gives or gets: its name, NumPy type, shape and place in the arena."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class NativeProgram:
    """A network compiled for a CPU, or the CPU's parts of one.

    Attributes
    ----------
    name : str
    code : NativeCode
        Each of its entries runs a part; what has no other device has one entry.
    arena_bytes : int
        Memory for all its arrays.
    constants : bytes
        Weights and the like, as the code expects them.
    inputs, outputs : tuple of NativeArray
    shared : bool
        Whether it works in the memory of another device too, whose address stands at the beginning
        of the arena.
    """

    name: str
    code: NativeCode
    arena_bytes: int
    constants: bytes = field(repr=False)
    inputs: tuple[NativeArray, ...]
    outputs: tuple[NativeArray, ...]
    shared: bool = False

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer that each step belongs to, in order."""
        return tuple(layer for layers in self.code.layers for layer in layers)


class NativeSession:
    """A compiled network in this process's memory, run by a team of threads.

    Parameters
    ----------
    program : NativeProgram
    threads : int
    shared : uint8 (n) or None
        The other device's memory, of a program that works in it too.

    Raises
    ------
    NativeError
        When the code is for another CPU.
    """

    def __init__(
        self, program: NativeProgram, threads: int = 1, *, shared: Bytes | None = None
    ) -> None:
        if program.shared != (shared is not None):
            wants = "the memory of another device" if program.shared else "no memory but its own"
            raise NativeError(f"native program {program.name!r} works in {wants}")
        self.program = program
        self._code = LoadedCode(program.code)
        self.team = Team(threads)
        self._arena = aligned(max(program.arena_bytes, 1))
        self._constants = aligned(max(len(program.constants), 1))
        self._constants[: len(program.constants)] = np.frombuffer(program.constants, np.uint8)
        self._times = aligned(8 * (len(program.layers) + 1)).view(np.uint64)
        self._entries = {name: self._code.address(name) for name in program.code.entries}
        self._counts = dict(zip(program.code.entries, map(len, program.code.layers), strict=True))
        self._last = next(iter(program.code.entries), "")
        self._where = (self._arena.ctypes.data, self._constants.ctypes.data)
        self._timed = self._times.ctypes.data
        self._shared = shared  # which must stay where it is
        if shared is not None:
            view(self._arena, 0, np.uint64, (1,))[0] = shared.ctypes.data
        self.inputs = {item.name: self._view(item) for item in program.inputs}
        self.outputs = {item.name: self._view(item) for item in program.outputs}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the network once; return copies of its outputs.

        Raises
        ------
        NativeError
            For an input that is missing, unknown, or of another type or shape.
        """
        for name in inputs:
            if name not in self.inputs:
                known = ", ".join(self.inputs)
                raise NativeError(f"there is no input {name!r}; the network takes {known}")
        for name, place in self.inputs.items():
            if name not in inputs:
                raise NativeError(f"input {name!r} is missing; it is {place.dtype} {place.shape}")
            given = inputs[name]
            if given.dtype != place.dtype or given.shape != place.shape:
                raise NativeError(
                    f"input {name!r} is {given.dtype} {given.shape}; the network takes "
                    f"{place.dtype} {place.shape}"
                )
            np.copyto(place, given)
        self.execute()
        return {name: array.copy() for name, array in self.outputs.items()}

    def execute(self, entry: str | None = None, *, timed: bool = False) -> None:
        """Run an entry, the first if none is named, on what is in `inputs` now.

        The results are in `outputs` after it, of several entries after the last.
        """
        self._last = self.program.code.entries[0] if entry is None else entry
        address = self._entries[self._last]
        self.team.run(address, *self._where, self._timed if timed else 0)

    @property
    def times(self) -> npt.NDArray[np.uint64]:
        """Cycles of the CPU's counter that each step took in the last timed run."""
        return np.diff(self._times[: self._counts[self._last] + 1])

    def close(self) -> None:
        """Stop the threads and give the memory back."""
        self.team.close()
        self._code.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _view(self, item: NativeArray) -> Array:
        return view(self._arena, item.offset, np.dtype(item.dtype), item.shape)
