"""The read half of the memory port: requests granted, words handed to those who asked."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from ..isa.costs import BURSTS_IN_FLIGHT, MAX_BURST_WORDS, WORDS_IN_FLIGHT
from .axi import NORMAL_BUFFERABLE, Burst, ReadSignature
from .ports import Interface, ReaderSignature


class ReadChannel(wiring.Component):
    """Grant one standing request a cycle, in the order fetch, compute, load.

    Nothing is granted while `BURSTS_IN_FLIGHT` bursts have not wholly arrived, or `WORDS_IN_FLIGHT`
    words. A request that AR shows stays there until it is taken, whoever asks meanwhile
    (IHI 0022E, A3.2.1).

    Parameters
    ----------
    config : Config

    Members
    -------
    fetch, compute, load : In(ReaderSignature(config.bus_bits))
        What a reader received in a cycle is its `data.valid`.
    axi : Out(ReadSignature(config.bus_bits))
    drained : Out(1)
        No burst is on its way, at the beginning of the cycle.
    """

    fetch: Interface
    compute: Interface
    load: Interface
    axi: Interface
    drained: Signal

    def __init__(self, config: Config):
        self.config = config
        reader = In(ReaderSignature(config.bus_bits))
        super().__init__(
            {
                "fetch": reader,
                "compute": reader,
                "load": reader,
                "axi": Out(ReadSignature(config.bus_bits)),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axi, readers = self.axi, (self.fetch, self.compute, self.load)
        # Of each burst on its way, the reader. A word can come in the cycle of its burst's grant.
        m.submodules.owners = owners = SyncFIFO(width=2, depth=BURSTS_IN_FLIGHT)
        words = Signal(range(WORDS_IN_FLIGHT + MAX_BURST_WORDS))

        shown = Signal()
        shown_reader = Signal(2)
        wanted = Signal(2)
        chosen = Signal(2)
        for number, reader in reversed(list(enumerate(readers))):
            with m.If(reader.request.valid):
                m.d.comb += wanted.eq(number)
        m.d.comb += chosen.eq(Mux(shown, shown_reader, wanted))
        m.d.sync += [shown.eq(axi.arvalid & ~axi.arready), shown_reader.eq(chosen)]

        granted = Signal()
        request = Signal.like(self.fetch.request.payload)
        may_ask = (owners.r_level != BURSTS_IN_FLIGHT) & (words < WORDS_IN_FLIGHT)
        m.d.comb += granted.eq(axi.arvalid & axi.arready)
        for number, reader in enumerate(readers):
            with m.If(chosen == number):
                m.d.comb += [
                    request.eq(reader.request.payload),
                    axi.arvalid.eq(reader.request.valid & may_ask),
                    reader.request.ready.eq(granted),
                ]
        m.d.comb += [
            axi.araddr.eq(request.address),
            axi.arlen.eq(request.words - 1),
            axi.arsize.eq(self.config.bus_bytes.bit_length() - 1),
            axi.arburst.eq(Burst.INCR),
            axi.arcache.eq(NORMAL_BUFFERABLE),
            axi.rready.eq(1),
        ]

        none = Signal()
        owner = Signal(2)
        ended = Signal()
        m.d.comb += [
            none.eq(owners.r_level == 0),
            owner.eq(Mux(none, chosen, owners.r_data)),
            ended.eq(axi.rvalid & axi.rlast),
            owners.w_data.eq(chosen),
            owners.w_en.eq(granted & ~(none & ended)),
            owners.r_en.eq(ended),
            self.drained.eq(none & ~shown),
        ]
        m.d.sync += words.eq(words + Mux(granted, request.words, 0) - axi.rvalid)
        for number, reader in enumerate(readers):
            m.d.comb += [
                reader.data.valid.eq(axi.rvalid & (owner == number)),
                reader.data.data.eq(axi.rdata),
                reader.data.error.eq(axi.rresp != 0),
            ]
        return m
