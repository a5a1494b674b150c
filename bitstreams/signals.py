"""What the parts of a board are joined by, besides the buses of `hw.axi`."""

from typing import Any, TypeAlias

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..isa.costs import MAX_BURST_WORDS

Interface: TypeAlias = Any
"""An interface of a signature; the checker does not know its members."""

ADDRESS_BITS = 32


def resting(flow: Any, width: int, init: int = 1) -> Any:
    """Return a member, `In` or `Out`, with an initial value, which the checker does not know of."""
    return flow(width, init=init)


class WordSignature(wiring.Signature):
    """Words of 32 bits in memory, one at a time, as the one sees it who asks.

    `valid`, `write`, `address` (a multiple of 4) and `data` stand until `done`, which comes with
    what was read or `refused`.
    """

    def __init__(self):
        super().__init__(
            {
                "valid": Out(1),
                "write": Out(1),
                "address": Out(ADDRESS_BITS),
                "data": Out(32),
                "done": In(1),
                "found": In(32),
                "refused": In(1),
            }
        )


class BurstSignature(wiring.Signature):
    """Bursts of bus words in a memory, as the one sees it who asks.

    `valid`, `write`, `address` (in bus words) and `words` stand until `ready`, which comes when the
    burst has ended. While it writes, `data` and `strobe` hold the next word and are taken with
    `next`; while it reads, words come with `found`: nobody can hold them up.

    Parameters
    ----------
    bus_bits : int
    """

    def __init__(self, bus_bits: int):
        self.bus_bits = bus_bits
        super().__init__(
            {
                "valid": Out(1),
                "write": Out(1),
                "address": Out(ADDRESS_BITS),
                "words": Out(range(MAX_BURST_WORDS + 1)),
                "ready": In(1),
                "data": Out(bus_bits),
                "strobe": Out(bus_bits // 8),
                "next": In(1),
                "found": In(1),
                "found_data": In(bus_bits),
            }
        )
