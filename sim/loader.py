"""LOAD in time: bursts asked for one by one, pads written beside them. Compiled."""

import numpy as np
import numpy.typing as npt

from .channel import ADDRESS_MASK, burst_end, request, words_between
from .columns import (
    DRAM_BASE,
    MEMORY,
    X_PAD_0,
    X_PAD_1,
    X_SIZE,
    X_STRIDE,
    Y_PAD_0,
    Y_PAD_1,
    Y_SIZE,
)
from .costs import LOAD_SETUP
from .jit import compiled
from .state import NEVER, Clock

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@compiled
def begin_load(t: Clock, unit: int, row: I32, element_bytes: I64, start: int) -> None:
    """Set a LOAD up that starts in cycle `start`."""
    ready = start + LOAD_SETUP
    width = np.int64(row[X_SIZE])
    size = element_bytes[row[MEMORY]]
    t.pads_left[unit] = 0
    t.pads_done[unit] = ready
    t.written_at[unit] = max(t.written_at[unit], ready)
    t.front_free[unit] = ready
    if width == 0:
        return
    sides = np.int64(row[X_PAD_0]) + row[X_PAD_1]
    t.pads_left[unit] = row[Y_SIZE] * sides + (row[Y_PAD_0] + row[Y_PAD_1]) * (width + sides)
    t.pad_from[unit] = t.written_at[unit]
    t.rows_left[unit] = row[Y_SIZE]
    if row[Y_SIZE] == 0:
        _finish_pads(t, unit)
        t.front_free[unit] = t.written_at[unit] = t.pads_done[unit]
        return
    t.row_bytes[unit] = width * size
    t.pitch[unit] = row[X_STRIDE] * size
    t.row_address[unit] = (np.int64(np.uint32(row[DRAM_BASE])) * size) & ADDRESS_MASK
    t.address[unit] = t.row_address[unit]
    t.row_end[unit] = t.address[unit] + t.row_bytes[unit]
    t.request_at[unit] = ready
    t.front_free[unit] = NEVER


@compiled
def grant_load(t: Clock, unit: int, cycle: int) -> bool:
    """Send the read request of a LOAD's next burst; return whether it was the last."""
    address = t.address[unit]
    end = burst_end(address, t.row_end[unit], t.bus_bytes)
    words = words_between(address, end, t.bus_bytes)
    first = request(t, unit, cycle, words)
    pads, gap = t.pads_left[unit], first - t.pad_from[unit]
    if pads > 0:
        if pads <= gap:
            t.pads_done[unit] = t.pad_from[unit] + pads
            t.pads_left[unit] = 0
        else:
            t.pads_left[unit] = pads - gap
            t.pad_from[unit] = first + words
    if end < t.row_end[unit]:
        t.address[unit] = end
    else:
        t.rows_left[unit] -= 1
        if t.rows_left[unit] == 0:
            t.request_at[unit] = NEVER
            _finish_pads(t, unit)
            t.front_free[unit] = max(cycle + 1, t.pads_done[unit])
            t.written_at[unit] = max(first + words, t.pads_done[unit])
            return True
        t.row_address[unit] = (t.row_address[unit] + t.pitch[unit]) & ADDRESS_MASK
        t.address[unit] = t.row_address[unit]
        t.row_end[unit] = t.address[unit] + t.row_bytes[unit]
    t.request_at[unit] = cycle + 1
    return False


@compiled
def _finish_pads(t: Clock, unit: int) -> None:
    """Write the pads that are left after the last word, one a cycle."""
    if t.pads_left[unit] > 0:
        t.pads_done[unit] = t.pad_from[unit] + t.pads_left[unit]
        t.pads_left[unit] = 0
