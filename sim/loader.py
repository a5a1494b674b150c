"""LOAD in time: bursts asked for one by one, pads written beside them. Compiled."""

from ..isa.costs import LOAD_SETUP
from .channel import burst_end, request, words_between
from .clock import NEVER, Clock
from .columns import MEMORY, X_PAD_0, X_PAD_1, X_SIZE, X_STRIDE, Y_PAD_0, Y_PAD_1, Y_SIZE
from .jit import inlined, merged
from .queues import MASK
from .state import Ints, State
from .transfers import ADDRESS_MASK, dram_address


@merged
def begin_load(m: State, t: Clock, unit: int, row: Ints, start: int) -> None:
    """Set a LOAD up that starts in cycle `start`."""
    unit &= MASK
    ready = start + LOAD_SETUP
    t.written_at[unit] = max(t.written_at[unit], ready)
    t.front_free[unit] = ready
    if row[X_SIZE] == 0:
        return
    size, sides = m.element_bytes[row[MEMORY]], row[X_PAD_0] + row[X_PAD_1]
    full_rows = row[Y_PAD_0] + row[Y_PAD_1]
    t.pads_left[unit] = row[Y_SIZE] * sides + full_rows * (row[X_SIZE] + sides)
    t.pad_from[unit] = t.written_at[unit]
    t.pads_done[unit] = ready
    t.rows_left[unit] = row[Y_SIZE]
    if row[Y_SIZE] == 0:
        _finish_pads(t, unit)
        t.written_at[unit] = max(t.written_at[unit], t.pads_done[unit])
        t.front_free[unit] = t.pads_done[unit]
        return
    t.row_bytes[unit] = row[X_SIZE] * size
    t.pitch[unit] = row[X_STRIDE] * size
    t.row_address[unit] = t.address[unit] = dram_address(m, row)
    t.row_end[unit] = t.address[unit] + t.row_bytes[unit]
    t.request_at[unit] = ready
    t.front_free[unit] = NEVER


@merged
def grant_load(m: State, t: Clock, unit: int, cycle: int, until: int) -> bool:
    """Send the read request of a LOAD's next burst in `cycle`, and those after it before `until`.

    Nothing but this LOAD may want the channel before `until`. Return whether its last burst was
    among them.
    """
    unit &= MASK
    address, row_end, pads = t.address[unit], t.row_end[unit], t.pads_left[unit]
    while True:
        end = burst_end(m, address, row_end)
        words = words_between(m, address, end)
        first = request(t, unit, cycle, words)
        if pads > 0:
            gap = first - t.pad_from[unit]
            if pads <= gap:
                t.pads_done[unit] = t.pad_from[unit] + pads
                pads = 0
            else:
                pads -= gap
                t.pad_from[unit] = first + words
        address = end
        if end == row_end:
            t.rows_left[unit] -= 1
            if t.rows_left[unit] == 0:
                break
            t.row_address[unit] = (t.row_address[unit] + t.pitch[unit]) & ADDRESS_MASK
            address = t.row_address[unit]
            row_end = address + t.row_bytes[unit]
        cycle = t.request_free
        if cycle >= until:
            t.address[unit], t.row_end[unit], t.pads_left[unit] = address, row_end, pads
            t.request_at[unit] = cycle
            return False
    t.pads_left[unit] = pads
    _finish_pads(t, unit)
    t.request_at[unit] = NEVER
    t.front_free[unit] = max(cycle + 1, t.pads_done[unit])
    t.written_at[unit] = max(t.read_free, t.pads_done[unit])
    return True


@inlined
def _finish_pads(t: Clock, unit: int) -> None:
    """Write the pads that are left after the last word, one a cycle."""
    if t.pads_left[unit] > 0:
        t.pads_done[unit] = t.pad_from[unit] + t.pads_left[unit]
        t.pads_left[unit] = 0
