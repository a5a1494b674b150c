"""The write channel: AW, W and B keep the rules of AXI4, and all that is given to it goes out."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from vtakit.isa.config import PRESETS

from .cases import Case, Mutant
from .memory import answering
from .proof import Proof, count

BURSTS, LONGEST = 2, 3
CONFIG = PRESETS["tiny"]
MOST = 15


class Channel(Proof):
    """The channel between the bursts and words of STOREs and a memory.

    The memory takes addresses and words at will and each for itself; it answers a burst when it has
    taken both, perhaps in that cycle (IHI 0022E, A3.3.1). One burst and one word are followed.
    """

    def __init__(self, hw: Any) -> None:
        super().__init__()
        self.dut = hw.write.WriteChannel(CONFIG)

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.dut
        axi, burst, word = dut.axi, dut.burst, dut.word
        stop = self.free(1, "stop")
        m.d.comb += [dut.stop.eq(stop), dut.slot.eq(self.free(dut.slot.shape(), "slot"))]
        self._give(m, burst, word)
        addressed, sent = axi.awvalid & axi.awready, axi.wvalid & axi.wready
        answers = answering(self, m, axi)
        begins = axi.awvalid & ~self.past(m, axi.awvalid & ~axi.awready)
        begun = count(m, MOST, begins, name="begun")
        unanswered = (begun - answers)[: len(begun)]

        shown = Cat(axi.awaddr, axi.awlen, axi.awsize, axi.awburst, axi.awcache, axi.awprot)
        self.stands(m, "AW stands", axi.awvalid, axi.awready, shown)
        self.stands(m, "W stands", axi.wvalid, axi.wready, Cat(axi.wdata, axi.wstrb, axi.wlast))
        self.claim(m, "of INCR, of whole words", (axi.awsize == 3) & (axi.awburst == 1))
        self.claim(m, "B is taken at once", axi.bready)
        self.claim(m, "nothing begun while stopped", ~(begins & stop))
        self.claim(m, "not too many unanswered", ~begins | (unanswered < BURSTS))
        self.claim(m, "drained when all is answered", dut.drained == (unanswered == 0))
        held_up = (axi.wvalid & ~axi.wready) | (axi.awvalid & ~axi.awready)
        waits = word.valid & ~word.ready
        full = unanswered == BURSTS
        self.claim(m, "waits for the bus only", ~waits | held_up | full | stop)
        self.reach(m, "as many unanswered as may be", unanswered == BURSTS)
        self._follow(m, addressed, sent, answers)

    def _follow(self, m: Module, addressed: Any, sent: Any, answers: Any) -> None:
        """Claim that what goes out is what came in, of an arbitrary burst and an arbitrary word."""
        dut = self.dut
        axi, burst, word = dut.axi, dut.burst, dut.word
        followed = self.fixed(m, range(4), "followed")
        takes_burst, takes_word = burst.valid & burst.ready, word.valid & word.ready
        bursts = count(m, MOST, takes_burst, name="bursts")
        words = count(m, MOST, takes_word, name="words")
        known, slot = Signal.like(burst.payload), Signal.like(dut.slot)
        data = Signal.like(word.payload)
        with m.If(takes_burst & (bursts == followed)):
            m.d.sync += [known.eq(burst.payload), slot.eq(dut.slot)]
        with m.If(takes_word & (words == followed)):
            m.d.sync += data.eq(word.payload)
        addresses = count(m, MOST, addressed, name="addresses")
        ends = count(m, MOST, sent & axi.wlast, name="ends")
        gone = count(m, MOST, sent, name="gone")
        place = Signal(range(LONGEST + 1))  # words of the burst that went before
        with m.If(sent):
            m.d.sync += place.eq(Mux(axi.wlast, 0, place + 1))

        right = (axi.awaddr == known.address) & (axi.awlen + 1 == known.words)
        own = axi.awvalid & (addresses == followed)
        self.claim(m, "AW is the burst that was given", ~own | right)
        own = axi.wvalid & (ends == followed)
        self.claim(m, "WLAST with the last word", ~own | (axi.wlast == (place + 1 == known.words)))
        same = (axi.wdata == data.data) & (axi.wstrb == data.strobe)
        bytes_right = ~sent | (dut.sent_bytes == data.count)
        own = axi.wvalid & (gone == followed)
        self.claim(m, "a word goes out as it came", ~own | (same & bytes_right))
        self.claim(m, "no word before its address", ~axi.wvalid | (addresses + axi.awvalid > ends))
        self.claim(m, "no address before its turn", addresses + axi.awvalid <= ends + 1)
        last = dut.sent_last == (sent & axi.wlast & known.last)
        self.claim(m, "the last word of a STORE", (ends != followed) | (bursts <= followed) | last)
        own = dut.responds & (answers == followed)
        told = (dut.response.slot == slot) & (dut.response.last == known.last)
        self.claim(m, "an answer is for whom it concerns", ~own | told)
        self.reach(m, "an address after its words", addressed & (ends > addresses))
        self.reach(m, "an answer with its word", sent & axi.wlast & axi.bvalid & (ends == answers))

    def _give(self, m: Module, burst: Any, word: Any) -> None:
        """Play StoreEngine: the burst is there when its first word is, and a STORE's words come
        when those of the last one have gone.
        """
        m.d.comb += [
            burst.valid.eq(self.free(1, "burst")),
            burst.payload.address.eq(self.free(4, "address")),
            burst.payload.words.eq(self.free(2, "words")),
            burst.payload.last.eq(self.free(1, "last")),
            word.valid.eq(self.free(1, "word")),
            word.payload.data.eq(self.free(2, "data")),
            word.payload.strobe.eq(self.free(2, "strobe")),
            word.payload.count.eq(self.free(2, "bytes")),
        ]
        self.let_stand(m, burst.valid, burst.ready, burst.payload)
        self.let_stand(m, word.valid, word.ready, word.payload)
        self.assume(m, (burst.payload.words >= 1) & (burst.payload.words <= LONGEST))
        left, last = Signal(range(LONGEST + 1)), Signal()  # of the burst whose words come
        with m.If(burst.valid & burst.ready):
            m.d.sync += [left.eq(burst.payload.words - 1), last.eq(burst.payload.last)]
        with m.Elif(word.valid & word.ready):
            m.d.sync += left.eq(left - 1)
        self.assume(m, ~word.valid | (left != 0) | burst.valid)
        busy = Signal()  # from the first word given to the last word sent of a STORE
        with m.If(word.valid & word.ready):
            m.d.sync += busy.eq(1)
        with m.Elif(self.dut.sent_last):
            m.d.sync += busy.eq(0)
        self.assume(m, ~(busy & word.valid & last & (left == 0)))
        self.assume(m, ~busy | (self.dut.slot == self.past(m, self.dut.slot)))


CASES = [
    Case(
        "write channel",
        Channel,
        depth=11,
        reach=10,
        constants={"BURSTS_IN_FLIGHT": BURSTS, "MAX_BURST_WORDS": LONGEST},
        mutants={
            "AW goes away with its word": Mutant(
                "write",
                "asks & (begun | begins)",
                "asks & held & (begun | begins)",
                fails="AW stands",
            ),
            "a burst begins too early": Mutant(
                "write", "(unanswered != BURSTS_IN_FLIGHT)", "1", fails="not too many unanswered"
            ),
            "WLAST a word early": Mutant(
                "write",
                "axi.wlast.eq(left == 0)",
                "axi.wlast.eq(left <= 1)",
                fails="WLAST with the last word",
            ),
            "the next address takes the place of one that waits": Mutant(
                "write",
                "(left != 0) | ~(asks & ~(axi.awvalid & axi.awready))",
                "1",
                fails="AW stands",
            ),
            "a word lost": Mutant(
                "write", "(~held | sent) & follows", "follows", fails="no address before its turn"
            ),
            "stopped between the words of a burst": Mutant(
                "write",
                "axi.wvalid.eq(held & (begun | begins))",
                "axi.wvalid.eq(held & (begun | begins) & ~self.stop)",
                fails="W stands",
            ),
            "begun while stopped": Mutant(
                "write", " & ~self.stop", "", fails="nothing begun while stopped"
            ),
            "an early answer is kept": Mutant(
                "write",
                "begins & ~(none & self.axi.bvalid)",
                "begins",
                fails="an answer is for whom it concerns",
            ),
        },
    ),
]
