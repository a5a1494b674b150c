"""The sequencers: tokens taken and given once, order kept, and nobody waits without a reason."""

from dataclasses import replace
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data
from vtakit.isa.config import PRESETS
from vtakit.isa.instructions import Instruction

from .cases import Case, Mutant
from .proof import Proof, count

UNDER_WAY = 4
SLOT_BITS = 2
CONFIG = replace(PRESETS["tiny"], command_queue_depth=2)
FLAGS = ("pop_prev", "pop_next", "push_prev", "push_next")
MOST = 15


class Unit(Proof):
    """A unit's sequencer; instructions, tokens and room for them come when they like.

    The engine is free for a new instruction when it likes, and says of each instruction once, at
    its start at the earliest, that it has written.
    """

    def __init__(self, hw: Any) -> None:
        super().__init__()
        self.dut = hw.sequencer.Sequencer(CONFIG)
        self.layout = hw.layouts.layout(Instruction, CONFIG)

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.dut
        insn = self.layout(dut.input.payload.insn)
        prev_ready, next_ready = dut.pop_prev.ready, dut.pop_next.ready
        m.d.comb += [
            dut.input.valid.eq(self.free(1, "comes")),
            insn.opcode.eq(self.free(3, "opcode")),
            *(insn[flag].eq(self.free(1, flag)) for flag in FLAGS),
            dut.front_free.eq(self.free(1, "front_free")),
            dut.halt.eq(self.free(1, "halt")),
            prev_ready.eq(self.free(1, "prev_ready")),
            next_ready.eq(self.free(1, "next_ready")),
            dut.push_prev.full.eq(self.free(1, "prev_full")),
            dut.push_next.full.eq(self.free(1, "next_full")),
        ]
        taken = dut.input.valid & dut.input.ready
        numbers = count(m, MOST, taken, name="numbers")
        starts, ends = (
            count(m, MOST, dut.start, name="starts"),
            count(m, MOST, dut.ended, name="ends"),
        )
        m.d.comb += dut.input.payload.index.eq(numbers)
        head, oldest, last = self._list(m, insn, taken, numbers, starts, ends)
        wrote, all_wrote = self._engine(m, starts, ends)

        seen, flying = numbers != starts, (starts - ends)[:4]
        other_kind = (flying != 0) & (head.opcode != last.opcode)
        room = (flying != UNDER_WAY) & ~other_kind
        tokens = (~head.pop_prev | prev_ready) & (~head.pop_next | next_ready)
        may_start = seen & dut.front_free & room & tokens & ~dut.halt
        full = (oldest.push_prev & dut.push_prev.full) | (oldest.push_next & dut.push_next.full)
        may_end = (flying != 0) & wrote & ~full & ~dut.halt
        self.claim(m, "starts as soon as it may", dut.start == may_start)
        self.claim(m, "ends as soon as it may", dut.ended == may_end)
        self.claim(m, "no more under way than may be", flying <= UNDER_WAY)
        same = self.layout(dut.command.insn).opcode == head.opcode
        self.claim(m, "in order", ~dut.start | (same & (dut.command.index == starts)))
        pops, pushes = dut.start & head.pop_prev, dut.ended & oldest.push_prev
        self.claim(m, "takes from prev what it asks for", dut.pop_prev.pop == pops)
        self.claim(m, "gives prev what it promises", dut.push_prev.push == pushes)
        pops, pushes = dut.start & head.pop_next, dut.ended & oldest.push_next
        self.claim(m, "takes from next what it asks for", dut.pop_next.pop == pops)
        self.claim(m, "gives next what it promises", dut.push_next.push == pushes)

        moves = dut.start | dut.ended
        engine = ~dut.front_free | ~all_wrote
        waits_for_token = (seen & room & ~tokens) | ((flying != 0) & wrote & full)
        nothing = ~seen & (flying == 0)
        self.claim(
            m, "waits for engine or token", nothing | moves | engine | waits_for_token | dut.halt
        )
        self.claim(m, "idle where there is nothing", dut.idle == nothing)
        self.claim(m, "oldest", dut.oldest == Mux(nothing, 0xFFFFFFFF, ends))
        self.claim(m, "stuck where only tokens help", dut.stuck == (~engine & ~moves))
        helps = Cat(
            prev_ready & ~self.past(m, prev_ready),
            next_ready & ~self.past(m, next_ready),
            ~dut.push_prev.full & self.past(m, dut.push_prev.full),
            ~dut.push_next.full & self.past(m, dut.push_next.full),
            ~dut.halt & self.past(m, dut.halt),
            self.past(m, taken),
        ).any()
        self.claim(m, "stuck until something helps", ~self.past(m, dut.stuck) | ~moves | helps)
        self.reach(m, "as many as may be", flying == UNDER_WAY)
        self.reach(
            m,
            "a second kind, after the first",
            dut.start & (head.opcode != last.opcode) & (starts == 2),
        )
        self.reach(m, "stuck", dut.stuck & seen & (flying == 0) & (starts == 1))

    def _list(
        self, m: Module, insn: Any, taken: Any, numbers: Any, starts: Any, ends: Any
    ) -> tuple[Any, Any, Any]:
        """Keep all instructions; return the first not started, the oldest under way, and the last
        one started.
        """
        fields = ("opcode", *FLAGS)
        listed = Array(Signal(3 + len(FLAGS), name=f"insn_{i}") for i in range(MOST + 1))
        with m.If(taken):
            m.d.sync += listed[numbers].eq(Cat(insn[name] for name in fields))
        views = []
        for name, place in (("head", starts), ("oldest", ends), ("last", (starts - 1)[:4])):
            view = Signal(data.StructLayout({"opcode": 3, **dict.fromkeys(FLAGS, 1)}), name=name)
            m.d.comb += view.eq(listed[place])
            views.append(view)
        return tuple(views)

    def _engine(self, m: Module, starts: Any, ends: Any) -> tuple[Any, Any]:
        """Play the engine; return whether the oldest instruction, and whether all, have written."""
        dut = self.dut
        flying, wrote, new, done = (Signal(UNDER_WAY) for _ in range(4))
        m.d.comb += [
            new.eq(Mux(dut.start, 1 << dut.slot, 0)),
            done.eq(Mux(dut.ended, 1 << ends[:SLOT_BITS], 0)),
            dut.written.eq(self.free(UNDER_WAY, "written") & ((flying & ~wrote) | new)),
        ]
        m.d.sync += [flying.eq((flying | new) & ~done), wrote.eq((wrote & ~new) | dut.written)]
        self.claim(m, "a slot for each", ~dut.start | (dut.slot == starts[:SLOT_BITS]))
        return wrote.bit_select(ends[:SLOT_BITS], 1), (flying & ~wrote) == 0


CASES = [
    Case(
        "sequencer",
        Unit,
        depth=11,
        reach=10,
        constants={"IN_FLIGHT": UNDER_WAY},
        mutants={
            "one too many under way": Mutant(
                "sequencer", " & (count != IN_FLIGHT)", "", fails="no more under way than may be"
            ),
            "a token taken again while it waits": Mutant(
                "sequencer",
                "self.start & insn.pop_prev",
                "queue.output.valid & insn.pop_prev",
                fails="takes from prev what it asks for",
            ),
            "a token given twice": Mutant(
                "sequencer",
                "self.ended & to_next",
                "has_written & to_next",
                fails="gives next what it promises",
            ),
            "a full token queue is not minded": Mutant(
                "sequencer",
                "& (~to_prev | ~self.push_prev.full)",
                "",
                fails="ends as soon as it may",
            ),
            "kinds overlap": Mutant(
                "sequencer", "room.eq(~other_kind & ", "room.eq(", fails="starts as soon as it may"
            ),
            "a slot's last instruction counts as this one": Mutant(
                "sequencer",
                "written & ~started | self.written",
                "written | self.written",
                fails="ends as soon as it may",
            ),
            "waits for a token that it does not need": Mutant(
                "sequencer",
                "(~insn.pop_next | self.pop_next.ready)",
                "self.pop_next.ready",
                fails="waits for engine or token",
            ),
            "a deadlock seen too early": Mutant(
                "sequencer",
                "self.front_free & all_written & ~self.start",
                "self.front_free & ~self.start",
                fails="stuck until something helps",
            ),
            "an instruction that writes at its start is lost": Mutant(
                "sequencer",
                "written & ~started | self.written",
                "(written | self.written) & ~started",
                fails="waits for engine or token",
            ),
        },
    ),
]
