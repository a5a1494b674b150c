"""From a schedule to what can be emitted: the pipeline of the tensor compiler."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..isa.config import Config
from .expr import Tensor
from .inplace import in_place
from .intrinsics import intrinsics
from .loops import Buffer, Program, buffers
from .lower import lower
from .schedule import Schedule, ScheduleError, Scope
from .tensorize import tensorize
from .vthread import virtual_threads


class Places(NamedTuple):
    """Where a buffer is.

    Attributes
    ----------
    turns : tuple of int
        The first tile of each of its copies, which take turns. Accumulator tiles are counted
        through all banks.
    banks : int
        In how many banks of accumulators it lies at once, a bank's tiles apart.
    """

    turns: tuple[int, ...]
    banks: int


@dataclass(frozen=True)
class Kernel:
    """A program of instructions, its loops not yet run through.

    Parameters
    ----------
    program : Program
        The loops, each block with its instruction.
    config : Config
        The machine that it is for.
    places : mapping of Buffer to Places
        Where each buffer is on chip.
    tiles : mapping of Scope to int
        Tiles taken of each memory on chip.
    """

    program: Program
    config: Config
    places: Mapping[Buffer, Places] = field(repr=False)
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
    places, tiles = allocate(program, config)
    return Kernel(program, config, places, tiles)


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


def allocate(program: Program, config: Config) -> tuple[dict[Buffer, Places], dict[Scope, int]]:
    """Return the places of every buffer, one after the other, and the tiles of each memory.

    With two banks of accumulators, copies and threads take turns between them, so that one can be
    worked on by the matrix unit and the other by the ALU. What several threads or copies read,
    constants, is in both banks. Where nothing takes turns all is in the first.

    Raises
    ------
    ScheduleError
        When a memory is too small, by how many tiles, and what its buffers take.
    """
    every = list(buffers(program.body))
    turning = any(b.scope is Scope.ACC and (b.copies > 1 or b.thread is not None) for b in every)
    banks = config.acc_banks if turning else 1
    places: dict[Buffer, Places] = {}
    used: dict[Scope, list[int]] = {
        Scope.INP: [0],
        Scope.WGT: [0],
        Scope.ACC: [0] * config.acc_banks,
    }
    for buffer in every:
        bank_of = _banks_of(buffer, banks)
        free = used[buffer.scope]
        if bank_of is None:  # the same place in all
            first = max(free)
            places[buffer] = Places((first,), banks)
            free[:banks] = [first + buffer.tiles] * banks
            continue
        turns: list[int] = []
        for bank in bank_of:
            turns.append(bank * config.acc_depth + free[bank])
            free[bank] += buffer.tiles
        places[buffer] = Places(tuple(turns), 1)
    tiles = {scope: max(free) for scope, free in used.items()}
    for scope, taken in tiles.items():
        most = depth(scope, config)
        if taken > most:
            largest = sorted(places, key=lambda b: -b.copies * b.tiles)
            named = ", ".join(
                f"{b.name} {b.copies} x {b.tiles}" for b in largest if b.scope is scope
            )
            raise ScheduleError(
                f"{scope.value} needs {taken} tiles and holds {most}, {taken - most} too few: "
                f"{named}; choose smaller tiles or fewer copies"
            )
    return places, tiles


def _banks_of(buffer: Buffer, banks: int) -> list[int] | None:
    """Return the bank of each copy of a buffer, or None for one that lies in all of them."""
    if buffer.scope is not Scope.ACC or banks == 1:
        return [0] * buffer.copies
    if buffer.thread is not None:
        return [buffer.thread % banks] * buffer.copies
    if buffer.copies > 1:
        return [copy % banks for copy in range(buffer.copies)]
    return None
