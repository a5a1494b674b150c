"""Where micro-ops lie: each distinct list once in DRAM, and in SRAM while it is needed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class UopLoad(NamedTuple):
    """A load of `size` micro-ops, and the use in front of which it stands."""

    before: int
    sram_base: int
    dram_base: int
    size: int


class Residency(NamedTuple):
    """The image of all micro-ops, uint32 (m); what must be loaded; and where each use begins."""

    image: npt.NDArray[np.uint32]
    loads: list[UopLoad]
    begins: list[int]


def place(
    uses: Sequence[int],
    lists: Sequence[npt.NDArray[np.uint32]],
    layers: Sequence[int],
    depth: int,
) -> Residency:
    """Give each use of a list of micro-ops a place in SRAM, and load it where it is missing.

    Parameters
    ----------
    uses : sequence of int (n)
        Which of `lists` each instruction uses, in program order.
    lists : sequence of uint32 arrays
        Distinct lists, each at most `depth` long, numbered in the order of their first use.
    layers : sequence of int (n)
        A number for the layer that each use belongs to.
    depth : int
        Micro-ops that the buffer holds.

    Where a use finds its list missing, the load brings along all that its layer is going to miss,
    as far as the buffer holds it together with what the layer finds there: one load a layer for a
    large buffer, in front of the first use of any, so that it overlaps with waiting for data. A
    buffer that is full is emptied at once, and filled with what comes next; since what comes next
    is known, that costs few loads more than evicting one list at a time, and lists never have to
    fit into gaps.
    """
    offsets = np.cumsum([0, *(len(item) for item in lists)])
    image = np.concatenate([np.zeros(0, np.uint32), *lists])
    loads: list[UopLoad] = []
    begins: list[int] = []
    resident: dict[int, int] = {}
    free = 0
    first = 0  # where loads may stand: after the last time that the buffer was emptied
    for position, use in enumerate(uses):
        if layers[position] != layers[first]:
            first = position
        if use not in resident:
            ahead = _ahead(position, uses, lists, layers, depth)
            missing = [item for item in ahead if item not in resident]
            if free + sum(len(lists[item]) for item in missing) > depth:
                resident.clear()
                free = 0
                missing = ahead
                first = position
            for item in sorted(missing):
                count = len(lists[item])
                dram = int(offsets[item])
                resident[item] = free
                if loads and loads[-1].before == first and _continues(loads[-1], dram):
                    loads[-1] = loads[-1]._replace(size=loads[-1].size + count)
                else:
                    loads.append(UopLoad(first, free, dram, count))
                free += count
        begins.append(resident[use])
    return Residency(image, loads, begins)


def _continues(load: UopLoad, dram_base: int) -> bool:
    return load.dram_base + load.size == dram_base


def _ahead(
    position: int,
    uses: Sequence[int],
    lists: Sequence[npt.NDArray[np.uint32]],
    layers: Sequence[int],
    depth: int,
) -> list[int]:
    """Return the lists that the layer uses from `position` on, as many as fit the buffer."""
    ahead: dict[int, None] = {}
    room = depth
    for i in range(position, len(uses)):
        if layers[i] != layers[position]:
            break
        if uses[i] not in ahead:
            room -= len(lists[uses[i]])
            if room < 0:
                break
            ahead[uses[i]] = None
    return list(ahead)
