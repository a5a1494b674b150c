"""A finished instruction stream: relocation to an address, and how many bytes each part moves."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..isa.config import PAGE_BYTES, Config
from ..isa.fields import slots
from ..isa.instructions import Load, Memory, Opcode
from ..isa.stream import opcodes, unpack, words


class Mark(NamedTuple):
    """Instructions from `begin` to the next mark belong to `layer`, which does `macs` of work."""

    layer: str
    begin: int
    macs: int


def alignment(config: Config) -> int:
    """Return what the address of an arena must be a multiple of: a page, and every element."""
    return max(PAGE_BYTES, *(memory.element_bytes(config) for memory in Memory))


@dataclass(frozen=True, eq=False)
class Stream:
    """A program with its micro-ops, for an arena that begins at byte 0.

    Attributes
    ----------
    config : Config
        The machine it is for.
    insns : uint8 (n, 16)
        Instructions; `dram_base` counts from the beginning of the arena, that of LOAD UOP from the
        beginning of `uops`.
    uops : uint8 (4 m)
        The image of all micro-ops.
    marks : tuple of Mark
        Where each layer begins.
    """

    config: Config
    insns: npt.NDArray[np.uint8]
    uops: npt.NDArray[np.uint8]
    marks: tuple[Mark, ...]

    def relocate(self, arena: int, uops: int) -> npt.NDArray[np.uint8]:
        """Return the instructions for an arena and micro-ops at these addresses, uint8 (n, 16).

        Raises
        ------
        ValueError
            For an address that is no multiple of the elements that are counted from it.
        """
        return relocate(self.insns, self.config, arena, uops)


def relocate(
    insns: npt.NDArray[np.uint8], config: Config, arena: int, uops: int
) -> npt.NDArray[np.uint8]:
    """Return instructions with `dram_base` moved by an address: of the arena, of UOP by `uops`.

    Raises
    ------
    ValueError
        For an address that is no multiple of the elements that are counted from it.
    """
    halves = words(insns).copy()
    kinds = opcodes(insns)
    rows = np.flatnonzero((kinds == Opcode.LOAD) | (kinds == Opcode.STORE))
    columns = unpack(Load, halves[rows], config)
    step = np.zeros(1 << 3, np.int64)
    for memory in Memory:
        address = uops if memory is Memory.UOP else arena
        element = memory.element_bytes(config)
        if address % element:
            raise ValueError(f"address {address} is no multiple of {memory.name}'s {element} bytes")
        step[memory] = address // element
    slot = next(slot for slot in slots(Load, config) if slot.name == "dram_base")
    moved = (columns["dram_base"] + step[columns["memory"]]) & slot.high
    half, shift = divmod(slot.offset, 64)
    keep = ~np.uint64(slot.high << shift)
    halves[rows, half] = (halves[rows, half] & keep) | (moved.astype(np.uint64) << np.uint64(shift))
    return halves.view(np.uint8).reshape(-1, 16)


def moved_bytes(
    insns: npt.NDArray[np.uint8], config: Config
) -> dict[Memory, npt.NDArray[np.int64]]:
    """Return for each memory the DRAM bytes that each instruction moves, int64 (n)."""
    kinds = opcodes(insns)
    rows = np.flatnonzero((kinds == Opcode.LOAD) | (kinds == Opcode.STORE))
    columns = unpack(Load, words(insns)[rows], config)
    elements = columns["y_size"] * columns["x_size"]
    moved: dict[Memory, npt.NDArray[np.int64]] = {}
    for memory in Memory:
        chosen = columns["memory"] == memory
        moved[memory] = np.zeros(len(insns), np.int64)
        moved[memory][rows[chosen]] = elements[chosen] * memory.element_bytes(config)
    return moved
