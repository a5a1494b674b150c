"""LOAD: words and zeros go where they should, once, into their buffer only; and it ends."""

from functools import partial
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data
from vtakit.isa.config import Config
from vtakit.isa.instructions import Load, Memory
from vtakit.isa.registers import ErrorCode

from .cases import Case, Mutant
from .proof import Proof, count

IN_FLIGHT, LONGEST = 2, 2
PADS = ("y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1")
SMALL = {
    "sram_base": 4,
    "dram_base": 1,
    "y_size": 2,
    "x_size": 2,
    "x_stride": 1,
    **dict.fromkeys(PADS, 1),
}
"""Bits of what is free in a LOAD; the others are 0."""

PATIENCE = 4
"""Cycles in a row in which nothing is granted, comes or is filled, and memory owes nothing."""

MOST = 15
TAG_BITS = 7
"""Of the addresses that are told apart."""

HALF = 4
"""Bytes of what is followed: half a bus word, an element or a quarter of one."""

DEPTH = 8
CONFIG = Config(
    1,
    HALF,
    HALF,
    uop_buffer_bytes=4 * DEPTH,
    inp_buffer_bytes=HALF * DEPTH,
    wgt_buffer_bytes=HALF * HALF * DEPTH,
    acc_buffer_bytes=4 * HALF * DEPTH,
)
"""Buffers of 8 elements: of a bus word are two of UOP, INP and ACC_8BIT, and half of WGT or ACC."""

OF_WORDS = {
    "each element at its place, in order",
    "elements of the buffer only",
    "no word for nothing",
    "nothing of a LOAD that ends outside",
    "SRAM_RANGE where it ends outside",
    "BUS where memory refused it",
    "no other error",
}
FILLED = {memory: memory for memory in Memory} | {Memory.ACC_8BIT: Memory.ACC}
LOAD_UNIT = (Memory.INP, Memory.WGT)
COMPUTE_UNIT = (Memory.UOP, Memory.ACC, Memory.ACC_8BIT)

Kept = data.StructLayout(
    {
        "memory": 3,
        "index": 7,  # first element with data
        "address": TAG_BITS,
        "x_size": 2,
        "y_size": 2,
        "x_stride": 1,
        "width": 3,
        "number": 4,
    }
)
"""What is known of a LOAD."""

Place = data.StructLayout(
    {
        "rows": 2,
        "columns": 2,
        "part": 2,
        "row_index": 7,
        "index": 7,
        "row": TAG_BITS,
        "address": TAG_BITS,
    }
)
"""What is to come next: of rows and columns that are left, which quarter of which element; the
element and the byte that the row begins at; the byte that this comes from."""


class Loaded(Proof):
    """LOADs one after the other; a word that memory gives is its own address.

    Parameters
    ----------
    memories
        What the unit loads.
    words
        Whether the claims about words are proved, or the others: all at once takes much longer.
    """

    def __init__(self, hw: Any, memories: tuple[Memory, ...], words: bool) -> None:
        super().__init__()
        self.words = words
        self.memories = memories
        self.dut = hw.load.LoadEngine(CONFIG, memories)
        self.insn = hw.layouts.layout(Load, CONFIG)(self.dut.command.insn)
        self.fills = {
            buffer: getattr(self.dut, f"fill_{buffer.name.lower()}")
            for buffer in {FILLED[memory] for memory in memories}
        }

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.dut
        insn, request, words = self.insn, dut.reader.request, dut.reader.data
        halt = self.free(1, "halt")
        owed = Signal(IN_FLIGHT)  # slots of those that have not written
        starts = count(m, MOST, dut.start, name="starts")
        m.d.comb += [
            dut.halt.eq(halt),
            dut.start.eq(self.free(1, "start") & dut.front_free & ~owed.bit_select(starts[0], 1)),
            dut.slot.eq(starts[0]),
            dut.command.index.eq(starts),
            insn.memory.eq(self.free(3, "memory")),
            *(insn[name].eq(self.free(bits, name)) for name, bits in SMALL.items()),
        ]
        self.assume(m, Cat(insn.memory == memory for memory in self.memories).any())
        m.d.sync += owed.eq((owed | (dut.start << dut.slot)) & ~dut.written)
        granted, owes = self._memory(m, request, words)

        width, height = Signal(3), Signal(3)
        wrong, wrong_before = Signal(), Signal()
        m.d.comb += [
            width.eq(insn.x_pad_0 + insn.x_size + insn.x_pad_1),
            height.eq(insn.y_pad_0 + insn.y_size + insn.y_pad_1),
            wrong.eq((insn.x_size != 0) & (insn.sram_base + height * width > DEPTH)),
        ]
        m.d.sync += wrong_before.eq(wrong_before | self.past(m, dut.start & wrong))
        stopped = self.past(m, wrong_before)  # from its third cycle on
        filled = Cat(fill.lanes.any() for fill in self.fills.values()).any()
        self.claim(m, "nothing of a LOAD that ends outside", ~(stopped & filled))

        came, number, left = self._follow(m, starts, width, stopped)
        front = (starts - 1)[0]
        others = left & ~(1 << front)
        left |= self._pad(m, (width, height), came, stopped, others) << front
        untimely = self.past(m, dut.written) & (left | ~self.past(m, owed))
        self.claim(m, "written once, when all is in its place", stopped | (untimely == 0))
        self._fail(m, (starts, wrong), came, number, stopped)

        self.stands(m, "a request stands", request.valid, request.ready, request.payload)
        stood = self.past(m, request.valid & ~request.ready)
        self.claim(m, "no new request in a halt", ~(halt & request.valid) | stood)
        self.claim(m, "drained with no request", dut.drained == ~request.valid)
        memory = request.valid | (owes != 0)
        stops = halt | wrong_before
        idle = Signal(range(PATIENCE + 2))
        with m.If(dut.start | filled | memory | granted | stops):
            m.d.sync += idle.eq(0)
        with m.Elif(idle <= PATIENCE):
            m.d.sync += idle.eq(idle + 1)
        waits = (idle >= PATIENCE) & ~(memory | filled | stops)
        self.claim(m, "ends where memory answers", ~waits | (dut.front_free & ~owed.any()))
        self.reach(m, "two under way", owed.all() & dut.front_free)
        self.reach(m, "two, and all is done", (starts == 2) & (owed == 0) & ~stops)

    def claim(self, m: Module, name: str, test: ValueLike) -> None:
        if (name in OF_WORDS) == self.words:
            super().claim(m, name, test)

    def _memory(self, m: Module, request: Any, words: Any) -> tuple[Value, Value]:
        """Play memory: words in the order of grants, when it likes; return a grant, and how many
        words it owes.
        """
        granted = request.valid & request.ready
        places = Array(Signal(TAG_BITS, name=f"place_{i}") for i in range(8))
        asked, come = Signal(3), Signal(3)  # words; they wrap
        size = request.payload.words
        owes = (asked - come)[:3]
        m.d.comb += [
            request.ready.eq(self.free(1, "granted") & (owes < 3)),
            words.valid.eq(self.free(1, "comes") & (granted | (owes != 0))),
            words.error.eq(self.free(1, "refused")),
            words.data.eq(Mux(owes == 0, request.payload.address[:TAG_BITS], places[come])),
        ]
        with m.If(granted):
            m.d.sync += [
                asked.eq(asked + size),
                *(
                    places[(asked + i)[:3]].eq(request.payload.address + i * 2 * HALF)
                    for i in range(LONGEST)
                ),
            ]
        m.d.sync += come.eq(come + words.valid)
        return granted, owes

    def _follow(
        self, m: Module, starts: Any, width: Value, stopped: Value
    ) -> tuple[Value, Value, Value]:
        """Claim that each word is the next of its LOAD, and goes to its elements.

        Return whether one came in the cycle before, of which LOAD it is, and the slots of LOADs of
        which others are to come.
        """
        dut, insn = self.dut, self.insn
        kept = Array(Signal(Kept, name=f"kept_{slot}") for slot in range(IN_FLIGHT))
        left = Signal(IN_FLIGHT)
        with m.If(dut.start):
            m.d.sync += kept[dut.slot].eq(
                Cat(
                    insn.memory,
                    (insn.sram_base + insn.y_pad_0 * width + insn.x_pad_0)[:7],
                    self._bytes(insn.memory, insn.dram_base)[:TAG_BITS],
                    insn.x_size[:2],
                    insn.y_size[:2],
                    insn.x_stride[0],
                    width,
                    starts,
                )
            )
        slot = Mux(left.all(), ~(starts - 1)[0], left[1])
        load: Any = Signal(Kept)
        m.d.comb += load.eq(kept[slot])

        begun, place, now = Signal(), Signal(Place), Signal(Place)
        m.d.comb += now.eq(place)
        with m.If(~begun):
            first = {"rows": load.y_size, "columns": load.x_size, "part": 0}
            first |= {"row_index": load.index, "index": load.index}
            first |= {"row": load.address, "address": load.address}
            m.d.comb += [now[name].eq(value) for name, value in first.items()]
        came = self.past(m, dut.reader.data.valid)
        cursor = {name: now[name] for name in Place.members}
        right, inside, uses = [], [], []
        for half in range(2):
            used, index, part, address = self._where(m, load.memory, half)
            here = (index == cursor["index"][: len(index)]) & (part == cursor["part"])
            right.append(~used | (here & (address == cursor["address"]) & cursor["rows"].any()))
            inside.append(~used | (cursor["index"] < DEPTH))
            uses.append(used)
            cursor = self._after(m, cursor, used, load, half)
        none = stopped | ~came
        self.claim(m, "each element at its place, in order", none | Cat(right).all())
        self.claim(m, "elements of the buffer only", ~came | Cat(inside).all())
        self.claim(m, "no word for nothing", none | Cat(uses).any())
        finished = came & (cursor["rows"] == 0)
        left_now = Signal(IN_FLIGHT)
        m.d.comb += left_now.eq(left & ~(finished << slot))
        has_data = dut.start & (insn.x_size != 0) & (insn.y_size != 0)
        m.d.sync += [
            left.eq(left_now | (has_data << dut.slot)),
            begun.eq(~finished & (came | begun)),
        ]
        with m.If(came):
            m.d.sync += [place[name].eq(value) for name, value in cursor.items()]
        return came, load.number, left_now

    def _where(self, m: Module, memory: Value, half: int) -> tuple[Value, Value, Value, Value]:
        """Return whether half of the word is used; for which element and quarter; its address.

        What is used in another way than this memory's words can be is of quarter 3, and wrong.
        """
        used, index, part = Signal(), Signal(range(DEPTH)), Signal(3)
        address = Signal(TAG_BITS)
        with m.Switch(memory):
            for kind in self.memories:
                fill = self.fills[FILLED[kind]]
                others = [fill.lanes for other, fill in self.fills.items() if other != FILLED[kind]]
                proper = Cat(others) == 0
                if FILLED[kind] is Memory.ACC:
                    proper &= fill.extend == (kind is Memory.ACC_8BIT)
                with m.Case(kind):
                    m.d.comb += address.eq(fill.data + half * HALF)
                    if kind.element_bytes(CONFIG) == HALF:
                        proper &= fill.chunks.all()
                        m.d.comb += [
                            used.eq(fill.lanes[half]),
                            index.eq(fill.index + half),
                            part.eq(Mux(proper, 0, 4)),
                        ]
                    else:
                        proper &= (fill.lanes == 1) & (fill.chunks[0] != fill.chunks[1])
                        m.d.comb += [
                            used.eq(fill.lanes.any()),
                            index.eq(fill.index),
                            part.eq(Cat(half, fill.chunks[1], ~proper)),
                        ]
        return used, index, part, address

    def _after(
        self, m: Module, cursor: dict[str, Value], moves: Value, load: Any, half: int
    ) -> dict[str, Value]:
        """Return the place after half a word, if it moves."""
        ends_element = self._narrow(load.memory) | (cursor["part"] == HALF - 1)
        ends_row = ends_element & (cursor["columns"] == 1)
        next_row = cursor["row"] + self._bytes(load.memory, load.x_stride)
        next_index = cursor["row_index"] + load.width
        after = {
            "part": Mux(ends_element, 0, cursor["part"] + 1),
            "columns": Mux(ends_row, load.x_size, cursor["columns"] - ends_element),
            "rows": cursor["rows"] - ends_row,
            "row_index": Mux(ends_row, next_index, cursor["row_index"]),
            "index": Mux(ends_row, next_index, cursor["index"] + ends_element),
            "row": Mux(ends_row, next_row, cursor["row"]),
            "address": Mux(ends_row, next_row, cursor["address"] + HALF),
        }
        moved: dict[str, Value] = {}
        for name, value in after.items():
            moved[name] = Signal(len(cursor[name]), name=f"{name}_{half}")
            m.d.comb += moved[name].eq(Mux(moves, value, cursor[name]))
        return moved

    def _pad(
        self, m: Module, size: tuple[Value, Value], came: Value, stopped: Value, others: Value
    ) -> Value:
        """Claim that zeros go where the LOAD in front has them; return whether some are left.

        An arbitrary element of it is followed; `others` are the LOADs before it that have words to
        come.
        """
        dut, insn, (width, height) = self.dut, self.insn, size
        row, column = self.fixed(m, 3, "row"), self.fixed(m, 3, "column")
        memory, index, is_pad, total = Signal(3), Signal(range(DEPTH)), Signal(), Signal(6)
        exists, hit, so_far = Signal(), Signal(), Signal(6)
        with_data = (row >= insn.y_pad_0) & (row < insn.y_pad_0 + insn.y_size)
        with_data &= (column >= insn.x_pad_0) & (column < insn.x_pad_0 + insn.x_size)
        there = (insn.x_size != 0) & (row < height) & (column < width)
        zeros = Mux(insn.x_size == 0, 0, height * width - insn.y_size * insn.x_size)

        pads, hits, whole = [], [], []
        for buffer, fill in self.fills.items():
            pad = fill.lanes.any() & ~came
            own = Cat(memory == kind for kind in self.memories if FILLED[kind] is buffer).any()
            zero = (fill.data == 0) & (fill.lanes == 1) & fill.chunks.all()
            pads.append(pad)
            hits.append(pad & exists & (fill.index == index))
            whole.append(~pad | (own & zero))
        pad, hit_now, count_now = Signal(), Signal(), Signal(6)
        m.d.comb += [
            pad.eq(Cat(pads).any()),
            hit_now.eq(hit | Cat(hits).any()),
            count_now.eq(so_far + pad),
        ]
        m.d.sync += [hit.eq(hit_now), so_far.eq(count_now)]
        with m.If(dut.start):
            m.d.sync += [
                memory.eq(insn.memory),
                index.eq(insn.sram_base + row * width + column),
                exists.eq(there),
                is_pad.eq(there & ~with_data),
                total.eq(zeros),
                hit.eq(0),
                so_far.eq(0),
            ]
        self.claim(m, "a pad is a whole element of zeros", stopped | Cat(whole).all())
        once = ~Cat(hits).any() | (is_pad & ~hit)
        self.claim(m, "each pad at its place, once", stopped | once)
        self.claim(m, "no more pads than there are", stopped | (count_now <= total))
        self.claim(m, "pads wait for earlier words", stopped | ~pad | (others == 0))
        done = (hit_now == is_pad) & (count_now == total)
        self.claim(m, "all pads before the front is free", stopped | ~dut.front_free | done)
        self.reach(
            m, "pads on all sides", dut.front_free & (total == 8) & (count_now == 8) & ~stopped
        )
        return count_now != total

    def _fail(
        self, m: Module, given: tuple[Any, Value], came: Value, number: Value, stopped: Value
    ) -> None:
        """Claim that the errors are those that there are, of the right LOAD."""
        error, words, (starts, wrong) = self.dut.error, self.dut.reader.data, given
        outside = self.past(m, self.past(m, self.dut.start & wrong))
        index = self.past(m, self.past(m, starts))
        refused = self.past(m, words.valid & words.error)
        right = (error.code == ErrorCode.SRAM_RANGE) & (error.index == index)
        self.claim(
            m, "SRAM_RANGE where it ends outside", ~outside | refused | (error.valid & right)
        )
        right = (error.code == ErrorCode.BUS) & (stopped | (error.index == number))
        self.claim(m, "BUS where memory refused it", ~refused | (error.valid & right))
        self.claim(m, "no other error", error.valid == (outside | refused))

    def _narrow(self, memory: Value) -> Value:
        """Return whether a memory's elements are half a bus word."""
        kinds = [kind for kind in self.memories if kind.element_bytes(CONFIG) == HALF]
        return Cat(memory == kind for kind in kinds).any()

    def _bytes(self, memory: Value, elements: Value) -> Value:
        """Return the bytes of some elements."""
        return Mux(self._narrow(memory), elements * HALF, elements * HALF * HALF)


class Wide(Proof):
    """Any LOAD at all, once: is it an error, and then does nothing get into a buffer?"""

    def __init__(self, hw: Any, memories: tuple[Memory, ...]) -> None:
        super().__init__()
        self.memories = memories
        self.dut = hw.load.LoadEngine(CONFIG, memories)
        self.insn = hw.layouts.layout(Load, CONFIG)(self.dut.command.insn)

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.dut
        insn, request, words = self.insn, dut.reader.request, dut.reader.data
        started, faulty, owes = Signal(), Signal(), Signal(range(4 * LONGEST))
        granted = request.valid & request.ready
        m.d.comb += [
            dut.start.eq(self.free(1, "start") & ~started),
            dut.command.insn.eq(self.free(len(dut.command.insn), "insn")),
            request.ready.eq(self.free(1, "granted") & (owes < 2 * LONGEST)),
            words.valid.eq(self.free(1, "comes") & (granted | (owes != 0))),
            words.data.eq(self.free(len(words.data), "data")),
        ]
        m.d.sync += owes.eq(owes + Mux(granted, request.payload.words, 0) - words.valid)
        self.assume(m, Cat(insn.memory == memory for memory in self.memories).any())
        width = insn.x_pad_0 + insn.x_size + insn.x_pad_1
        rows, under = insn.y_pad_0 + insn.y_size, insn.y_pad_1
        wrong = (insn.x_size != 0) & (insn.sram_base + rows * width + under * width > DEPTH)
        m.d.sync += [started.eq(started | dut.start), faulty.eq(faulty | (dut.start & wrong))]
        told = self.past(m, self.past(m, dut.start & wrong))
        self.claim(m, "SRAM_RANGE where it ends outside", dut.error.valid == told)
        buffers = {FILLED[memory].name.lower() for memory in self.memories}
        filled = Cat(getattr(dut, f"fill_{name}").lanes.any() for name in sorted(buffers)).any()
        self.claim(m, "nothing of a LOAD that ends outside", ~(faulty & filled))
        self.reach(m, "a word, of one that does not", filled)
        self.reach(m, "far outside", dut.error.valid)


CONSTANTS = {"IN_FLIGHT": IN_FLIGHT, "MAX_BURST_WORDS": LONGEST}
CASES = [
    Case(
        "load, words of inputs and weights",
        partial(Loaded, memories=LOAD_UNIT, words=True),
        depth=9,
        reach=11,
        constants=CONSTANTS,
        mutants={
            "an element too many is no error": Mutant(
                "load", "kept_under > limit", "kept_under > limit + 1", fails="no other error"
            ),
            "the sides do not count": Mutant(
                "load",
                "front.width << parts",
                "front.x_size << parts",
                fails="each element at its place, in order",
            ),
        },
    ),
    Case(
        "load, pads of inputs and weights",
        partial(Loaded, memories=LOAD_UNIT, words=False),
        depth=9,
        reach=11,
        constants=CONSTANTS,
        mutants={
            "pads do not wait": Mutant(
                "load",
                "pads.pending & (~receiver.waits | only_front)",
                "pads.pending",
                fails="pads wait for earlier words",
            ),
            "a pad is lost where a word comes": Mutant(
                "load",
                "receiver.pad & ~self.reader.data.valid",
                "receiver.pad",
                fails="all pads before the front is free",
            ),
            "pads are not waited for": Mutant(
                "load",
                "receiver.ended & ~(front_ended & pads.pending)",
                "receiver.ended",
                fails="written once, when all is in its place",
            ),
            "a LOAD of nothing never ends": Mutant(
                "load",
                "pads_done | nothing_to_do",
                "pads_done",
                fails="ends where memory answers",
            ),
            "a request withdrawn in a halt": Mutant(
                "load",
                "bursts.burst.valid & (~self.halt | stands)",
                "bursts.burst.valid & ~self.halt",
                fails="a request stands",
            ),
            "one of many seems alone": Mutant(
                "receive",
                "self.waits_for_many.eq(~none_behind)",
                "self.waits_for_many.eq(0)",
                fails="pads wait for earlier words",
            ),
            "the right side is forgotten": Mutant(
                "pads",
                "between.eq(area.left + area.right)",
                "between.eq(area.left)",
                fails="all pads before the front is free",
            ),
        },
    ),
    Case(
        "load, words of micro-ops and accumulators",
        partial(Loaded, memories=COMPUTE_UNIT, words=True),
        depth=9,
        reach=11,
        constants=CONSTANTS,
        mutants={
            "an element too many gets there": Mutant(
                "load",
                "kept_under > limit",
                "kept_under > limit + 1",
                fails="elements of the buffer only",
            ),
            "8 bits are taken for 32": Mutant(
                "receive",
                "extend.eq(kind is Memory.ACC_8BIT)",
                "extend.eq(0)",
                fails="each element at its place, in order",
            ),
            "the front's error for every word": Mutant(
                "receive",
                "self.error.index.eq(oldest.index)",
                "self.error.index.eq(self.arrival.index)",
                fails="BUS where memory refused it",
            ),
        },
    ),
    Case(
        "load, pads of micro-ops and accumulators",
        partial(Loaded, memories=COMPUTE_UNIT, words=False),
        depth=9,
        reach=11,
        constants=CONSTANTS,
        mutants={
            "all pads are micro-ops": Mutant(
                "load",
                "receiver.pad_memory.eq(front.memory)",
                "receiver.pad_memory.eq(0)",
                fails="a pad is a whole element of zeros",
            ),
        },
    ),
    Case(
        "load, any of inputs and weights",
        partial(Wide, memories=LOAD_UNIT),
        depth=9,
        reach=8,
        constants=CONSTANTS,
        mutants={
            "a row as long as 16 bits": Mutant(
                "load",
                "front.width.eq(insn.x_pad_0 + insn.x_size + insn.x_pad_1)",
                "front.width.eq((insn.x_pad_0 + insn.x_size + insn.x_pad_1)[:16])",
                fails="SRAM_RANGE where it ends outside",
            ),
            "an end of 17 bits": Mutant(
                "load",
                "Signal.like(below)",
                "Signal(ELEMENT_BITS)",
                fails="SRAM_RANGE where it ends outside",
            ),
            "an error is told and not minded": Mutant(
                "load",
                "receiver.discard.eq(1)",
                "receiver.discard.eq(0)",
                fails="nothing of a LOAD that ends outside",
            ),
        },
    ),
    Case(
        "load, any of micro-ops and accumulators",
        partial(Wide, memories=COMPUTE_UNIT),
        depth=9,
        reach=8,
        constants=CONSTANTS,
        mutants={
            "an error is minded a cycle late": Mutant(
                "receive",
                "fill.lanes.eq(Mux(self.discard, 0, kept_lanes))",
                "fill.lanes.eq(kept_lanes)",
                fails="nothing of a LOAD that ends outside",
            ),
        },
    ),
]
