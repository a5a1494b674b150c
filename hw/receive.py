"""The back of LOAD: words that arrive, and pads, on their way into the buffers."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from ..isa.costs import IN_FLIGHT
from ..isa.instructions import Load, Memory
from ..isa.registers import ErrorCode
from .layouts import layout
from .pads import ELEMENT_BITS
from .ports import INDEX_BITS, BankShape, Fault, FillSignature, Interface, WordsSignature
from .transfer import SpanLayout, Words, log2, unit_bytes, units_per_element, units_per_word


class ArrivalLayout(data.StructLayout):
    """A LOAD of whose words some are to arrive: where they belong, and whose they are."""

    def __init__(self, config: Config, memories: tuple[Memory, ...]):
        super().__init__(
            {
                "span": SpanLayout(config, memories),
                "memory": layout(Load, config)["memory"].shape,
                "bank": config.bank_bits,
                "slot": range(IN_FLIGHT),
                "index": INDEX_BITS,
            }
        )


def buffer_of(memory: Memory) -> Memory:
    """Return the buffer that a LOAD of this memory fills."""
    return Memory.ACC if memory is Memory.ACC_8BIT else memory


def buffers_of(memories: tuple[Memory, ...]) -> list[Memory]:
    """Return the buffers that a unit fills."""
    return sorted({buffer_of(memory) for memory in memories})


def fill_members(config: Config, memories: tuple[Memory, ...]) -> dict[str, wiring.Member]:
    """Return the members of what fills a unit's buffers, and the bytes that were loaded.

    fill_uop, fill_acc, or fill_inp, fill_wgt : Out(FillSignature(config, memory))
        One for each buffer.
    uop_bytes, acc_bytes, or inp_bytes, wgt_bytes : Out
        What the counters of that name rise by in this cycle.
    """
    buffers = buffers_of(memories)
    most_bytes = config.bus_bytes * (4 if Memory.ACC_8BIT in memories else 1)
    return {
        **{f"fill_{name(buffer)}": Out(FillSignature(config, buffer)) for buffer in buffers},
        **{f"{name(buffer)}_bytes": Out(range(most_bytes + 1)) for buffer in buffers},
    }


def name(memory: Memory) -> str:
    """Return it as a part of a member's name."""
    return memory.name.lower()


class Receiver(wiring.Component):
    """Put each word where it belongs, of up to `IN_FLIGHT` LOADs one after the other.

    Parameters
    ----------
    config : Config
    memories : tuple of Memory
        What this unit loads.

    Members
    -------
    put : In(1)
        From the next cycle on words of `arrival` may come, after those of earlier ones.
    arrival : In(ArrivalLayout(config, memories))
    words : Out(WordsSignature(config.bus_bits))
    pad : In(1)
        Fill element `pad_index` of `pad_memory` with zeros, in bank `pad_bank` of accumulators, if
        no word comes in this cycle.
    discard : In(1)
        Let nothing out to the buffers.
    ended : Out(1)
        The last word of the oldest LOAD comes in this cycle: that in `ended_slot`.
    waits : Out(1)
        Words of some LOAD are to come.
    waits_for_many : Out(1)
        Of more than one.
    error : Out(Fault)
        BUS, in the cycle after a word that memory refused.
    fill_uop, ..., uop_bytes, ...
        See `fill_members`; in the cycle after the word or pad.
    """

    put: Signal
    arrival: Interface
    words: Interface
    pad: Signal
    pad_index: Signal
    pad_memory: Signal
    pad_bank: Signal
    discard: Signal
    ended: Signal
    ended_slot: Signal
    waits: Signal
    waits_for_many: Signal
    error: Interface

    def __init__(self, config: Config, memories: tuple[Memory, ...]):
        self.config = config
        self.memories = memories
        arrival = ArrivalLayout(config, memories)
        super().__init__(
            {
                "put": In(1),
                "arrival": In(arrival),
                "words": Out(WordsSignature(config.bus_bits)),
                "pad": In(1),
                "pad_index": In(ELEMENT_BITS),
                "pad_memory": In(arrival["memory"].shape),
                "pad_bank": In(config.bank_bits),
                "discard": In(1),
                "ended": Out(1),
                "ended_slot": Out(range(IN_FLIGHT)),
                "waits": Out(1),
                "waits_for_many": Out(1),
                "error": Out(Fault),
                **fill_members(config, memories),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = Words(self.config, self.memories)
        oldest = self._next_arrival(m, words)
        for buffer in buffers_of(self.memories):
            self._fill(m, words, oldest, buffer)
        return m

    def _next_arrival(self, m: Module, words: Words) -> Interface:
        """Keep the LOADs in their order; return the oldest."""
        arrival = Signal.like(self.arrival)
        oldest = Signal.like(self.arrival)
        m.submodules.behind = behind = SyncFIFO(width=len(arrival.as_value()), depth=IN_FLIGHT)
        none_behind = behind.r_level == 0
        free = Signal()
        begun = Signal()
        m.d.comb += [
            free.eq(~self.waits | self.ended),
            begun.eq(free & (self.put | ~none_behind)),
            arrival.eq(Mux(none_behind, self.arrival.as_value(), behind.r_data)),
            behind.w_data.eq(self.arrival.as_value()),
            behind.w_en.eq(self.put & ~(free & none_behind)),
            behind.r_en.eq(free),
            words.start.eq(begun),
            words.span.eq(arrival.span),
            words.taken.eq(self.words.valid),
            self.ended.eq(self.words.valid & words.last),
            self.ended_slot.eq(oldest.slot),
            self.waits_for_many.eq(~none_behind),
        ]
        m.d.sync += [
            self.waits.eq(begun | (self.waits & ~self.ended)),
            self.error.valid.eq(self.words.valid & self.words.error),
            self.error.code.eq(ErrorCode.BUS),
            self.error.index.eq(oldest.index),
        ]
        with m.If(begun):
            m.d.sync += oldest.eq(arrival)
        return oldest

    def _fill(self, m: Module, words: Words, oldest: Interface, buffer: Memory) -> None:
        """Bring words and pads of one buffer to its port, through a register."""
        shape, fill = BankShape(self.config, buffer), getattr(self, f"fill_{name(buffer)}")
        count = getattr(self, f"{name(buffer)}_bytes")
        lanes = Signal(shape.banks)
        chunks = Signal(shape.chunks)
        index = Signal(shape.index_bits)
        loaded = Signal.like(count)
        extend = Signal()
        kinds = [kind for kind in self.memories if buffer_of(kind) is buffer]
        with m.If(self.words.valid), m.Switch(oldest.memory):
            for kind in kinds:
                parts = units_per_element(self.config, kind)
                part = words.position[: log2(parts)]
                used = words.lanes[: units_per_word(self.config, kind)]
                each = unit_bytes(self.config, kind) * (4 if kind is Memory.ACC_8BIT else 1)
                together = shape.chunks // parts
                with m.Case(kind):
                    m.d.comb += [
                        lanes.eq(used),
                        chunks.eq(Cat((part == i).replicate(together) for i in range(parts))),
                        index.eq(words.position >> log2(parts)),
                        loaded.eq(words.units << log2(each)),
                        extend.eq(kind is Memory.ACC_8BIT),
                    ]
        with m.Elif(self.pad & self.pad_memory.matches(*kinds)):
            m.d.comb += [lanes.eq(1), chunks.eq(-1), index.eq(self.pad_index)]
        kept_lanes = Signal(shape.banks)
        m.d.sync += [
            kept_lanes.eq(lanes),
            fill.chunks.eq(chunks),
            fill.index.eq(index),
            fill.data.eq(Mux(self.words.valid, self.words.data, 0)),
            count.eq(loaded),
        ]
        m.d.comb += fill.lanes.eq(Mux(self.discard, 0, kept_lanes))
        if buffer is Memory.ACC:
            m.d.sync += [
                fill.extend.eq(extend),
                fill.bank.eq(Mux(self.words.valid, oldest.bank, self.pad_bank)),
            ]
