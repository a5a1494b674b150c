"""The memory port in time: read requests and data, write bursts and responses. Compiled."""

from ..isa.config import PAGE_BYTES
from ..isa.costs import BURSTS_IN_FLIGHT, MAX_BURST_WORDS, WORDS_IN_FLIGHT
from .clock import BURSTS, Clock
from .jit import compiled, inlined
from .state import State
from .transfers import ADDRESS_MASK

_RING = BURSTS - 1
_RESPONSES = BURSTS_IN_FLIGHT - 1


@inlined
def burst_end(m: State, address: int, end: int) -> int:
    """Return where the burst that begins at `address` ends, when the data ends at `end`.

    At the end of the data, at a page, or after the words of the longest burst, the first of which
    may be used in part.
    """
    page = (address | (PAGE_BYTES - 1)) + 1
    longest = (address & -m.bus_bytes) + MAX_BURST_WORDS * m.bus_bytes
    return min(end, page, longest)


@inlined
def words_between(m: State, address: int, end: int) -> int:
    """Return how many bus words hold the bytes from `address` up to `end`."""
    return ((end - 1) >> m.bus_shift) - (address >> m.bus_shift) + 1


@inlined
def request(t: Clock, reader: int, cycle: int, words: int) -> int:
    """Grant a read request; return the cycle of its first word."""
    first = max(cycle + t.latency, t.read_free)
    number = t.read_bursts
    t.read_free = first + words
    t.words_read[reader] += words
    t.read_bursts = number + 1
    t.read_words += words
    t.burst_words[number & _RING] = t.read_words
    t.burst_end[number & _RING] = t.read_free
    free = cycle + 1
    if number + 1 >= BURSTS_IN_FLIGHT:
        free = max(free, t.burst_end[(number + 1 - BURSTS_IN_FLIGHT) & _RING])
    awaited = t.read_words - WORDS_IN_FLIGHT + 1
    if awaited > 0:
        while t.burst_words[t.credit & _RING] < awaited:
            t.credit += 1
        slot = t.credit & _RING
        free = max(free, t.burst_end[slot] - (t.burst_words[slot] - awaited))
    t.request_free = free
    return first


@compiled
def write(m: State, t: Clock, cycle: int, address: int, length: int, pitch: int, rows: int) -> int:
    """Send the rows of a STORE whose first word may go in `cycle`; return the cycle after its last.

    `response_at` of the last burst then has the cycle of the last response.
    """
    for _ in range(rows):
        at, end = address, address + length
        while at < end:
            stop = burst_end(m, at, end)
            words = words_between(m, at, stop)
            slot = t.write_bursts & _RESPONSES
            cycle = max(cycle, t.response_at[slot] + 1) + words
            t.response_at[slot] = cycle - 1 + t.latency
            t.write_bursts += 1
            t.write_words += words
            at = stop
        address = (address + pitch) & ADDRESS_MASK
    return cycle
