"""STORE: each element of each row goes where it should, once; no other byte does, and it ends."""

from functools import partial
from typing import Any, TypeAlias

from amaranth.hdl import Cat, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data
from vtakit.isa.config import PAGE_BYTES, Config
from vtakit.isa.instructions import Memory, Store
from vtakit.isa.registers import ErrorCode

from .cases import Case, Mutant
from .memory import answering
from .proof import Proof, count

IN_FLIGHT, BURSTS, LONGEST = 2, 2, 2
SMALL = {"sram_base": 4, "y_size": 2, "x_size": 2, "x_stride": 2}
"""Bits of what is free in a STORE, beside where it begins: near the end of a page. Others are 0."""

PATIENCE = 4
"""Cycles in a row in which nothing goes out and neither the bus nor a response is waited for."""

OF_WORDS = {
    "each element at its place, in order",
    "elements of the buffer only",
    "no empty word",
    "nothing of a STORE that ends outside",
}
MOST = 15
NARROW = Config(1, 4, 4, inp_buffer_bytes=64, wgt_buffer_bytes=64, acc_buffer_bytes=128)
"""Two elements a bus word, 8 elements."""

WIDE = Config(1, 8, 8, inp_buffer_bytes=64, wgt_buffer_bytes=128, acc_buffer_bytes=256, bus_bits=32)
"""Two bus words an element, 8 elements."""

Place = data.StructLayout(
    {"rows": 2, "columns": 2, "part": 1, "index": 6, "row": 16, "address": 16}
)
"""What is to be sent next: of rows and columns that are left, which part of which element; the byte
that the row begins at, and the one that this goes to."""

Cursor: TypeAlias = dict[str, Value]


class Stored(Proof):
    """STOREs one after the other, from an output buffer whose elements hold their own index.

    Parameters
    ----------
    config
    words
        Whether the claims about words are proved, or the others: all at once takes much longer.
    """

    def __init__(self, hw: Any, config: Config, words: bool) -> None:
        super().__init__()
        self.words = words
        self.config = config
        self.dut = hw.store.StoreEngine(config)
        self.insn = hw.layouts.layout(Store, config)(self.dut.command.insn)
        self.element = config.out_tile_bytes
        self.unit = min(self.element, config.bus_bytes)

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.dut
        axi, insn = dut.axi, self.insn
        halt = self.free(1, "halt")
        m.d.comb += dut.halt.eq(halt)
        self._buffer(m)
        answers = answering(self, m, axi)
        sent = axi.wvalid & axi.wready
        owed = Signal(IN_FLIGHT)  # slots of those that have not written
        starts = count(m, MOST, dut.start, name="starts")
        m.d.comb += [
            dut.start.eq(self.free(1, "start") & dut.front_free & ~owed.bit_select(starts[0], 1)),
            dut.slot.eq(starts[0]),
            dut.command.index.eq(starts),
            *(insn[name].eq(self.free(bits, name)) for name, bits in SMALL.items()),
            insn.dram_base.eq(PAGE_BYTES // self.element - 4 + self.free(3, "dram_base")),
        ]
        m.d.sync += owed.eq((owed | (dut.start << dut.slot)) & ~dut.written)

        faulty, wrong = Signal(), Signal()
        ends_at = insn.sram_base + insn.x_size * insn.y_size
        m.d.comb += wrong.eq((insn.x_size != 0) & (ends_at > Memory.OUT.depth(self.config)))
        m.d.sync += faulty.eq(faulty | (dut.start & wrong))
        place, rows_left = self._follow(m, sent)
        self.claim(
            m, "nothing of a STORE that ends outside", ~axi.wvalid | ~faulty | ~place.rows.any()
        )
        self.claim(m, "all is sent before the front is free", ~dut.front_free | ~place.rows.any())
        self._end(m, sent, answers, owed, rows_left)
        self._fail(m, wrong, answers, starts)

        unanswered = (count(m, MOST, sent & axi.wlast, name="gone") - answers)[:4]
        bus = (axi.awvalid & ~axi.awready) | (axi.wvalid & ~axi.wready) | unanswered.any()
        stops = halt | faulty
        idle = Signal(range(PATIENCE + 2))
        with m.If(dut.start | sent | bus | stops):
            m.d.sync += idle.eq(0)
        with m.Elif(idle <= PATIENCE):
            m.d.sync += idle.eq(idle + 1)
        waits = (idle >= PATIENCE) & ~(bus | stops)
        self.claim(m, "ends where memory answers", ~waits | (dut.front_free & ~owed.any()))
        self.reach(m, "two rows, of two elements", sent & (place.rows == 1) & (starts == 1))
        self.reach(m, "two under way", owed.all() & (starts == 2) & dut.front_free)
        self.reach(m, "many", (starts == 3) & ~owed.any())

    def claim(self, m: Module, name: str, test: ValueLike) -> None:
        if (name in OF_WORDS) == self.words:
            super().claim(m, name, test)

    def _buffer(self, m: Module) -> None:
        """Play the output buffer: each unit is the number of its element, and of its part."""
        out = self.dut.out
        units = self.config.bus_bytes // self.unit
        with m.If(out.en):
            m.d.sync += [
                out.data.word_select(unit, 8 * self.unit).eq(
                    Cat((out.index + unit)[: len(out.index)], out.chunk)
                )
                for unit in range(units)
            ]

    def _follow(self, m: Module, sent: Value) -> tuple[Any, Value]:
        """Claim that the words are the rows; return what is to be sent next, and the rows that will
        be left after this cycle.
        """
        axi, insn = self.dut.axi, self.insn
        place: Any = Signal(Place)
        kept = Signal(data.StructLayout({"x_size": 2, "x_stride": 2}))
        first, words = Signal(32), Signal(range(LONGEST + 1))  # of the burst
        begin = Mux(axi.awvalid, axi.awaddr, first)
        m.d.sync += first.eq(begin)
        with m.If(sent):
            m.d.sync += words.eq(Mux(axi.wlast, 0, words + 1))
        address = begin + words * self.config.bus_bytes

        cursor: Cursor = {name: place[name] for name in Place.members}
        right, inside = [], []
        index_bits = len(self.dut.out.index)
        for unit in range(self.config.bus_bytes // self.unit):
            strobe = axi.wstrb.word_select(unit, self.unit)
            value = axi.wdata.word_select(unit, 8 * self.unit)
            here = (address + unit * self.unit)[:32] == cursor["address"]
            own = value == Cat(cursor["index"][:index_bits], cursor["part"])
            right.append(~strobe.any() | (strobe.all() & here & own & cursor["rows"].any()))
            inside.append(~strobe.any() | (cursor["index"] < Memory.OUT.depth(self.config)))
            cursor = self._after(m, cursor, strobe.any(), kept, unit)
        self.claim(m, "each element at its place, in order", ~axi.wvalid | Cat(right).all())
        self.claim(m, "elements of the buffer only", ~axi.wvalid | Cat(inside).all())
        self.claim(m, "no empty word", ~axi.wvalid | axi.wstrb.any())
        with m.If(self.dut.start):
            m.d.sync += [
                kept.x_size.eq(insn.x_size),
                kept.x_stride.eq(insn.x_stride),
                place.rows.eq(Mux(insn.x_size == 0, 0, insn.y_size)),
                place.columns.eq(insn.x_size),
                place.part.eq(0),
                place.index.eq(insn.sram_base),
                place.row.eq(insn.dram_base * self.element),
                place.address.eq(insn.dram_base * self.element),
            ]
        with m.Elif(sent):
            m.d.sync += [place[name].eq(value) for name, value in cursor.items()]
        return place, Mux(sent, cursor["rows"], place.rows)

    def _after(self, m: Module, cursor: Cursor, moves: Value, kept: Any, unit: int) -> Cursor:
        """Return the cursor after a unit, if it moves."""
        ends_element = cursor["part"] == self.element // self.unit - 1
        ends_row = ends_element & (cursor["columns"] == 1)
        next_row = cursor["row"] + kept.x_stride * self.element
        after = {
            "part": Mux(ends_element, 0, cursor["part"] + 1),
            "columns": Mux(
                ends_row, kept.x_size, Mux(ends_element, cursor["columns"] - 1, cursor["columns"])
            ),
            "rows": Mux(ends_row, cursor["rows"] - 1, cursor["rows"]),
            "index": Mux(ends_element, cursor["index"] + 1, cursor["index"]),
            "row": Mux(ends_row, next_row, cursor["row"]),
            "address": Mux(ends_row, next_row, cursor["address"] + self.unit),
        }
        moved: Cursor = {}
        for name, value in after.items():
            moved[name] = Signal(len(cursor[name]), name=f"{name}_{unit}")
            m.d.comb += moved[name].eq(Mux(moves, value, cursor[name]))
        return moved

    def _end(self, m: Module, sent: Value, answers: Any, owed: Any, rows_left: Value) -> None:
        """Claim that a STORE has written when its last response has come, and says so once."""
        dut, axi = self.dut, self.dut.axi
        ends = count(m, MOST, sent & axi.wlast, name="ends") + (sent & axi.wlast)
        front = Signal(range(IN_FLIGHT))  # the slot of the last one started
        with m.If(dut.start):
            m.d.sync += front.eq(dut.slot)
        done = Signal(IN_FLIGHT)
        for slot in range(IN_FLIGHT):
            kept = Signal(range(MOST + 1), name=f"bursts_{slot}")  # up to its last one, if any
            bursts = Mux(sent & (front == slot), ends, kept)
            m.d.sync += kept.eq(Mux(dut.start & (dut.slot == slot), 0, bursts))
            all_sent = (front != slot) | (rows_left == 0)
            m.d.comb += done[slot].eq(owed[slot] & all_sent & (answers + axi.bvalid >= bursts))
        self.claim(m, "written once, when all is answered", (dut.written & ~done) == 0)

    def _fail(self, m: Module, wrong: Value, answers: Any, starts: Any) -> None:
        """Claim that the errors are those that there are, of the right STORE."""
        error, axi = self.dut.error, self.dut.axi
        outside = self.past(m, self.past(m, self.dut.start & wrong))
        index = self.past(m, self.past(m, starts))
        followed = self.fixed(m, range(4), "followed")
        begins = axi.awvalid & ~self.past(m, axi.awvalid & ~axi.awready)
        begun = count(m, MOST, begins, name="begun")
        kept = Signal.like(starts)  # whose burst it is
        owner = Mux(begins & (begun == followed), starts - 1, kept)
        m.d.sync += kept.eq(owner)
        refusal = axi.bvalid & axi.bresp.any()
        refused = self.past(m, refusal)
        right = (error.code == ErrorCode.SRAM_RANGE) & (error.index == index)
        self.claim(
            m, "SRAM_RANGE where it ends outside", ~outside | refused | (error.valid & right)
        )
        right = (error.code == ErrorCode.BUS) & (error.index == self.past(m, owner))
        own = self.past(m, refusal & (answers == followed))
        self.claim(m, "BUS where memory refused it", ~own | (error.valid & right))
        self.claim(m, "no other error", error.valid == (outside | refused))


CONSTANTS = {"IN_FLIGHT": IN_FLIGHT, "BURSTS_IN_FLIGHT": BURSTS, "MAX_BURST_WORDS": LONGEST}
CASES = [
    Case(
        "store, two elements a word",
        partial(Stored, config=NARROW, words=True),
        depth=10,
        reach=11,
        constants=CONSTANTS,
        mutants={
            "an element too many is no error": Mutant(
                "store",
                "(base + count > depth)",
                "(base + count > depth + 1)",
                fails="elements of the buffer only",
            ),
            "an error is told and not minded": Mutant(
                "store",
                "self.halt | faulty",
                "self.halt",
                fails="nothing of a STORE that ends outside",
            ),
            "a word is lost while the bus waits": Mutant(
                "store",
                "moves.eq(~read | channel.word.ready)",
                "moves.eq(1)",
                fails="each element at its place, in order",
            ),
            "rows begin in the word as the first one": Mutant(
                "store",
                "span.stride.eq(insn.x_stride)",
                "span.stride.eq(0)",
                fails="each element at its place, in order",
            ),
            "the first of a row's last word is forgotten": Mutant(
                "transfer",
                "until.eq(Mux(ends_row, end, span.step))",
                "until.eq(span.step)",
                fails="each element at its place, in order",
            ),
        },
    ),
    Case(
        "store, two elements a word, and its end",
        partial(Stored, config=NARROW, words=False),
        depth=11,
        reach=11,
        constants=CONSTANTS,
        mutants={
            "a STORE of nothing never ends": Mutant(
                "store",
                "nothing_done | channel.sent_last",
                "channel.sent_last",
                fails="ends where memory answers",
            ),
            "written with its first response": Mutant(
                "store",
                "channel.responds & channel.response.last",
                "channel.responds",
                fails="written once, when all is answered",
            ),
            "the front's error for every response": Mutant(
                "store",
                "Mux(refused, refused_index, index)",
                "index",
                fails="BUS where memory refused it",
            ),
        },
    ),
    Case(
        "store, two words an element",
        partial(Stored, config=WIDE, words=True),
        depth=12,
        reach=11,
        constants=CONSTANTS,
        mutants={
            "the same part twice": Mutant(
                "store",
                "self.out.chunk.eq(words.position[:parts])",
                "self.out.chunk.eq(0)",
                fails="each element at its place, in order",
            ),
        },
    ),
    Case(
        "store, two words an element, and its end",
        partial(Stored, config=WIDE, words=False),
        depth=13,
        reach=11,
        constants=CONSTANTS,
        mutants={
            "the last word is not waited for": Mutant(
                "transfer",
                "self.last.eq(ends_row & (span.count == 0))",
                "self.last.eq(span.count == 0)",
                fails="ends where memory answers",
            ),
            "nothing counts as outside": Mutant(
                "store",
                "(x_size != 0) & (base + count > depth)",
                "(base + count > depth)",
                fails="no other error",
            ),
        },
    ),
]
