"""STORE: rows of the output buffer into memory."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory as Storage
from amaranth.lib.wiring import Out

from ..isa.config import Config
from ..isa.costs import IN_FLIGHT
from ..isa.instructions import Memory, Store
from ..isa.registers import ErrorCode
from .axi import WriteSignature
from .layouts import bank_of, layout
from .ports import INDEX_BITS, Interface, OutSignature, engine_members
from .transfer import (
    ROW_BITS,
    Bursts,
    Words,
    log2,
    rows_of,
    unit_bytes,
    units_per_element,
    units_per_word,
)
from .write import WriteChannel


class StoreEngine(wiring.Component):
    """Execute STOREs, up to `IN_FLIGHT` of them at once.

    A word takes three steps, one a cycle: it is asked of the output buffer, read, and on the bus.
    When it cannot move on, those behind it stand still.

    Parameters
    ----------
    config : Config

    Members
    -------
    start, command, slot, front_free, written, error, halt, drained
        See `ports.engine_members`. Errors are SRAM_RANGE and BUS.
    out : Out(OutSignature(config))
        To `AccBuffer.out`.
    axi : Out(WriteSignature(config.bus_bits))
        A word is written where wvalid & wready.
    out_bytes : Out(range(config.bus_bytes + 1))
        What the counter rises by in this cycle.
    """

    start: Signal
    command: Interface
    slot: Signal
    front_free: Signal
    written: Signal
    error: Interface
    halt: Signal
    drained: Signal
    out: Interface
    axi: Interface
    out_bytes: Signal

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                **engine_members(),
                "out": Out(OutSignature(config)),
                "axi": Out(WriteSignature(config.bus_bits)),
                "out_bytes": Out(range(config.bus_bytes + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memories = (Memory.OUT,)
        m.submodules.bursts = bursts = Bursts(self.config, memories)
        m.submodules.words = words = Words(self.config, memories)
        m.submodules.channel = channel = WriteChannel(self.config)
        insn = layout(Store, self.config)(self.command.insn)
        parts = log2(units_per_element(self.config, Memory.OUT))
        step = units_per_word(self.config, Memory.OUT)

        # Cycle s: rows and words set going. A STORE of nothing takes until s + 2.
        slot = Signal.like(self.slot)
        index = Signal(INDEX_BITS)
        bank = Signal(self.config.bank_bits)
        busy = Signal()
        of_nothing = Signal()
        second = Signal()
        third = Signal()
        rows, span = rows_of(insn, self.config, Memory.OUT), words.span
        m.d.comb += [
            *(bursts.rows[field].eq(value) for field, value in rows.items()),
            span.position.eq(insn.sram_base << parts),
            span.lane.eq(insn.dram_base),
            span.length.eq(insn.x_size << parts),
            span.width.eq(insn.x_size << parts),
            span.stride.eq(insn.x_stride),
            span.count.eq(insn.y_size),
            span.step.eq(step),
            bursts.start.eq(self.start),
            words.start.eq(self.start),
            self.front_free.eq(~busy),
        ]
        m.d.sync += [second.eq(self.start), third.eq(second)]
        with m.If(self.start):
            m.d.sync += [
                busy.eq(1),
                slot.eq(self.slot),
                index.eq(self.command.index),
                bank.eq(bank_of(self.command.insn, self.config)),
                of_nothing.eq((insn.x_size == 0) | (insn.y_size == 0)),
            ]
        nothing_done = third & of_nothing
        with m.Elif(nothing_done | channel.sent_last):
            m.d.sync += busy.eq(0)

        # Two steps of three; the third is in the channel.
        asks = Signal()
        read = Signal()
        moves = Signal()
        each = unit_bytes(self.config, Memory.OUT)
        m.d.comb += [
            moves.eq(~read | channel.word.ready),
            self.out.en.eq(moves),
            self.out.bank.eq(bank),
            self.out.index.eq(words.position >> parts),
            self.out.chunk.eq(words.position[:parts]),
            words.taken.eq(asks & moves),
            channel.word.valid.eq(read),
            channel.word.payload.data.eq(self.out.data),
        ]
        with m.If(self.start):
            m.d.sync += asks.eq((insn.x_size != 0) & (insn.y_size != 0))
        with m.Elif(moves & words.last):
            m.d.sync += asks.eq(0)
        with m.If(moves):
            m.d.sync += [
                read.eq(asks),
                channel.word.payload.strobe.eq(Cat(lane.replicate(each) for lane in words.lanes)),
                channel.word.payload.count.eq(words.units << log2(each)),
            ]

        wiring.connect(m, bursts.burst, channel.burst)
        wiring.connect(m, channel.axi, wiring.flipped(self.axi))
        m.d.comb += [
            channel.slot.eq(slot),
            self.out_bytes.eq(channel.sent_bytes),
            self.drained.eq(channel.drained),
        ]
        with m.If(nothing_done):
            m.d.comb += self.written.bit_select(slot, 1).eq(1)
        with m.If(channel.responds & channel.response.last):
            m.d.comb += self.written.bit_select(channel.response.slot, 1).eq(1)
        self._check(m, insn, index, third, channel)
        return m

    def _check(
        self, m: Module, insn: Interface, index: Signal, checking: Signal, channel: WriteChannel
    ) -> None:
        """In cycle s + 2: see whether all elements are in the buffer; else nothing is sent.

        `checking` is high in that cycle.
        """
        x_size = Signal(ROW_BITS)
        y_size = Signal(ROW_BITS)
        base = Signal(ROW_BITS)
        count = Signal(2 * ROW_BITS)
        outside = Signal()
        faulty = Signal()
        with m.If(self.start):
            m.d.sync += [x_size.eq(insn.x_size), y_size.eq(insn.y_size), base.eq(insn.sram_base)]
        m.d.sync += count.eq(x_size * y_size)
        depth = Memory.OUT.depth(self.config)
        m.d.comb += [
            outside.eq(checking & (x_size != 0) & (base + count > depth)),
            channel.stop.eq(self.halt | faulty),
        ]
        with m.If(outside):
            m.d.sync += faulty.eq(1)

        # A response may come long after its STORE was in front.
        m.submodules.indices = indices = Storage(shape=INDEX_BITS, depth=IN_FLIGHT, init=[])
        write, read = indices.write_port(), indices.read_port(domain="comb")
        refused = Signal()
        refused_index = Signal(INDEX_BITS)
        m.d.comb += [
            write.en.eq(self.start),
            write.addr.eq(self.slot),
            write.data.eq(self.command.index),
            read.addr.eq(channel.response.slot),
            self.error.valid.eq(refused | outside),
            self.error.code.eq(Mux(refused, ErrorCode.BUS, ErrorCode.SRAM_RANGE)),
            self.error.index.eq(Mux(refused, refused_index, index)),
        ]
        m.d.sync += [
            refused.eq(channel.responds & channel.refused),
            refused_index.eq(read.data),
        ]
