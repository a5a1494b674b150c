"""A network compiled for NVIDIA GPUs, as a value."""

from dataclasses import dataclass, field

from ..native.program import NativeArray


class CudaError(RuntimeError):
    """What keeps a network from being compiled for or run on a GPU."""


@dataclass(frozen=True)
class Place:
    """Where something begins: a byte of the arena, or of the constants."""

    constant: bool
    offset: int


@dataclass(frozen=True)
class Launch:
    """A kernel to be started: its function, blocks of threads, and what it is given."""

    function: str
    blocks: int
    threads: int
    pointers: tuple[Place, ...]


@dataclass(frozen=True)
class Filling:
    """An array of the arena that holds one number before the first run: halos, which stay."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    value: float


@dataclass(frozen=True)
class CudaProgram:
    """A network compiled for NVIDIA GPUs.

    Attributes
    ----------
    name : str
    architecture : str
        The oldest that the code runs on.
    ptx : str
    launches : tuple of Launch
        One after the other.
    layers : tuple of str
        The layer of each launch.
    arena_bytes : int
    constants : bytes
    fillings : tuple of Filling
    inputs, outputs : tuple of NativeArray
    """

    name: str
    architecture: str
    ptx: str = field(repr=False)
    launches: tuple[Launch, ...] = field(repr=False)
    layers: tuple[str, ...]
    arena_bytes: int
    constants: bytes = field(repr=False)
    fillings: tuple[Filling, ...] = field(repr=False)
    inputs: tuple[NativeArray, ...]
    outputs: tuple[NativeArray, ...]
