"""The core cannot deadlock itself: it moves on, is done, or says that the program is a deadlock.

Where neither memory nor an engine is waited for, that is; and it says so of no other program. This
is the core's own part of it: dispatch, sequencers and token queues, with engines and fetch that
take as long as they like. That these do not take for ever is proved beside it, of each of them with
surroundings that do all that the others may do:

- a LOAD or STORE that has started ends a few cycles after memory has granted its last request and
  given its last word or response (`load`, `store`: "ends where memory answers");
- a GEMM or ALU issues in every cycle until its loops are done, and pipelines never wait (`issue`:
  "one a cycle", "the last one says so, once");
- fetch has its next instruction, or waits for memory or for room (`fetch`: "waits for memory or
  room");
- memory is asked for what a reader asks for as soon as words in flight allow it, and each word goes
  to the one that asked (`read_channel`); bursts are sent as soon as responses allow it
  (`write_channel`); R and B are never held up;
- a sequencer waits for its engine or a token only, and is `stuck` only where nothing but a token
  helps (`sequencer`); tokens are not lost (`tokens`).

So in a core that stands still somebody waits for memory, or each unit for a token that nobody will
give, which is the program's doing and is told as an error.
"""

from dataclasses import replace
from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from vtakit.isa.config import INSTRUCTION_BITS, PRESETS
from vtakit.isa.instructions import Load, Memory, Unit
from vtakit.isa.registers import ErrorCode

from .cases import Case, Mutant
from .proof import Proof, count

IN_FLIGHT = 2
MOST = 4
"""Instructions of a program."""

PATIENCE = 3
"""Cycles in a row in which nothing moves and nothing is waited for."""

CONFIG = replace(PRESETS["tiny"], command_queue_depth=2, token_queue_depth=1)
UNITS = (Unit.LOAD, Unit.COMPUTE, Unit.STORE)
FLAGS = ("pop_prev", "pop_next", "push_prev", "push_next")
FIELDS = ("opcode", "memory", *FLAGS)
Listed = data.StructLayout({"opcode": 3, **dict.fromkeys(FLAGS, 1), "number": 3})
"""What is known of an instruction."""


class Stub:
    """A part of the core that does nothing; a base before the real one."""

    def elaborate(self: Any, platform: object) -> Module:
        m = Module()
        if "drained" in self.signature.members:
            m.d.comb += self.drained.eq(1)
        if hasattr(self, "loader"):
            m.submodules.loader = self.loader  # it never starts
        return m


class Engine(Stub):
    """An engine that takes as long as it likes.

    Attributes
    ----------
    frees, writes
        Let it free its front, and write what is in some slots.
    quiet
        It has nothing to do.
    """

    def elaborate(self: Any, platform: object) -> Module:
        m = super().elaborate(platform)
        busy, owed, new = Signal(), Signal(IN_FLIGHT), Signal(IN_FLIGHT)
        m.d.comb += [
            new.eq(Mux(self.start, 1 << self.slot, 0)),
            self.front_free.eq(~busy),
            self.written.eq(self.writes & (owed | new)),
            self.quiet.eq(~busy & (owed == 0)),
        ]
        m.d.sync += [
            busy.eq(self.start | (busy & ~self.frees)),
            owed.eq((owed | new) & ~self.written),
        ]
        return m


class Program(Stub):
    """Fetch, of a program that comes when it likes.

    Attributes
    ----------
    comes, insn
        Let the next instruction come, and which it is.
    """

    def elaborate(self: Any, platform: object) -> Module:
        m = super().elaborate(platform)
        command = self.command
        left, there = Signal(range(MOST + 1)), Signal()
        number, word = Signal(range(MOST + 1)), Signal(INSTRUCTION_BITS)
        m.d.comb += [
            command.valid.eq(there & ~self.halt),
            command.payload.insn.eq(word),
            command.payload.index.eq(number),
            self.last.eq(left == 1),
            self.idle.eq(left == 0),
        ]
        with m.If(self.start):
            m.d.sync += left.eq(self.count)
        with m.If(command.valid & command.ready):
            m.d.sync += [left.eq(left - 1), number.eq(number + 1), there.eq(0)]
        with m.If(~there & (left != 0) & self.comes):
            m.d.sync += [there.eq(1), word.eq(self.insn)]
        return m


class Whole(Proof):
    """A program of any few instructions, once, in a core whose engines are `Engine`s."""

    def __init__(self, hw: Any) -> None:
        super().__init__()
        self.insn = hw.layouts.layout(Load, CONFIG)
        self.unit_of = hw.check.Check(CONFIG)
        core = hw.core
        engines = {
            Unit.LOAD: _replace(core, "LoadEngine", Engine)(CONFIG, (Memory.INP, Memory.WGT)),
            Unit.COMPUTE: _replace(core, "ComputeEngine", Engine)(CONFIG),
            Unit.STORE: _replace(core, "StoreEngine", Engine)(CONFIG),
        }
        for unit, engine in engines.items():
            name = unit.name.lower()
            engine.quiet = Signal(name=f"{name}_quiet")
            engine.frees = self.free(1, f"{name}_frees")
            engine.writes = self.free(IN_FLIGHT, f"{name}_writes")
        self.engines = list(engines.values())
        core.LoadEngine = lambda config, memories: engines[Unit.LOAD]
        core.ComputeEngine = lambda config: engines[Unit.COMPUTE]
        core.StoreEngine = lambda config: engines[Unit.STORE]

        self.fetch = fetch = _replace(core, "Fetch", Program)(CONFIG)
        fetch.insn, fetch.comes = self.free(INSTRUCTION_BITS, "insn"), self.free(1, "comes")
        self.registers = registers = _replace(core, "Registers", Stub)(CONFIG)
        core.Fetch, core.Registers = lambda config: fetch, lambda config: registers
        _replace(core, "ReadChannel", Stub)
        _replace(core, "Buffer", Stub)
        self.dut = core.Core(CONFIG)

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.dut
        registers, command = self.registers, self.fetch.command
        used = Cat(self.insn(self.fetch.insn)[name] for name in FIELDS)
        self.assume(m, (self.fetch.insn & ~((1 << len(used)) - 1)) == 0)
        started, length = Signal(), self.fixed(m, range(MOST + 1), "length")
        m.d.comb += [
            registers.control.start.eq(self.free(1, "start") & ~started),
            registers.insn_count.eq(length),
        ]
        m.d.sync += started.eq(started | registers.control.start)
        self.assume(m, length <= MOST)
        error, status = registers.error, registers.status

        handed = command.valid & command.ready
        moves = handed | dut.starts.any() | dut.ends.any()
        quiet = Cat(engine.quiet for engine in self.engines).all()
        fetching = ~self.fetch.idle & ~command.valid
        idle = Signal(range(PATIENCE + 2))
        with m.If(~dut.running | moves | ~quiet | fetching):
            m.d.sync += idle.eq(0)
        with m.Elif(idle <= PATIENCE):
            m.d.sync += idle.eq(idle + 1)
        self.claim(m, "moves on, or stops", idle < PATIENCE)

        stands, ended, used = self._list(m, handed)
        deadlock = status.error & (error.code == ErrorCode.DEADLOCK)
        new = deadlock & ~self.past(m, deadlock)
        before = self.past(m, stands & quiet & (handed == 0) & ~fetching)
        self.claim(m, "a deadlock where nothing can move any more", ~new | before)
        oldest = Mux(ended[0], Mux(ended[1], Mux(ended[2], 3, 2), 1), 0)
        named = registers.error_insn == self.past(m, oldest)
        self.claim(m, "of the oldest instruction", ~new | named)
        all_ended = count(m, MOST, dut.ends[0] + dut.ends[1] + dut.ends[2], name="ends") == length
        good = status.done & ~status.error
        self.claim(m, "done when all have ended", ~good | all_ended)
        self.reach(m, "three units, done", good & (length == 4) & used)
        self.reach(m, "a deadlock", new & (length == 2))
        self.reach(m, "a deadlock of a full queue", new & (registers.error_insn == 1))

    def _list(self, m: Module, handed: Value) -> tuple[Value, Value, Value]:
        """Keep the instructions of each unit; return whether none of those there are can start or
        end; which have ended, by their numbers; and whether each unit was given some.
        """
        dut, registers = self.dut, self.registers
        m.submodules.unit_of = check = self.unit_of
        m.d.comb += check.insn.eq(self.fetch.command.payload.insn)
        insn = self.insn(self.fetch.command.payload.insn)
        ended, stand, used = Signal(MOST), [], []
        for unit in UNITS:
            name = unit.name.lower()
            listed = Array(Signal(Listed, name=f"{name}_{i}") for i in range(MOST))
            own = handed & (check.unit == unit)
            given = count(m, MOST, own, name=f"{name}_given")
            starts = count(m, MOST, dut.starts[unit], name=f"{name}_starts")
            ends = count(m, MOST, dut.ends[unit], name=f"{name}_ends")
            head, oldest = Signal(Listed, name=f"{name}_head"), Signal(Listed, name=f"{name}_old")
            m.d.comb += [head.eq(listed[starts[:2]]), oldest.eq(listed[ends[:2]])]
            with m.If(own):
                m.d.sync += listed[given[:2]].eq(
                    Cat(
                        insn.opcode,
                        *(insn[flag] for flag in FLAGS),
                        self.fetch.command.payload.index[:3],
                    )
                )
            with m.If(dut.ends[unit]):
                m.d.sync += ended.bit_select(oldest.number[:2], 1).eq(1)
            lacks, full = [], []
            for side, other in (("prev", unit - 1), ("next", unit + 1)):
                if other not in list(UNITS):
                    continue
                neighbour = Unit(other).name
                lacks.append(
                    head[f"pop_{side}"] & (registers.tokens[f"TOKENS_{neighbour}_{unit.name}"] == 0)
                )
                full.append(
                    oldest[f"push_{side}"]
                    & (registers.tokens[f"TOKENS_{unit.name}_{neighbour}"] == 1)
                )
            flying = starts != ends
            stand.append(~flying | Cat(full).any())
            stand.append((given == starts) | flying | Cat(lacks).any())
            used.append(given.any())
        return Cat(stand).all(), ended, Cat(used).all()


def _replace(core: Any, name: str, stub: type) -> Any:
    """Put a stub of the same members in the place of a part; return it."""
    made = type(name, (stub, getattr(core, name)), {})
    setattr(core, name, made)
    return made


CASES = [
    Case(
        "core",
        Whole,
        depth=12,
        reach=16,
        constants={"IN_FLIGHT": IN_FLIGHT},
        mutants={
            "a deadlock is not seen while fetch waits": Mutant(
                "core", "(fetch.idle | waits)", "fetch.idle", fails="moves on, or stops"
            ),
            "a deadlock is seen while an engine works": Mutant(
                "sequencer",
                "self.front_free & all_written & ~self.start",
                "self.front_free & ~self.start",
                fails="a deadlock where nothing can move any more",
            ),
            "a token is given to the wrong neighbour": Mutant(
                "core",
                '"push_next" if giver < taker else',
                '"push_next" if giver > taker else',
                fails="a deadlock where nothing can move any more",
            ),
            "the newest instruction is named": Mutant(
                "core", "Mux(b < a, b, a)", "Mux(a < b, b, a)", fails="of the oldest instruction"
            ),
            "done when all are handed on": Mutant(
                "core",
                "quiet.eq(fetch.idle & _all(unit.idle for unit in every))",
                "quiet.eq(fetch.idle)",
                fails="done when all have ended",
            ),
            "a full command queue loses what comes": Mutant(
                "core",
                "command.ready.eq(sequencer.input.ready)",
                "command.ready.eq(1)",
                fails="done when all have ended",
            ),
        },
    ),
]
