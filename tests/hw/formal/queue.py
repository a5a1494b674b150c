"""Queues: items come out once, in order, unchanged; streams in and out keep their rules."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal

from .cases import Case, Mutant
from .proof import Proof, count

DEPTH = 3
ITEM_BITS = 3
MOST = 63


class Queued(Proof):
    """A queue, of whose items an arbitrary one is followed."""

    def __init__(self, hw: Any) -> None:
        super().__init__()
        self.hw = hw

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.hw.queue.Queue(ITEM_BITS, DEPTH)
        source, sink = dut.input, dut.output
        m.d.comb += [
            source.valid.eq(self.free(1, "put")),
            source.payload.eq(self.free(ITEM_BITS, "item")),
            sink.ready.eq(self.free(1, "take")),
        ]
        put, taken = source.valid & source.ready, sink.valid & sink.ready
        puts, takes = count(m, MOST, put), count(m, MOST, taken)
        held = puts - takes
        self.claim(m, "as many as were put and not taken", dut.level == held)
        self.claim(m, "no more than fit", held <= DEPTH)
        self.claim(m, "room up to the depth", source.ready == (held != DEPTH))
        self.claim(m, "there from the next cycle on", sink.valid == (held != 0))

        followed, kept = self.fixed(m, range(MOST + 1), "followed"), Signal(ITEM_BITS)
        with m.If(put & (puts == followed)):
            m.d.sync += kept.eq(source.payload)
        came = sink.valid & (takes == followed)
        self.claim(m, "out as it went in", Mux(came, sink.payload == kept, 1))
        self.stands(m, "an item stands until it is taken", sink.valid, sink.ready, sink.payload)
        self.reach(m, "full", ~source.ready)
        self.reach(m, "the fifth one comes", came & (followed == 4))


CASES = [
    Case(
        "queue",
        Queued,
        depth=16,
        reach=12,
        mutants={
            "no bypass around the memory": Mutant(
                "queue", "(transparent_for=(write,))", "()", fails="out as it went in"
            ),
            "the end of the memory is not minded": Mutant(
                "queue",
                "self.depth - 1, 0, place",
                "self.depth, 0, place",
                fails="out as it went in",
            ),
            "an item too many": Mutant(
                "queue",
                "self.level != self.depth",
                "self.level <= self.depth",
                fails="room up to the depth",
            ),
            "the next one too early": Mutant(
                "queue",
                "frees.eq(taken | ~self.output.valid)",
                "frees.eq(1)",
                fails="out as it went in",
            ),
        },
    )
]
