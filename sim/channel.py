"""The memory port: read requests and their data, write bursts and their responses. Compiled."""

from ..isa.config import DRAM_ADDRESS_BITS, PAGE_BYTES
from .costs import BURSTS_IN_FLIGHT, MAX_BURST_WORDS, WORDS_IN_FLIGHT
from .jit import compiled
from .state import RING, Clock

ADDRESS_MASK = (1 << DRAM_ADDRESS_BITS) - 1


@compiled
def burst_end(address: int, end: int, bus_bytes: int) -> int:
    """Return where the burst that begins at `address` ends, when data ends at `end`.

    At the end of the data, at a page, or after the words of the longest burst, the first of which
    may be used in part.
    """
    page = (address // PAGE_BYTES + 1) * PAGE_BYTES
    longest = (address // bus_bytes + MAX_BURST_WORDS) * bus_bytes
    return min(end, page, longest)


@compiled
def words_between(address: int, end: int, bus_bytes: int) -> int:
    """Return how many bus words hold the bytes from `address` up to `end`."""
    return (end - 1) // bus_bytes - address // bus_bytes + 1


@compiled
def request(t: Clock, reader: int, cycle: int, words: int) -> int:
    """Grant a read request; return the cycle of its first word."""
    first = max(cycle + t.latency, t.read_free)
    t.read_free = first + words
    t.words_read[reader] += words
    number = t.read_bursts
    t.read_bursts = number + 1
    t.read_words += words
    t.burst_words[number % RING] = t.read_words
    t.burst_end[number % RING] = t.read_free
    free = cycle + 1
    if number + 1 >= BURSTS_IN_FLIGHT:
        free = max(free, t.burst_end[(number + 1 - BURSTS_IN_FLIGHT) % RING])
    awaited = t.read_words - WORDS_IN_FLIGHT + 1
    if awaited > 0:
        while t.burst_words[t.credit % RING] < awaited:
            t.credit += 1
        slot = t.credit % RING
        free = max(free, t.burst_end[slot] - (t.burst_words[slot] - awaited))
    t.request_free = free
    return first


@compiled
def write(t: Clock, cycle: int, address: int, row_bytes: int, pitch: int, rows: int) -> int:
    """Send the rows of a STORE whose first word may go in `cycle`; return the cycle after its last.

    `t.response_at` then has the cycle of the last response.
    """
    for _ in range(rows):
        at = address & ADDRESS_MASK
        end = at + row_bytes
        while at < end:
            stop = burst_end(at, end, t.bus_bytes)
            slot = t.write_bursts % BURSTS_IN_FLIGHT
            words = words_between(at, stop, t.bus_bytes)
            cycle = max(cycle, t.response_at[slot] + 1) + words
            t.response_at[slot] = cycle - 1 + t.latency
            t.write_bursts += 1
            t.write_words += words
            at = stop
        address += pitch
    return cycle
