"""Who last read and wrote every tile of SRAM and every granule of DRAM, by instruction number."""

import numpy as np
import numpy.typing as npt

from ..isa.config import Config
from ..isa.instructions import Memory, Unit
from .transfer import Transfer

NEVER = -1


class Tiles:
    """A buffer on chip that one unit fills and another empties.

    Attributes
    ----------
    written, read : int32 (tiles)
        The last instruction of the unit that writes, and of the one that reads.
    """

    def __init__(self, tiles: int):
        self.written = np.full(tiles, NEVER, np.int32)
        self.read = np.full(tiles, NEVER, np.int32)


def newest(numbers: npt.NDArray[np.int32], tiles: slice) -> int:
    """Return the greatest number in a range of tiles, NEVER when it is empty."""
    return int(numbers[tiles].max(initial=NEVER))


class Dram:
    """The arena, in granules that no transfer covers in part: the smallest element of all but UOP.

    STORE writes; LOAD and COMPUTE read. The arrays grow with the addresses that are used.
    """

    def __init__(self, config: Config):
        kinds = (Memory.INP, Memory.WGT, Memory.ACC, Memory.OUT)
        self._element = {kind: kind.element_bytes(config) for kind in Memory}
        self._granule = min(self._element[kind] for kind in kinds)
        self._written = np.full(0, NEVER, np.int32)
        self._read = {unit: np.full(0, NEVER, np.int32) for unit in (Unit.LOAD, Unit.COMPUTE)}

    def newest_write(self, memory: Memory, move: Transfer) -> int:
        """Return the last STORE that wrote what `move` reads, or NEVER."""
        self._reach(memory, move)
        return int(self._rows(self._written, memory, move).max(initial=NEVER))

    def newest_read(self, unit: Unit, memory: Memory, move: Transfer) -> int:
        """Return the last instruction of `unit` that read what `move` writes, or NEVER."""
        self._reach(memory, move)
        return int(self._rows(self._read[unit], memory, move).max(initial=NEVER))

    def note_read(self, unit: Unit, memory: Memory, move: Transfer, number: int) -> None:
        """Remember that instruction `number` of `unit` reads the bytes of `move`."""
        self._rows(self._read[unit], memory, move)[...] = number

    def note_write(self, memory: Memory, move: Transfer, number: int) -> None:
        """Remember that the STORE `number` writes the bytes of `move`."""
        self._rows(self._written, memory, move)[...] = number

    def _rows(
        self, numbers: npt.NDArray[np.int32], memory: Memory, move: Transfer
    ) -> npt.NDArray[np.int32]:
        scale = self._element[memory] // self._granule
        first = move.dram_byte // self._granule
        width = move.x_size * scale
        stride = move.x_stride * scale
        if move.y_size == 1:
            return numbers[first : first + width]
        if stride <= width:  # the rows overlap or touch: together they cover one range
            return numbers[first : first + (move.y_size - 1) * stride + width]
        rows = numbers[first : first + move.y_size * stride]
        return rows.reshape(move.y_size, stride)[:, :width]

    def _reach(self, memory: Memory, move: Transfer) -> None:
        longest = max(move.x_stride, move.x_size) * self._element[memory]
        end = (move.dram_byte + move.y_size * longest) // self._granule
        if end > self._written.size:
            more = np.full(max(end, 2 * self._written.size) - self._written.size, NEVER, np.int32)
            self._written = np.concatenate([self._written, more])
            for unit, numbers in self._read.items():
                self._read[unit] = np.concatenate([numbers, more])
