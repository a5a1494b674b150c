"""LOAD: rows of memory into the buffers of a unit, with zeros around."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from ..isa.config import Config
from ..isa.instructions import Load, Memory
from ..isa.registers import ErrorCode
from .layouts import bank_of, layout
from .pads import ELEMENT_BITS, Pads
from .ports import Interface, ReaderSignature, engine_members
from .receive import Receiver, fill_members
from .transfer import Bursts, log2, rows_of, units_per_element, units_per_word

_KEPT = ("memory", "sram_base", "x_size", "y_size", "y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1")


class LoadEngine(wiring.Component):
    """Execute the LOADs of one unit, up to `IN_FLIGHT` of them at once.

    In front, one LOAD at a time: it asks for its bursts and writes its pads. At the back, the words
    of those before it and its own arrive, in the order in which they were asked for.

    Parameters
    ----------
    config : Config
    memories : tuple of Memory
        What this unit loads: (INP, WGT), or (UOP, ACC, ACC_8BIT).

    Members
    -------
    start, command, slot, front_free, written, error, halt, drained
        See `ports.engine_members`. Errors are SRAM_RANGE and BUS; the memory must be one of
        `memories`.
    reader : Out(ReaderSignature(config.bus_bits))
    fill_uop, fill_acc, uop_bytes, acc_bytes, or fill_inp, fill_wgt, inp_bytes, wgt_bytes
        See `receive.fill_members`. A word comes out in the cycle after it arrived.
    """

    start: Signal
    command: Interface
    slot: Signal
    front_free: Signal
    written: Signal
    error: Interface
    halt: Signal
    drained: Signal
    reader: Interface
    fill_uop: Interface
    fill_acc: Interface
    fill_inp: Interface
    fill_wgt: Interface
    uop_bytes: Signal
    acc_bytes: Signal
    inp_bytes: Signal
    wgt_bytes: Signal

    def __init__(self, config: Config, memories: tuple[Memory, ...]):
        self.config = config
        self.memories = memories
        super().__init__(
            {
                **engine_members(),
                "reader": Out(ReaderSignature(config.bus_bits)),
                **fill_members(config, memories),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bursts = bursts = Bursts(self.config, self.memories)
        m.submodules.pads = pads = Pads()
        m.submodules.receiver = receiver = Receiver(self.config, self.memories)
        front = Signal(self._front_layout())
        preparing = Signal()  # in cycle s + 1
        has_data = Signal()
        self._take(m, front, bursts)
        self._place(m, front, pads, receiver)
        m.d.sync += preparing.eq(self.start)
        m.d.comb += [
            has_data.eq((front.x_size != 0) & (front.y_size != 0)),
            pads.start.eq(preparing & (front.x_size != 0)),
            receiver.put.eq(preparing & has_data),
            self.front_free.eq(~preparing & ~bursts.burst.valid & ~pads.pending),
        ]
        self._ask(m, bursts)
        self._connect(m, receiver)
        self._check(m, front, pads.start, receiver)

        # What waits for words: nothing, the LOAD in front alone, or earlier ones.
        front_waits = Signal()
        only_front = Signal()
        front_ended = Signal()
        pads_done = Signal()
        nothing_to_do = Signal()
        m.d.comb += [
            only_front.eq(front_waits & ~receiver.waits_for_many),
            front_ended.eq(receiver.ended & only_front & ~preparing),
            receiver.pad.eq(pads.pending & (~receiver.waits | only_front)),
            receiver.pad_index.eq(pads.index),
            receiver.pad_memory.eq(front.memory),
            receiver.pad_bank.eq(front.bank),
            pads.taken.eq(receiver.pad & ~self.reader.data.valid),
            pads_done.eq(pads.taken & pads.last & ~front_waits),
            nothing_to_do.eq(preparing & ~has_data & ~(pads.start & pads.any)),
        ]
        with m.If(preparing):
            m.d.sync += front_waits.eq(has_data)
        with m.Elif(front_ended):
            m.d.sync += front_waits.eq(0)
        with m.If(receiver.ended & ~(front_ended & pads.pending)):
            m.d.comb += self.written.bit_select(receiver.ended_slot, 1).eq(1)
        with m.If(pads_done | nothing_to_do):
            m.d.comb += self.written.bit_select(front.slot, 1).eq(1)
        return m

    def _front_layout(self) -> data.StructLayout:
        """Return what is kept of the LOAD in front, from cycle s + 1 on."""
        insn = layout(Load, self.config)
        lane_bits = max(log2(units_per_word(self.config, memory)) for memory in self.memories)
        return data.StructLayout(
            {
                **{field: insn[field].shape for field in _KEPT},
                "bank": self.config.bank_bits,
                "lane": lane_bits,  # the place in the bus word that the first row begins at
                "stride": lane_bits,  # how far it moves from row to row
                "width": ELEMENT_BITS,  # elements of a row with its pads
                "rows_before_below": ELEMENT_BITS,
                "slot": self.slot.shape(),
                "index": self.command.index.shape(),
            }
        )

    def _take(self, m: Module, front: Interface, bursts: Bursts) -> None:
        """In cycle s: split the instruction up, and set its bursts going."""
        insn = layout(Load, self.config)(self.command.insn)
        m.d.comb += bursts.start.eq(self.start)
        with m.Switch(insn.memory):
            for memory in self.memories:
                with m.Case(memory):
                    rows = rows_of(insn, self.config, memory)
                    m.d.comb += [bursts.rows[field].eq(value) for field, value in rows.items()]
        with m.If(self.start):
            m.d.sync += [
                *(front[field].eq(insn[field]) for field in _KEPT),
                front.bank.eq(bank_of(self.command.insn, self.config)),
                front.lane.eq(insn.dram_base),
                front.stride.eq(insn.x_stride),
                front.width.eq(insn.x_pad_0 + insn.x_size + insn.x_pad_1),
                front.rows_before_below.eq(insn.y_pad_0 + insn.y_size),
                front.slot.eq(self.slot),
                front.index.eq(self.command.index),
            ]

    def _place(self, m: Module, front: Interface, pads: Pads, receiver: Receiver) -> None:
        """In cycle s + 1: find out where in the buffer rows and pads go."""
        area, arrival = pads.area, receiver.arrival
        first = Signal(ELEMENT_BITS)
        m.d.comb += [
            area.begin.eq(front.sram_base),
            area.above.eq(front.y_pad_0 * front.width),
            area.below.eq(self._below(front)),
            area.under.eq(self._under(front)),
            area.left.eq(front.x_pad_0),
            area.right.eq(front.x_pad_1),
            area.x_size.eq(front.x_size),
            area.y_size.eq(front.y_size),
            first.eq(area.begin + area.above + area.left),
            arrival.memory.eq(front.memory),
            arrival.bank.eq(front.bank),
            arrival.slot.eq(front.slot),
            arrival.index.eq(front.index),
        ]
        with m.Switch(front.memory):
            for memory in self.memories:
                parts = log2(units_per_element(self.config, memory))
                step = units_per_word(self.config, memory)
                with m.Case(memory):
                    m.d.comb += [
                        arrival.span.position.eq(first << parts),
                        arrival.span.lane.eq(front.lane[: log2(step)]),
                        arrival.span.length.eq(front.x_size << parts),
                        arrival.span.width.eq(front.width << parts),
                        arrival.span.stride.eq(front.stride[: log2(step)]),
                        arrival.span.count.eq(front.y_size),
                        arrival.span.step.eq(step),
                    ]

    def _ask(self, m: Module, bursts: Bursts) -> None:
        """Ask for the bursts; while `halt`, only for one that stands."""
        request = self.reader.request
        stands = Signal()
        m.d.comb += [
            request.valid.eq(bursts.burst.valid & (~self.halt | stands)),
            request.payload.address.eq(bursts.burst.payload.address),
            request.payload.words.eq(bursts.burst.payload.words),
            bursts.burst.ready.eq(request.valid & request.ready),
            self.drained.eq(~request.valid),
        ]
        m.d.sync += stands.eq(request.valid & ~request.ready)

    def _connect(self, m: Module, receiver: Receiver) -> None:
        """Hand words to the receiver, and its fills and counts on."""
        words = self.reader.data
        m.d.comb += [
            receiver.words.valid.eq(words.valid),
            receiver.words.data.eq(words.data),
            receiver.words.error.eq(words.error),
        ]
        for member in fill_members(self.config, self.memories):
            inner, outer = getattr(receiver, member), getattr(self, member)
            if isinstance(outer, Signal):
                m.d.comb += outer.eq(inner)
            else:
                wiring.connect(m, inner, wiring.flipped(outer))

    def _check(self, m: Module, front: Interface, placed: Signal, receiver: Receiver) -> None:
        """In cycle s + 2: see whether all elements are in the buffer; else nothing gets there.

        `placed` is high in cycle s + 1 of a LOAD that has elements.
        """
        below, under = self._below(front), self._under(front)
        kept_below = Signal.like(below)
        kept_under = Signal.like(under)
        limit = Signal(ELEMENT_BITS)
        checking = Signal()
        outside = Signal()
        with m.Switch(front.memory):
            for memory in self.memories:
                with m.Case(memory):
                    m.d.comb += limit.eq(memory.depth(self.config))
        m.d.sync += [checking.eq(placed), kept_below.eq(below), kept_under.eq(under)]
        m.d.comb += [
            outside.eq(checking & (kept_below + kept_under > limit)),
            self.error.valid.eq(receiver.error.valid | outside),
            self.error.code.eq(
                Mux(receiver.error.valid, receiver.error.code, ErrorCode.SRAM_RANGE)
            ),
            self.error.index.eq(Mux(receiver.error.valid, receiver.error.index, front.index)),
        ]
        with m.If(outside):
            m.d.sync += receiver.discard.eq(1)

    def _below(self, front: Interface) -> Value:
        """Return the first element of the rows of pads after those with data."""
        return front.sram_base + front.rows_before_below * front.width

    def _under(self, front: Interface) -> Value:
        """Return how many elements these rows have."""
        return front.y_pad_1 * front.width
