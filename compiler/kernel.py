"""From a schedule to what can be emitted: the pipeline of the tensor compiler."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..isa.config import Config
from .expr import Tensor
from .inplace import in_place
from .intrinsics import intrinsics
from .loops import Buffer, Program, buffers
from .lower import lower
from .schedule import Schedule, ScheduleError, Scope
from .tensorize import tensorize
from .vthread import virtual_threads


@dataclass(frozen=True)
class Kernel:
    """A program of instructions, its loops not yet run through.

    Parameters
    ----------
    program : Program
        The loops, each block with its instruction.
    config : Config
        The machine that it is for.
    addresses : mapping of Buffer to int
        The first tile of each buffer on chip.
    tiles : mapping of Scope to int
        Tiles taken of each memory on chip.
    """

    program: Program
    config: Config
    addresses: Mapping[Buffer, int] = field(repr=False)
    tiles: Mapping[Scope, int]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors in DRAM, each of which needs a place when the kernel is emitted."""
        return tuple(buffer.tensor for buffer in self.program.tensors)


def build(schedule: Schedule, config: Config) -> Kernel:
    """Return the kernel that a schedule describes.

    Raises
    ------
    ScheduleError
        When a stage is made in a place where it is not needed, no instruction computes it, or a
        buffer is too small.
    """
    program = lower(schedule)  # loops, and the part of each tensor that they need
    program = in_place(program)  # the ALU writes over its operand: buffers are shared
    program = tensorize(program, intrinsics(config))  # which instruction each block is
    program = virtual_threads(program)  # needs to know the units, hence the instructions
    addresses, tiles = allocate(program, config)
    return Kernel(program, config, addresses, tiles)


def depth(scope: Scope, config: Config) -> int:
    """Return how many tiles a memory on chip holds."""
    match scope:
        case Scope.INP:
            return config.inp_depth
        case Scope.WGT:
            return config.wgt_depth
        case Scope.ACC:
            return config.acc_depth
        case _:
            raise ScheduleError(
                f"{scope.value} is no memory of VTA's; it holds no buffers of tiles"
            )


def allocate(program: Program, config: Config) -> tuple[dict[Buffer, int], dict[Scope, int]]:
    """Return the first tile of every buffer, one after the other, and the tiles of each memory.

    Raises
    ------
    ScheduleError
        When a memory is too small, by how many tiles, and what its buffers take.
    """
    addresses: dict[Buffer, int] = {}
    tiles: dict[Scope, int] = {Scope.INP: 0, Scope.WGT: 0, Scope.ACC: 0}
    for buffer in buffers(program.body):
        addresses[buffer] = tiles[buffer.scope]
        tiles[buffer.scope] += buffer.copies * buffer.tiles
    for scope, taken in tiles.items():
        most = depth(scope, config)
        if taken > most:
            largest = sorted(addresses, key=lambda b: -b.copies * b.tiles)
            named = ", ".join(
                f"{b.name} {b.copies} x {b.tiles}" for b in largest if b.scope is scope
            )
            raise ScheduleError(
                f"{scope.value} needs {taken} tiles and holds {most}, {taken - most} too few: "
                f"{named}; choose smaller tiles or fewer copies"
            )
    return addresses, tiles
