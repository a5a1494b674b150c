"""The read channel: AR keeps the rules of AXI4, limits hold, and words go to who asked for them."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data
from vtakit.isa.config import PRESETS

from .cases import Case, Mutant
from .proof import Proof

BURSTS, WORDS, LONGEST = 2, 3, 3
LIMITS = {"BURSTS_IN_FLIGHT": BURSTS, "WORDS_IN_FLIGHT": WORDS, "MAX_BURST_WORDS": LONGEST}
READERS = ("fetch", "compute", "load")
CONFIG = PRESETS["tiny"]
BURST = data.StructLayout({"words": range(LONGEST + 1), "owner": len(READERS)})


class Channel(Proof):
    """The channel between readers that keep to the rules of streams, and a memory.

    The memory takes addresses at will and gives words at will: in the order of the addresses, the
    first one perhaps in the cycle of its address.
    """

    def __init__(self, hw: Any) -> None:
        super().__init__()
        self.dut = hw.memory.ReadChannel(CONFIG)

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.dut
        axi, readers = dut.axi, [getattr(dut, name) for name in READERS]
        for name, reader in zip(READERS, readers, strict=True):
            request, words = reader.request, reader.request.payload.words
            m.d.comb += [
                request.valid.eq(self.free(1, f"{name}_asks")),
                request.payload.address.eq(self.free(4, f"{name}_address")),
                words.eq(self.free(words.shape(), f"{name}_words")),
            ]
            self.assume(m, (words >= 1) & (words <= LONGEST))
            self.let_stand(m, request.valid, request.ready, request.payload)
        grants = Cat(reader.request.valid & reader.request.ready for reader in readers)
        granted = axi.arvalid & axi.arready
        arrives = axi.rvalid & axi.rready
        oldest, bursts, words = self._memory(m, axi, granted, grants, arrives)

        shown = Cat(getattr(axi, f"ar{x}") for x in ("id", "addr", "len", "cache", "prot"))
        self.stands(m, "AR stands", axi.arvalid, axi.arready, shown)
        whole = (axi.arsize == 3) & (axi.arburst == 1) & (axi.arlen < LONGEST)
        self.claim(m, "a burst of INCR, of whole words", ~axi.arvalid | whole)
        self.claim(m, "R is taken at once", axi.rready)
        asking = Cat(reader.request.valid for reader in readers)
        room = (bursts < BURSTS) & (words < WORDS)
        self.claim(m, "asks while there is room", axi.arvalid == (asking.any() & room))
        self.claim(m, "a grant is what is asked", (grants == 0) == ~granted)
        self.claim(m, "one grant at a time", (grants & (grants - 1)) == 0)
        compared = [
            ~grant
            | (axi.araddr == reader.request.payload.address)
            & (axi.arlen + 1 == reader.request.payload.words)
            for grant, reader in zip(grants, readers, strict=True)
        ]
        self.claim(m, "the burst of whom it is granted to", Cat(compared).all())
        waited = self.past(m, axi.arvalid & ~axi.arready)
        first = Cat(grants[1] & asking[0], grants[2] & asking[:2].any()).any()
        self.claim(m, "fetch before compute before load", waited | ~first)
        gets = Cat(reader.data.valid for reader in readers)
        self.claim(m, "a word for who asked", gets == Mux(arrives, oldest.owner, 0))
        nothing = (bursts == 0) & ~waited
        self.claim(m, "drained where nothing is on its way", dut.drained == nothing)
        self.reach(m, "as many bursts as may be", bursts == BURSTS)
        self.reach(m, "as many words as may be", words == WORDS + LONGEST - 1)
        self.reach(m, "the last one's turn", grants[2] & (bursts == 1))
        self.reach(m, "a word with its address", arrives & granted & (bursts == 0))

    def _memory(
        self, m: Module, axi: Any, granted: Any, grants: Any, arrives: Any
    ) -> tuple[Any, Any, Any]:
        """Play the memory; return the burst of the word that may arrive, and bursts and words on
        their way at the beginning of the cycle.
        """
        m.d.comb += [
            axi.arready.eq(self.free(1, "arready")),
            axi.rresp.eq(self.free(2, "rresp")),
            axi.rdata.eq(self.free(axi.rdata.shape(), "rdata")),
        ]
        bursts, words = Signal(range(BURSTS + 2)), Signal(range(2 * WORDS + LONGEST))
        kept = [Signal(BURST, name=f"burst_{place}") for place in range(BURSTS + 1)]
        known = [Signal(BURST, name=f"known_{place}") for place in range(BURSTS + 1)]
        for place in range(BURSTS + 1):
            new = granted & (bursts == place)
            m.d.comb += known[place].eq(kept[place])
            with m.If(new):
                m.d.comb += [known[place].words.eq(axi.arlen + 1), known[place].owner.eq(grants)]
        some = (bursts != 0) | granted
        m.d.comb += [
            axi.rvalid.eq(self.free(1, "comes") & some),
            axi.rlast.eq(known[0].words == 1),
        ]
        ended = arrives & axi.rlast
        m.d.sync += [
            bursts.eq(bursts + granted - ended),
            words.eq(words + Mux(granted, axi.arlen + 1, 0) - arrives),
            *(now.eq(before) for now, before in zip(kept, known, strict=True)),
            kept[0].words.eq(known[0].words - arrives),
        ]
        with m.If(ended):
            m.d.sync += [now.eq(after) for now, after in zip(kept, known[1:], strict=False)]
        return known[0], bursts, words


CASES = [
    Case(
        "read channel",
        Channel,
        depth=13,
        reach=10,
        constants=LIMITS,
        mutants={
            "AR follows who asks": Mutant(
                "memory", "Mux(shown, shown_reader, wanted)", "wanted", fails="AR stands"
            ),
            "a burst too many": Mutant(
                "memory",
                "owners.r_level != BURSTS_IN_FLIGHT",
                "1",
                fails="asks while there is room",
            ),
            "words are not minded": Mutant(
                "memory",
                "& (words < WORDS_IN_FLIGHT)",
                "",
                fails="asks while there is room",
            ),
            "an early word has no owner": Mutant(
                "memory",
                "Mux(none, chosen, owners.r_data)",
                "owners.r_data",
                fails="a word for who asked",
            ),
            "an early burst is kept": Mutant(
                "memory",
                "granted & ~(none & ended)",
                "granted",
                fails="drained where nothing is on its way",
            ),
            "all are told of a grant": Mutant(
                "memory",
                "            with m.If(chosen == number):\n",
                "            m.d.comb += reader.request.ready.eq(granted)\n"
                "            with m.If(chosen == number):\n",
                fails="one grant at a time",
            ),
        },
    ),
]
