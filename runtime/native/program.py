"""A network compiled for a CPU, as a value, and loaded to be run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from .code import LoadedCode, NativeCode
from .errors import NativeError
from .memory import aligned, view
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
    """A network compiled for a CPU.

    Attributes
    ----------
    name : str
    code : NativeCode
    entry : str
        The function that runs it.
    arena_bytes : int
        Memory for all its arrays.
    constants : bytes
        Weights and the like, as the code expects them.
    inputs, outputs : tuple of NativeArray
    """

    name: str
    code: NativeCode
    entry: str
    arena_bytes: int
    constants: bytes = field(repr=False)
    inputs: tuple[NativeArray, ...]
    outputs: tuple[NativeArray, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layer that each step belongs to, in order."""
        return self.code.layers[self.code.entries.index(self.entry)]


class NativeSession:
    """A compiled network in this process's memory, run by a team of threads.

    Parameters
    ----------
    program : NativeProgram
    threads : int

    Raises
    ------
    NativeError
        When the code is for another CPU.
    """

    def __init__(self, program: NativeProgram, threads: int = 1) -> None:
        self.program = program
        self._code = LoadedCode(program.code)
        self.team = Team(threads)
        self._arena = aligned(max(program.arena_bytes, 1))
        self._constants = aligned(max(len(program.constants), 1))
        self._constants[: len(program.constants)] = np.frombuffer(program.constants, np.uint8)
        self._times = aligned(8 * (len(program.layers) + 1)).view(np.uint64)
        self._address = self._code.address(program.entry)
        self._where = (self._arena.ctypes.data, self._constants.ctypes.data)
        self._timed = self._times.ctypes.data
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

    def execute(self, *, timed: bool = False) -> None:
        """Run on what is in `inputs` now; the results are in `outputs` after it."""
        self.team.run(self._address, *self._where, self._timed if timed else 0)

    @property
    def times(self) -> npt.NDArray[np.uint64]:
        """Cycles of the CPU's counter that each step took in the last timed run."""
        return np.diff(self._times)

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
