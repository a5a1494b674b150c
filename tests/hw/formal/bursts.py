"""Rows cut into bursts: none crosses a page or is too long, and together they are the rows."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from vtakit.isa.config import PAGE_BYTES, PRESETS
from vtakit.isa.costs import MAX_BURST_WORDS
from vtakit.isa.instructions import Memory

from .cases import Case, Mutant
from .proof import Proof
from .sby import Mode

PAGE_BITS = PAGE_BYTES.bit_length() - 1
LONGEST = 2
SMALL = {"address": PAGE_BITS + 1, "length_less_1": 5, "pitch": 6, "count": 2}
"""Bits of the rows, of few bursts and near a page's end or not, whose words are counted."""

CONFIG = PRESETS["tiny"]
WORD_BITS = (CONFIG.bus_bytes - 1).bit_length()
PAGE_WORDS = PAGE_BYTES // CONFIG.bus_bytes


class Formed(Proof):
    """The bursts of any rows, one after the other, as long as they like."""

    def __init__(self, hw: Any) -> None:
        super().__init__()
        self.dut = hw.transfer.Bursts(CONFIG, (Memory.INP, Memory.WGT))

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.dut
        burst, rows = dut.burst, dut.rows.as_value()
        m.d.comb += [
            dut.start.eq(self.free(1, "starts") & ~burst.valid),
            rows.eq(self.free(len(rows), "rows")),
            burst.ready.eq(self.free(1, "takes")),
        ]
        shown, words, address = burst.valid, burst.payload.words, burst.payload.address
        last = address + (words << WORD_BITS) - 1
        self.stands(m, "a burst stands until it is taken", shown, burst.ready, burst.payload)
        self.claim(m, "whole words", address[:WORD_BITS] == 0)
        self.claim(m, "not too long", words <= MAX_BURST_WORDS)
        within = (words == 0) | (address[PAGE_BITS:] == last[PAGE_BITS:32])
        self.claim(m, "within a page", within)
        self.reach(m, "a page's end", shown & (last[:PAGE_BITS].all()) & ~burst.payload.last)


class Cut(Proof):
    """The bursts of any rows, however they lie, taken at will; more rows when these are done."""

    def __init__(self, hw: Any) -> None:
        super().__init__()
        self.dut = hw.transfer.Bursts(CONFIG, (Memory.INP, Memory.WGT))

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.dut
        burst, start, free = dut.burst, self.free(1, "starts"), Signal()
        taken = burst.valid & burst.ready
        m.d.comb += [
            dut.start.eq(start & free),
            *(dut.rows[name].eq(self.free(bits, name)) for name, bits in SMALL.items()),
            burst.ready.eq(self.free(1, "takes")),
        ]

        # What is expected: the next word, the last one of the row, and rows after this one.
        kept, row, rows = Signal.like(dut.rows), Signal(32), Signal.like(dut.rows.count)
        word, last = Signal(32 - WORD_BITS), Signal(32 - WORD_BITS)
        begun = Signal()  # in the second cycle after `start`
        waits = self.past(m, dut.start)
        m.d.comb += [
            last.eq((row + kept.length_less_1)[WORD_BITS:]),
            free.eq(~waits & (rows == 0)),
        ]
        after = Signal.like(word)
        m.d.comb += after.eq(word + burst.payload.words)
        with m.If(dut.start):
            m.d.sync += [
                kept.eq(dut.rows),
                rows.eq(dut.rows.count),
                row.eq(dut.rows.address),
                word.eq(dut.rows.address[WORD_BITS:]),
            ]
        with m.Elif(taken):
            m.d.sync += word.eq(after)
            with m.If((after - last)[: len(last)] == 1):
                m.d.sync += [
                    rows.eq(rows - 1),
                    row.eq(row + kept.pitch),
                    word.eq((row + kept.pitch)[WORD_BITS:]),
                ]
        m.d.sync += begun.eq(waits | (begun & ~dut.start))

        words, address = burst.payload.words, burst.payload.address
        shown = burst.valid
        page = PAGE_WORDS - word[: (PAGE_WORDS - 1).bit_length()]
        left = (last - word + 1)[: len(last)]
        most = Mux(page < LONGEST, page, LONGEST)
        self.stands(m, "a burst stands until it is taken", shown, burst.ready, burst.payload)
        self.claim(m, "there while there are rows", shown == (~waits & (rows != 0)))
        self.claim(m, "the next word", ~shown | (address == word << WORD_BITS))
        self.claim(m, "at least a word", ~shown | (words != 0))
        self.claim(m, "as long as may be", ~shown | (words == Mux(left < most, left, most)))
        ends = (rows == 1) & (left == words)
        self.claim(m, "the last one is named", ~shown | (burst.payload.last == ends))
        self.reach(
            m,
            "two rows, each of two bursts",
            shown & (rows == 1) & ends & (kept.count == 2) & (kept.length_less_1 > 16),
        )
        self.reach(m, "a page's end", shown & (page < LONGEST) & (page < left))
        self.reach(m, "rows again", begun & dut.start & (kept.count != 0))


CASES = [
    Case(
        "bursts, of any rows",
        Formed,
        depth=2,
        reach=6,
        mode=Mode.INDUCTION,
        mutants={
            "pages are not minded": Mutant(
                "transfer",
                "Mux(near_the_end, page_words - place, MAX_BURST_WORDS)",
                "MAX_BURST_WORDS",
                fails="within a page",
            ),
            "as long as the row": Mutant(
                "transfer",
                "Mux(next_left < room, next_left, room)",
                "next_left",
                fails="not too long",
            ),
        },
    ),
    Case(
        "bursts, and their rows",
        Cut,
        depth=9,
        reach=8,
        constants={"MAX_BURST_WORDS": LONGEST},
        mutants={
            "a page's end is missed by one": Mutant(
                "transfer",
                "place > page_words",
                "place > 1 + page_words",
                fails="as long as may be",
            ),
            "the place in the first word is forgotten": Mutant(
                "transfer",
                "((offset + rows.length_less_1)",
                "((rows.length_less_1)",
                fails="as long as may be",
            ),
            "a burst taken does not end the row": Mutant(
                "transfer",
                "~self.burst.valid | (taken & ends_row)",
                "~self.burst.valid | (taken & ends_row & (words != 1))",
                fails="the next word",
            ),
            "the last row is left out": Mutant(
                "transfer",
                "self.burst.valid.eq(rows.count != 0)",
                "self.burst.valid.eq(rows.count > 1)",
                fails="there while there are rows",
            ),
        },
    ),
]
