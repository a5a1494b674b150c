"""Fetch: the program in bursts, handed on one instruction a cycle."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..isa.config import DRAM_ADDRESS_BITS, INSTRUCTION_BITS, Config
from ..isa.costs import FETCH_BUFFER_BURSTS, FETCH_BURST
from ..isa.registers import ErrorCode
from .ports import INDEX_BITS, Command, Fault, Interface, ReaderSignature

INSTRUCTION_BYTES = INSTRUCTION_BITS // 8
BURST_BYTES = FETCH_BURST * INSTRUCTION_BYTES


class Fetch(wiring.Component):
    """Read a program and hand on its instructions in their order.

    Parameters
    ----------
    config : Config

    Members
    -------
    start : In(1)
        Begin in the next cycle, which is cycle 0 of the run: the request for burst 0 stands in it.
        Only while `idle`.
    address : In(32)
        Of the program, valid with `start`; the low 8 bits count as zero.
    count : In(32)
        Instructions in it, valid with `start`.
    command : Out(stream.Signature(Command))
        The next instruction; ready where the queue of its unit has room.
    last : Out(1)
        It is the program's last; valid with `command.valid`.
    idle : Out(1)
        All instructions have been handed on, at the beginning of the cycle.
    reader : Out(ReaderSignature(config.bus_bits))
    error : Out(Fault)
        BUS, with the first instruction of the word that memory refused; in the cycle after it.
        Nothing is handed on from then on.
    halt : In(1)
        No request that does not stand yet; nothing is handed on.
    drained : Out(1)
        While `halt`: no request stands. Words on their way are known to `ReadChannel.drained`.
    """

    start: Signal
    address: Signal
    count: Signal
    command: Interface
    last: Signal
    idle: Signal
    reader: Interface
    error: Interface
    halt: Signal
    drained: Signal

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "address": In(DRAM_ADDRESS_BITS),
                "count": In(INDEX_BITS),
                "command": Out(stream.Signature(Command)),
                "last": Out(1),
                "idle": Out(1),
                "reader": Out(ReaderSignature(config.bus_bits)),
                "error": Out(Fault),
                "halt": In(1),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        freed = self._hand_on(m)
        self._ask(m, freed)
        return m

    def _ask(self, m: Module, freed: Value) -> None:
        """Ask for bursts while the buffer has room for one."""
        request = self.reader.request
        address = Signal(DRAM_ADDRESS_BITS - (BURST_BYTES - 1).bit_length())  # in bursts
        behind = Signal(INDEX_BITS)  # instructions after those of the next burst
        words = Signal(range(BURST_BYTES // self.config.bus_bytes + 1))  # of the next burst
        held = Signal(range(FETCH_BUFFER_BURSTS + 1))  # bursts asked for and not all handed on
        granted = Signal()
        stands = Signal()
        wanted = (words != 0) & (held != FETCH_BUFFER_BURSTS)
        m.d.comb += [
            request.valid.eq(wanted & (~self.halt | stands)),
            request.payload.address.eq(address << BURST_BYTES.bit_length() - 1),
            request.payload.words.eq(words),
            granted.eq(request.valid & request.ready),
            self.drained.eq(~request.valid),
        ]
        m.d.sync += [stands.eq(request.valid & ~request.ready), held.eq(held + granted - freed)]
        left = Signal(INDEX_BITS)
        m.d.comb += left.eq(Mux(self.start, self.count, behind))
        with m.If(self.start | granted):
            m.d.sync += [
                words.eq(
                    self._words(
                        Mux(left < FETCH_BURST, left[: FETCH_BURST.bit_length()], FETCH_BURST)
                    )
                ),
                behind.eq(Mux(left < FETCH_BURST, 0, left - FETCH_BURST)),
                address.eq(address + 1),
            ]
        with m.If(self.start):
            m.d.sync += [address.eq(self.address[BURST_BYTES.bit_length() - 1 :]), held.eq(0)]

    def _words(self, count: Value) -> Value:
        """Return how many bus words hold that many instructions."""
        bus = self.config.bus_bytes
        if bus <= INSTRUCTION_BYTES:
            return count * (INSTRUCTION_BYTES // bus)
        together = bus // INSTRUCTION_BYTES
        return (count + together - 1) >> together.bit_length() - 1

    def _hand_on(self, m: Module) -> Value:
        """Keep the words that come, hand on instructions; return the pulse that ends a burst."""
        bus, words = self.config.bus_bytes, self.reader.data
        line_bytes = max(bus, INSTRUCTION_BYTES)
        together, chunks = line_bytes // INSTRUCTION_BYTES, line_bytes // bus
        held = FETCH_BUFFER_BURSTS * FETCH_BURST
        m.submodules.lines = lines = Memory(shape=8 * line_bytes, depth=held // together, init=[])
        write = lines.write_port(granularity=8 * bus)
        read = lines.read_port(domain="comb")

        arriving = Signal(INDEX_BITS)  # the first instruction of the next word
        chunk = Signal(range(chunks))
        whole = Signal()
        taken = Signal()
        failed = Signal()
        ready = Signal(range(held + together))  # instructions that can be handed on
        index = Signal(INDEX_BITS)
        left = Signal(INDEX_BITS)
        line_bit = together.bit_length() - 1
        m.d.comb += [
            whole.eq(words.valid & (chunk == chunks - 1)),
            write.addr.eq(arriving >> line_bit),
            write.data.eq(words.data.replicate(chunks)),
            write.en.eq(words.valid << chunk),
            read.addr.eq(index >> line_bit),
            self.command.valid.eq((ready != 0) & (left != 0) & ~failed & ~self.halt),
            self.command.payload.insn.eq(read.data.word_select(index[:line_bit], INSTRUCTION_BITS)),
            self.command.payload.index.eq(index),
            self.last.eq(left == 1),
            self.idle.eq(left == 0),
            taken.eq(self.command.valid & self.command.ready),
        ]
        m.d.sync += [
            self.error.valid.eq(words.valid & words.error & ~failed),
            self.error.code.eq(ErrorCode.BUS),
            self.error.index.eq(arriving),
            ready.eq(ready + Mux(whole, together, 0) - taken),
        ]
        with m.If(words.valid):
            m.d.sync += [chunk.eq(Mux(whole, 0, chunk + 1)), failed.eq(failed | words.error)]
        with m.If(whole):
            m.d.sync += arriving.eq(arriving + together)
        with m.If(taken):
            m.d.sync += [index.eq(index + 1), left.eq(left - 1)]
        with m.If(self.start):
            m.d.sync += [
                arriving.eq(0),
                ready.eq(0),
                index.eq(0),
                left.eq(self.count),
                failed.eq(0),
            ]
        ends_burst = index[: FETCH_BURST.bit_length() - 1].all()
        return taken & ends_burst
