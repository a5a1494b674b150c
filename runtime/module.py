"""A compiled network as a value: the host's program, streams, constants; saved to one file."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..isa.config import Config
from .buffers import Segment, Tensor
from .native.program import NativeProgram
from .stream import Stream

Array: TypeAlias = npt.NDArray[np.generic]


class ModuleError(ValueError):
    """A module that makes no sense, is no module, or does not suit what it is run with."""


@dataclass(frozen=True)
class Copy:
    """A tensor brought from one layout into another.

    Attributes
    ----------
    step : int
        Which of its entry's steps does it.
    value : str
    source, target : str
        How it lies before and after, for people: "row by row", "tiles of 1x16".
    bytes : int
        Bytes written.
    """

    step: int
    value: str
    source: str
    target: str
    bytes: int


@dataclass(frozen=True)
class HostStep:
    """Run an entry of the host's program.

    Attributes
    ----------
    entry : str
    copies : tuple of Copy
        What it does besides computing layers.
    reads : tuple of (int, int)
        The first byte in the arena, and the bytes, of each device tensor that it may read.
    """

    entry: str
    copies: tuple[Copy, ...] = ()
    reads: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, eq=False)
class DeviceStep:
    """Run a stream."""

    stream: Stream


Step: TypeAlias = HostStep | DeviceStep


@dataclass(frozen=True, eq=False)
class Module:
    """A compiled network.

    Attributes
    ----------
    name : str
    config : Config
        The machine it was compiled for.
    host : NativeProgram
        What the CPU does: it takes the user's inputs, gives the outputs, and works on tensors where
        they lie in device memory.
    arena_bytes : int
        Device memory that tensors and segments lie in.
    tensors : tuple of Tensor
        Device tensors, by name and place; places may be shared over time.
    segments : tuple of Segment
        Constant device memory: packed weights, biases.
    steps : tuple of Step
        In the order in which they run.

    Raises
    ------
    ModuleError
        For names that do not exist or exist twice, streams of another machine, and what lies
        outside the arena.
    """

    name: str
    config: Config
    host: NativeProgram
    arena_bytes: int
    tensors: tuple[Tensor, ...]
    segments: tuple[Segment, ...]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        _unique("device tensor", [tensor.name for tensor in self.tensors])
        for tensor in self.tensors:
            self._inside(f"tensor {tensor.name!r}", tensor.offset, tensor.size_bytes)
        for segment in self.segments:
            self._inside("a constant segment", segment.offset, segment.data.size)
        for position, step in enumerate(self.steps):
            try:
                self._check(step)
            except ModuleError as error:
                raise ModuleError(f"step {position}, {type(step).__name__}: {error}") from None

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the user gives, by the network's own names."""
        return tuple(item.name for item in self.host.inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the user gets."""
        return tuple(item.name for item in self.host.outputs)

    def tensor(self, name: str) -> Tensor:
        """Return the device tensor of that name; raises ModuleError when there is none."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise ModuleError(f"there is no device tensor {name!r}")

    def save(self, path: str | Path) -> None:
        """Write the module to one file, which exists whole or not at all; the same bytes each time.

        Raises
        ------
        ModuleError
            When it cannot be written.
        """
        from .modulefile import write_module

        path = Path(path)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            try:
                with open(partial, "xb") as file:
                    write_module(self, file)
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise ModuleError(f"cannot write module {str(path)!r}: {error.strerror}") from None

    @classmethod
    def load(cls, path: str | Path) -> "Module":
        """Read what `save` wrote.

        Raises
        ------
        ModuleError
            When there is no such file, it is no module, is damaged, or is of another version.
        """
        from .modulefile import read_module

        try:
            with zipfile.ZipFile(path) as file:
                return read_module(file)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ModuleError(f"cannot read module {str(path)!r}: {reason}") from None
        except (zipfile.BadZipFile, EOFError, RuntimeError) as error:  # RuntimeError: flags of zip
            raise ModuleError(f"{str(path)!r} is no module, or part of one: {error}") from None
        except ModuleError as error:
            raise ModuleError(f"{str(path)!r}: {error}") from None

    def _inside(self, what: str, offset: int, size_bytes: int) -> None:
        if offset < 0 or offset + size_bytes > self.arena_bytes:
            raise ModuleError(
                f"{what} takes bytes {offset} to {offset + size_bytes - 1} of an arena of "
                f"{self.arena_bytes}"
            )

    def _check(self, step: Step) -> None:
        match step:
            case HostStep():
                code = self.host.code
                if step.entry not in code.entries:
                    known = ", ".join(code.entries) or "none"
                    raise ModuleError(f"there is no entry {step.entry!r}; there are {known}")
                count = len(code.layers[code.entries.index(step.entry)])
                for copy in step.copies:
                    if not 0 <= copy.step < count:
                        raise ModuleError(
                            f"{copy.value!r} is copied in step {copy.step} of {step.entry!r}, "
                            f"which has {count}"
                        )
            case DeviceStep():
                if step.stream.config != self.config:
                    differing = ", ".join(differences(step.stream.config, self.config))
                    raise ModuleError(f"its stream is for another machine: {differing}")


def differences(one: Config, other: Config) -> list[str]:
    """Return the fields in which two configurations differ, as `name: value, not other value`."""
    theirs = other.to_json()
    return [
        f"{name} {value}, not {theirs[name]}"
        for name, value in one.to_json().items()
        if value != theirs[name]
    ]


def _unique(what: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ModuleError(f"there are two of {what} {name!r}")
        seen.add(name)
