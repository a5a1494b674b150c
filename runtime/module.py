"""A compiled network as a value: constants, steps on host and device; saved to one file."""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..isa.config import Config
from .buffers import Segment, Tensor
from .stream import Stream

Array: TypeAlias = npt.NDArray[np.generic]


class ModuleError(ValueError):
    """A module that makes no sense, is no module, or does not suit what it is run with."""


@dataclass(frozen=True)
class HostValue:
    """An array on the host: its name, NumPy type (`float32`) and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class HostStep:
    """Run a kernel of `runtime.host` on arrays of the host.

    Attributes
    ----------
    kernel : str
        Its name in `host.registry.KERNELS`.
    attributes : mapping of str to object
        What it is given by keyword; numbers, strings, booleans, None, and tuples of them.
    inputs, outputs : tuple of str
        Names of host values and host constants.
    layer : str
        What a report counts it to.
    """

    kernel: str
    attributes: Mapping[str, object]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layer: str


@dataclass(frozen=True)
class WriteStep:
    """Copy a host value to a device tensor of as many bytes."""

    value: str
    tensor: str


@dataclass(frozen=True, eq=False)
class DeviceStep:
    """Run a stream."""

    stream: Stream


@dataclass(frozen=True)
class ReadStep:
    """Copy a device tensor to a host value of as many bytes."""

    tensor: str
    value: str


Step: TypeAlias = HostStep | WriteStep | DeviceStep | ReadStep


@dataclass(frozen=True, eq=False)
class Module:
    """A compiled network.

    Attributes
    ----------
    name : str
    config : Config
        The machine it was compiled for.
    inputs, outputs : tuple of str
        Host values that the user gives and gets, by the network's own names.
    values : tuple of HostValue
        Every array of the host that a step or the user makes.
    constants : mapping of str to array
        Arrays of the host that no step makes: weights of layers on the CPU.
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
        For names that do not exist or exist twice, sizes that do not match, and what lies outside
        the arena.
    """

    name: str
    config: Config
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    values: tuple[HostValue, ...]
    arena_bytes: int
    tensors: tuple[Tensor, ...]
    segments: tuple[Segment, ...]
    steps: tuple[Step, ...]
    constants: Mapping[str, Array] = field(default_factory=dict[str, Array])

    def __post_init__(self) -> None:
        _unique("host value", [*(value.name for value in self.values), *self.constants])
        _unique("device tensor", [tensor.name for tensor in self.tensors])
        for tensor in self.tensors:
            self._inside(f"tensor {tensor.name!r}", tensor.offset, tensor.size_bytes)
        for segment in self.segments:
            self._inside("a constant segment", segment.offset, segment.data.size)
        made = {*self.inputs, *self.constants}
        for name in self.inputs:
            self.value(name)
        for position, step in enumerate(self.steps):
            try:
                self._follow(step, made)
            except ModuleError as error:
                raise ModuleError(f"step {position}, {type(step).__name__}: {error}") from None
        for name in self.outputs:
            self.value(name)
            if name not in made:
                raise ModuleError(f"output {name!r} is made by no step")

    def value(self, name: str) -> HostValue:
        """Return the host value of that name; raises ModuleError when there is none."""
        for value in self.values:
            if value.name == name:
                return value
        raise ModuleError(f"there is no host value {name!r}")

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
        except (zipfile.BadZipFile, EOFError) as error:
            raise ModuleError(f"{str(path)!r} is no module, or part of one: {error}") from None
        except ModuleError as error:
            raise ModuleError(f"{str(path)!r}: {error}") from None

    def _inside(self, what: str, offset: int, size_bytes: int) -> None:
        if offset < 0 or offset + size_bytes > self.arena_bytes:
            raise ModuleError(
                f"{what} takes bytes {offset} to {offset + size_bytes - 1} of an arena of "
                f"{self.arena_bytes}"
            )

    def _follow(self, step: Step, made: set[str]) -> None:
        match step:
            case HostStep():
                for name in step.inputs:
                    if name not in made:
                        raise ModuleError(f"{name!r} is not made before it is used")
                made.update(self.value(name).name for name in step.outputs)
            case WriteStep() | ReadStep():
                value, tensor = self.value(step.value), self.tensor(step.tensor)
                size = np.dtype(value.dtype).itemsize * int(np.prod(value.shape, dtype=np.int64))
                if size != tensor.size_bytes:
                    raise ModuleError(
                        f"host value {value.name!r} has {size} bytes and device tensor "
                        f"{tensor.name!r} {tensor.size_bytes}"
                    )
                if isinstance(step, ReadStep):
                    made.add(value.name)
                elif value.name not in made:
                    raise ModuleError(f"{value.name!r} is not made before it is used")
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
