"""The write half of the memory port: bursts begun, words sent, responses told to their STOREs."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from ..isa.costs import BURSTS_IN_FLIGHT, IN_FLIGHT, MAX_BURST_WORDS
from .axi import NORMAL_BUFFERABLE, Burst, WriteSignature
from .ports import Interface
from .transfer import BurstLayout, log2

Response = data.StructLayout({"slot": range(IN_FLIGHT), "last": 1})
"""Whom a response concerns: the STORE in a slot, and whether it is its last one."""


class WordLayout(data.StructLayout):
    """A bus word, a bit for each byte of it that is written, and how many bytes these are."""

    def __init__(self, config: Config):
        super().__init__(
            {
                "data": config.bus_bits,
                "strobe": config.bus_bytes,
                "count": range(config.bus_bytes + 1),
            }
        )


class WriteChannel(wiring.Component):
    """Send the words of bursts in their order, one a cycle.

    A burst begins - its address and its first word are on the bus - only when fewer than
    `BURSTS_IN_FLIGHT` earlier ones have had no response in an earlier cycle.

    Parameters
    ----------
    config : Config

    Members
    -------
    burst : In(stream.Signature(BurstLayout()))
        Must be there when its first word is.
    word : In(stream.Signature(WordLayout(config)))
        On the bus from the next cycle on.
    slot : In(range(IN_FLIGHT))
        Of the STORE whose words are sent.
    stop : In(1)
        Begin no burst.
    axi : Out(WriteSignature(config.bus_bits))
    sent_bytes : Out(range(config.bus_bytes + 1))
        Bytes written by the word that goes in this cycle.
    sent_last : Out(1)
        It is the last word of its STORE.
    responds : Out(1)
        A response arrives in this cycle.
    response : Out(Response)
    refused : Out(1)
        It says that memory refused the burst.
    drained : Out(1)
        All bursts begun have had their response, at the beginning of the cycle.
    """

    burst: Interface
    word: Interface
    slot: Signal
    stop: Signal
    axi: Interface
    sent_bytes: Signal
    sent_last: Signal
    responds: Signal
    response: Interface
    refused: Signal
    drained: Signal

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "burst": In(stream.Signature(BurstLayout())),
                "word": In(stream.Signature(WordLayout(config))),
                "slot": In(range(IN_FLIGHT)),
                "stop": In(1),
                "axi": Out(WriteSignature(config.bus_bits)),
                "sent_bytes": Out(range(config.bus_bytes + 1)),
                "sent_last": Out(1),
                "responds": Out(1),
                "response": Out(Response),
                "refused": Out(1),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axi = self.axi
        word = Signal.like(self.word.payload)  # on the bus, or about to be
        held = Signal()
        burst = Signal.like(self.burst.payload)  # the burst it belongs to
        left = Signal(range(MAX_BURST_WORDS))  # words of the burst after it
        asks = Signal()  # the burst's address has not been taken
        begun = Signal()
        begins = Signal()
        unanswered = Signal(range(BURSTS_IN_FLIGHT + 1))

        sent = Signal()
        follows = Signal()
        takes = Signal()
        m.d.comb += [
            begins.eq(held & ~begun & (unanswered != BURSTS_IN_FLIGHT) & ~self.stop),
            axi.awvalid.eq(asks & (begun | begins)),
            axi.awaddr.eq(burst.address),
            axi.awlen.eq(burst.words - 1),
            axi.awsize.eq(log2(self.config.bus_bytes)),
            axi.awburst.eq(Burst.INCR),
            axi.awcache.eq(NORMAL_BUFFERABLE),
            axi.wvalid.eq(held & (begun | begins)),
            axi.wdata.eq(word.data),
            axi.wstrb.eq(word.strobe),
            axi.wlast.eq(left == 0),
            axi.bready.eq(1),
            sent.eq(axi.wvalid & axi.wready),
            self.sent_last.eq(sent & axi.wlast & burst.last),
        ]
        with m.If(sent):
            m.d.comb += self.sent_bytes.eq(word.count)
        m.d.comb += [
            # The next word belongs to this burst, or the next burst's address finds room.
            follows.eq((left != 0) | ~(asks & ~(axi.awvalid & axi.awready))),
            self.word.ready.eq((~held | sent) & follows),
            takes.eq(self.word.valid & self.word.ready),
            self.burst.ready.eq(takes & (left == 0)),
        ]
        m.d.sync += [
            held.eq(takes | (held & ~sent)),
            begun.eq(begun | begins),
            asks.eq(asks & ~(axi.awvalid & axi.awready)),
        ]
        with m.If(takes):
            m.d.sync += [word.eq(self.word.payload), left.eq(left - 1)]
        with m.If(self.burst.ready):
            m.d.sync += [
                burst.eq(self.burst.payload),
                left.eq(self.burst.payload.words - 1),
                asks.eq(1),
                begun.eq(0),
            ]
        self._respond(m, begins, burst.last, unanswered)
        return m

    def _respond(self, m: Module, begins: Signal, last: Signal, unanswered: Signal) -> None:
        """Keep whom the responses to bursts concern; one may come in the cycle of its burst."""
        m.submodules.owners = owners = SyncFIFO(
            width=len(self.response.as_value()), depth=BURSTS_IN_FLIGHT
        )
        none = Signal()
        beginning = Signal(Response)
        m.d.comb += [
            none.eq(unanswered == 0),
            beginning.slot.eq(self.slot),
            beginning.last.eq(last),
            owners.w_data.eq(beginning.as_value()),
            owners.w_en.eq(begins & ~(none & self.axi.bvalid)),
            owners.r_en.eq(self.axi.bvalid),
            self.responds.eq(self.axi.bvalid),
            self.response.eq(owners.r_data),
            self.refused.eq(self.axi.bresp != 0),
            self.drained.eq(none),
        ]
        with m.If(none):
            m.d.comb += self.response.eq(beginning)
        m.d.sync += unanswered.eq(unanswered + begins - self.axi.bvalid)
