"""One memory for three: the accelerator's reads and writes, and the host's words."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from ..hw.axi import ReadSignature, WriteSignature
from ..isa.config import PAGE_BYTES, Config
from ..isa.costs import MAX_BURST_WORDS
from .signals import ADDRESS_BITS, BurstSignature, Interface, WordSignature

OKAY, DECODE_ERROR = 0, 3  # xRESP; IHI 0022E, A3.4.4


class MemoryBus(wiring.Component):
    """Hand a memory one burst after the other: the host's first, then writes and reads in turn.

    A burst is read when there is room for all of it, and written when all of it has come, so that
    the memory never waits. Page 0 and what lies beyond the memory is refused to the accelerator;
    page 0 is memory to the host.

    Parameters
    ----------
    config : Config
    memory_bytes : int

    Members
    -------
    read : In(ReadSignature(config.bus_bits))
    write : In(WriteSignature(config.bus_bits))
    host : In(WordSignature())
    memory : Out(BurstSignature(config.bus_bits))
    """

    read: Interface
    write: Interface
    host: Interface
    memory: Interface

    def __init__(self, config: Config, memory_bytes: int):
        self.config = config
        self.memory_bytes = memory_bytes
        super().__init__(
            {
                "read": In(ReadSignature(config.bus_bits)),
                "write": In(WriteSignature(config.bus_bits)),
                "host": In(WordSignature()),
                "memory": Out(BurstSignature(config.bus_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, memory, host = self.config, self.memory, self.host
        width, nbytes = config.bus_bits, config.bus_bytes
        log2_bytes = nbytes.bit_length() - 1
        m.submodules.coming = coming = SyncFIFOBuffered(width=width, depth=MAX_BURST_WORDS)
        m.submodules.going = going = SyncFIFOBuffered(
            width=width + nbytes, depth=2 * MAX_BURST_WORDS
        )

        # Reads: a burst's words wait in `coming` for R.
        read = self.read
        read_id, words_out = Signal(), Signal(range(MAX_BURST_WORDS + 1))
        refusing = Signal()
        reading = Signal()  # the words of a burst are on their way, from grant to last
        m.d.comb += [
            coming.w_data.eq(memory.found_data),
            read.rdata.eq(coming.r_data),
            read.rid.eq(read_id),
            read.rresp.eq(Mux(refusing, DECODE_ERROR, OKAY)),
            read.rvalid.eq(coming.r_rdy | (reading & refusing)),
            read.rlast.eq(words_out == 1),
            coming.r_en.eq(read.rready & ~refusing),
        ]
        with m.If(read.rvalid & read.rready):
            m.d.sync += words_out.eq(words_out - 1)
            with m.If(words_out == 1):
                m.d.sync += reading.eq(0)

        # Writes: a burst's words wait in `going` until all of them are there.
        write = self.write
        address, words, write_id = (
            Signal(ADDRESS_BITS),
            Signal(range(MAX_BURST_WORDS + 1)),
            Signal(),
        )
        has_address = Signal()
        m.d.comb += [
            write.awready.eq(~has_address),
            write.wready.eq(going.w_rdy),
            going.w_en.eq(write.wvalid),
            going.w_data.eq(write.wdata | write.wstrb << width),
            write.bid.eq(write_id),
        ]
        with m.If(write.awvalid & write.awready):
            m.d.sync += [
                has_address.eq(1),
                address.eq(write.awaddr),
                words.eq(write.awlen + 1),
                write_id.eq(write.awid),
            ]
        with m.If(write.bready):
            m.d.sync += write.bvalid.eq(0)

        lane = host.address[2:log2_bytes] if log2_bytes > 2 else Const(0, 1)
        own = Signal()  # the burst is the host's
        m.d.comb += [
            memory.data.eq(Mux(own, host.data.replicate(width // 32), going.r_data[:width])),
            memory.strobe.eq(Mux(own, Const(0xF, nbytes) << (lane * 4), going.r_data[width:])),
        ]
        was_write = Signal()
        with m.FSM(name="bursts"):
            with m.State("IDLE"):
                may_read = read.arvalid & ~reading
                may_write = has_address & ~write.bvalid & (going.r_level >= words)
                with m.If(host.valid):
                    m.d.sync += [
                        own.eq(1),
                        memory.write.eq(host.write),
                        memory.words.eq(1),
                        memory.address.eq(host.address >> log2_bytes),
                    ]
                    m.next = "HOST"
                    with m.If(host.address >= self.memory_bytes):
                        m.next = "NO_SUCH_WORD"
                with m.Elif(may_write & ~(may_read & was_write)):
                    m.d.sync += [
                        own.eq(0),
                        was_write.eq(1),
                        memory.write.eq(1),
                        memory.words.eq(words),
                        memory.address.eq(address >> log2_bytes),
                    ]
                    m.next = "WRITE"
                    with m.If(self._is_outside(address)):
                        m.next = "DROP"
                with m.Elif(may_read):
                    m.d.comb += read.arready.eq(1)
                    m.d.sync += [
                        own.eq(0),
                        was_write.eq(0),
                        memory.write.eq(0),
                        memory.words.eq(read.arlen + 1),
                        memory.address.eq(read.araddr >> log2_bytes),
                        read_id.eq(read.arid),
                        words_out.eq(read.arlen + 1),
                        reading.eq(1),
                    ]
                    outside = self._is_outside(read.araddr)
                    m.d.sync += refusing.eq(outside)
                    with m.If(~outside):
                        m.next = "READ"
            with m.State("HOST"):
                m.d.comb += memory.valid.eq(1)
                kept = Signal(width)
                with m.If(memory.found):
                    m.d.sync += kept.eq(memory.found_data)
                with m.If(memory.ready):
                    found = Mux(memory.found, memory.found_data, kept)
                    m.d.comb += [host.done.eq(1), host.found.eq(found.word_select(lane, 32))]
                    m.next = "IDLE"
            with m.State("NO_SUCH_WORD"):
                m.d.comb += [host.done.eq(1), host.refused.eq(1)]
                m.next = "IDLE"
            with m.State("READ"):
                m.d.comb += [memory.valid.eq(1), coming.w_en.eq(memory.found)]
                with m.If(memory.ready):
                    m.next = "IDLE"
            with m.State("WRITE"):
                m.d.comb += [memory.valid.eq(1), going.r_en.eq(memory.next)]
                with m.If(memory.ready):
                    m.d.sync += [has_address.eq(0), write.bvalid.eq(1), write.bresp.eq(OKAY)]
                    m.next = "IDLE"
            with m.State("DROP"):
                m.d.comb += going.r_en.eq(1)
                m.d.sync += memory.words.eq(memory.words - 1)
                with m.If(memory.words == 1):
                    m.d.sync += [has_address.eq(0), write.bvalid.eq(1)]
                    m.d.sync += write.bresp.eq(DECODE_ERROR)
                    m.next = "IDLE"
        return m

    def _is_outside(self, address: Value) -> Value:
        """Return whether a burst begins in page 0, or begins or ends beyond the memory.

        A burst does not cross a page, and the memory ends with one.
        """
        return (address < PAGE_BYTES) | (address >= self.memory_bytes)
