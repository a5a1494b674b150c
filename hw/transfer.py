"""What a two-dimensional transfer consists of: bursts on one side of it, words on the other.

Rows begin where elements do and elements are powers of two, so an element is some whole bus words,
or a bus word some whole elements. The lesser of the two is a unit here: `units_per_word` of them
are a bus word, `units_per_element` an element, and one of the two is 1.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import DRAM_ADDRESS_BITS, PAGE_BYTES, Config
from ..isa.costs import MAX_BURST_WORDS
from ..isa.instructions import Memory
from .ports import Interface

ROW_BITS = 16
"""Of LOAD's and STORE's `x_size`, `x_stride` and `y_size`."""


def log2(power: int) -> int:
    """Return the logarithm of a power of two."""
    return power.bit_length() - 1


def units_per_word(config: Config, memory: Memory) -> int:
    """Return how many units a bus word has."""
    return max(1, config.bus_bytes // memory.element_bytes(config))


def units_per_element(config: Config, memory: Memory) -> int:
    """Return how many units an element has."""
    return max(1, memory.element_bytes(config) // config.bus_bytes)


def unit_bytes(config: Config, memory: Memory) -> int:
    """Return the bytes of a unit."""
    return min(config.bus_bytes, memory.element_bytes(config))


class RowsLayout(data.StructLayout):
    """Rows in memory: the byte that the first begins at, bytes of each but one, bytes from one to
    the next, and how many there are.
    """

    def __init__(self, config: Config, memories: tuple[Memory, ...]):
        bits = ROW_BITS + max(log2(memory.element_bytes(config)) for memory in memories)
        super().__init__(
            {
                "address": DRAM_ADDRESS_BITS,
                "length_less_1": bits,
                "pitch": bits,
                "count": ROW_BITS,
            }
        )


def rows_of(insn: Interface, config: Config, memory: Memory) -> dict[str, Value]:
    """Return the members of a RowsLayout for a LOAD or STORE of this memory."""
    byte_bits = log2(memory.element_bytes(config))
    return {
        "address": (insn.dram_base << byte_bits)[:DRAM_ADDRESS_BITS],
        "length_less_1": Cat(Const(1, 1).replicate(byte_bits), (insn.x_size - 1)[:ROW_BITS]),
        "pitch": insn.x_stride << byte_bits,
        "count": Mux(insn.x_size == 0, 0, insn.y_size),
    }


class BurstLayout(data.StructLayout):
    """A burst: the byte address of its first bus word, words, and whether the transfer ends."""

    def __init__(self):
        super().__init__(
            {"address": DRAM_ADDRESS_BITS, "words": range(MAX_BURST_WORDS + 1), "last": 1}
        )


class Bursts(wiring.Component):
    """Cut rows into bursts: at the end of a row, a page, and `MAX_BURST_WORDS` words.

    The first burst stands from the second cycle after that of `start`, each other one from the
    cycle after that in which the one before was taken.

    Parameters
    ----------
    config : Config
    memories : tuple of Memory
        Whose elements are moved.

    Members
    -------
    start : In(1)
        Begin with the rows of `rows`, when all bursts of the last ones have been taken.
    rows : In(RowsLayout(config, memories))
    burst : Out(stream.Signature(BurstLayout()))
    """

    start: Signal
    rows: Interface
    burst: Interface

    def __init__(self, config: Config, memories: tuple[Memory, ...]):
        self.config = config
        self.memories = memories
        super().__init__(
            {
                "start": In(1),
                "rows": In(RowsLayout(config, memories)),
                "burst": Out(stream.Signature(BurstLayout())),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        byte_bits = log2(self.config.bus_bytes)
        rows = Signal.like(self.rows)  # those of which no burst stands or has stood
        word = Signal(DRAM_ADDRESS_BITS - byte_bits)
        left = Signal(len(rows.length_less_1) + 1)  # words of the row, from this burst on
        words = Signal(range(MAX_BURST_WORDS + 1))
        ends_row = Signal()

        next_word = Signal.like(word)
        next_left = Signal.like(left)
        next_words = Signal.like(words)
        new_row = Signal()
        taken = Signal()
        m.d.comb += [
            self.burst.payload.address.eq(word << byte_bits),
            self.burst.payload.words.eq(words),
            self.burst.payload.last.eq(ends_row & (rows.count == 0)),
            taken.eq(self.burst.valid & self.burst.ready),
            new_row.eq(~self.burst.valid | (taken & ends_row)),
        ]
        with m.If(new_row):
            offset = rows.address[:byte_bits]
            m.d.comb += [
                next_word.eq(rows.address[byte_bits:]),
                next_left.eq(((offset + rows.length_less_1) >> byte_bits) + 1),
            ]
        with m.Else():
            m.d.comb += [next_word.eq(word + words), next_left.eq(left - words)]
        room = self._room(next_word)
        m.d.comb += next_words.eq(Mux(next_left < room, next_left, room))
        with m.If(new_row | taken):
            m.d.sync += [
                word.eq(next_word),
                left.eq(next_left),
                words.eq(next_words),
                ends_row.eq(next_left <= room),
            ]
        with m.If(new_row):
            m.d.sync += self.burst.valid.eq(rows.count != 0)
            with m.If(rows.count != 0):
                m.d.sync += [
                    rows.address.eq(rows.address + rows.pitch),
                    rows.count.eq(rows.count - 1),
                ]
        with m.If(self.start):
            m.d.sync += rows.eq(self.rows)
        return m

    def _room(self, word: Value) -> Value:
        """Return the words that a burst from `word` on may have."""
        page_words = PAGE_BYTES // self.config.bus_bytes
        place = word[: log2(page_words)]
        near_the_end = place > page_words - MAX_BURST_WORDS
        return Mux(near_the_end, page_words - place, MAX_BURST_WORDS)


class SpanLayout(data.StructLayout):
    """Rows in a buffer, word by word, as units.

    `position` is the unit that the first row begins at, `lane` its place in the bus word, `length`
    the units of a row, `width` those from row to row in the buffer, `stride` those in memory (as
    far as the place in a word goes), `count` the rows. `step` is the units of a bus word.
    """

    def __init__(self, config: Config, memories: tuple[Memory, ...]):
        step = max(units_per_word(config, memory) for memory in memories)
        parts = max(units_per_element(config, memory) for memory in memories)
        bits = ROW_BITS + log2(parts)
        super().__init__(
            {
                "position": bits + 1,
                "lane": range(step),
                "length": bits,
                "width": bits + 1,
                "stride": range(step),
                "count": ROW_BITS,
                "step": range(step + 1),
            }
        )


class Words(wiring.Component):
    """Say of each bus word of a transfer where in the buffer it belongs.

    Parameters
    ----------
    config : Config
    memories : tuple of Memory
        Whose elements are moved.

    Members
    -------
    start : In(1)
        Begin with `span` in the next cycle.
    span : In(SpanLayout(config, memories))
    taken : In(1)
        A word is moved in this cycle.
    position : Out
        The unit that the word's first byte belongs to; it may lie before the row.
    lanes : Out
        A bit for each unit of the word that belongs to the row.
    units : Out
        How many these are.
    last : Out(1)
        It is the transfer's last word.
    """

    start: Signal
    span: Interface
    taken: Signal
    position: Signal
    lanes: Signal
    units: Signal
    last: Signal

    def __init__(self, config: Config, memories: tuple[Memory, ...]):
        self.config = config
        self.memories = memories
        span = SpanLayout(config, memories)
        step = max(units_per_word(config, memory) for memory in memories)
        super().__init__(
            {
                "start": In(1),
                "span": In(span),
                "taken": In(1),
                "position": Out(span["position"].shape),
                "lanes": Out(step),
                "units": Out(range(step + 1)),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        span = Signal.like(self.span)  # its position and lane are those of the next row
        first = Signal.like(span.lane)  # lane of the word's first unit of the row
        end = Signal(len(span.length) + 1)  # lane after the row's last unit, were the word so long
        ends_row = Signal()
        until = Signal.like(span.step)
        m.d.comb += [
            ends_row.eq(end <= span.step),
            until.eq(Mux(ends_row, end, span.step)),
            self.lanes.eq(Cat((i >= first) & (i < until) for i in range(len(self.lanes)))),
            self.units.eq(until - first),
            self.last.eq(ends_row & (span.count == 0)),
        ]
        row = Signal.like(self.span)
        m.d.comb += row.eq(Mux(self.start, self.span, span))
        with m.If(self.start | (self.taken & ends_row)):
            m.d.sync += [
                span.eq(row),
                span.position.eq(row.position + row.width),
                span.lane.eq((row.lane + row.stride) & (row.step - 1)),
                span.count.eq(row.count - 1),
                self.position.eq(row.position - row.lane),
                first.eq(row.lane),
                end.eq(row.length + row.lane),
            ]
        with m.Elif(self.taken):
            m.d.sync += [
                self.position.eq(self.position + span.step),
                first.eq(0),
                end.eq(end - span.step),
            ]
        return m
