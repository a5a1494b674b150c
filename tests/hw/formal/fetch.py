"""Fetch: its requests keep the rules, nothing in its buffer is lost, instructions come in order."""

from dataclasses import replace
from functools import partial
from typing import Any

from amaranth.hdl import Module, Mux, Signal
from vtakit.isa.config import INSTRUCTION_BITS, PRESETS

from .cases import Case, Mutant
from .proof import Proof, count

BURST = 2
INSTRUCTION_BYTES = INSTRUCTION_BITS // 8
MOST = 15


class Fetched(Proof):
    """A program of few instructions at any place, granted, read and handed on at will.

    Each instruction's word says which one it is, in both of its halves.
    """

    def __init__(self, hw: Any, bus_bits: int) -> None:
        super().__init__()
        self.bytes = bus_bits // 8
        self.dut = hw.fetch.Fetch(replace(PRESETS["tiny"], bus_bits=bus_bits))

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.dut
        request, words, command = dut.reader.request, dut.reader.data, dut.command
        started, length = Signal(), self.fixed(m, range(6), "length")
        m.d.comb += [
            dut.start.eq(self.free(1, "start") & ~started),
            dut.address.eq(self.free(32, "address")),
            dut.count.eq(length),
            dut.halt.eq(self.free(1, "halt")),
            request.ready.eq(self.free(1, "granted")),
            command.ready.eq(self.free(1, "room")),
        ]
        begin = Signal(32)
        with m.If(dut.start):
            m.d.sync += [started.eq(1), begin.eq(dut.address)]
        granted, on_their_way, refused = self._memory(m, request, words)

        address, size = request.payload.address, request.payload.words
        bursts = count(m, MOST, granted, name="bursts")
        behind = Signal(range(MOST))  # instructions from this burst on
        m.d.comb += behind.eq(Mux(bursts * BURST < length, length - bursts * BURST, 0))
        some = Mux(behind < BURST, behind, BURST) * INSTRUCTION_BYTES
        low = (BURST * INSTRUCTION_BYTES).bit_length() - 1
        wanted = ((begin[low:] + bursts) << low)[:32]
        self.stands(m, "a request stands", request.valid, request.ready, request.payload)
        self.claim(m, "the next burst of the program", ~request.valid | (address == wanted))
        needed = (some + self.bytes - 1) // self.bytes
        self.claim(m, "as long as it is needed", ~request.valid | ((size == needed) & (size != 0)))
        stood = self.past(m, request.valid & ~request.ready)
        self.claim(m, "no new request in a halt", ~(dut.halt & request.valid) | stood)
        self.claim(m, "drained with no request", dut.drained == ~request.valid)

        taken = command.valid & command.ready
        handed = count(m, MOST, taken, name="handed")
        number, insn = command.payload.index, command.payload.insn
        right = (number == handed) & (insn[:64] == 2 * handed) & (insn[64:] == 2 * handed + 1)
        self.claim(m, "instructions in order", ~command.valid | right)
        kept = self.past(m, command.valid & ~command.ready) & ~dut.halt & ~refused
        self.claim(m, "an instruction stands", ~kept | command.valid)
        self.claim(
            m, "the last one is named", ~command.valid | (dut.last == (handed + 1 == length))
        )
        left = started & (handed != length)
        self.claim(m, "idle when all are handed on", dut.idle == ~left)
        self.claim(m, "none in a halt", ~(command.valid & dut.halt))
        self.claim(m, "none after a refused word", ~(command.valid & refused))
        moves = request.valid | (on_their_way != 0) | command.valid
        self.claim(m, "waits for memory or room", ~left | moves | dut.halt | refused)
        self.reach(m, "the last of five", dut.last & taken & (length == 5))
        self.reach(
            m, "a full buffer", (bursts == 2) & (handed == 0) & ~request.valid & (length == 5)
        )

    def _memory(self, m: Module, request: Any, words: Any) -> tuple[Any, Any, Any]:
        """Play memory; return a grant, words on their way, and whether one has been refused."""
        granted = request.valid & request.ready
        asked, came, refused = Signal(range(64)), Signal(range(64)), Signal()
        asked_now = Signal.like(asked)
        lanes = self.bytes // 8
        m.d.comb += [
            asked_now.eq(asked + Mux(granted, request.payload.words, 0)),
            words.valid.eq(self.free(1, "comes") & (came != asked_now)),
            words.error.eq(self.free(1, "refused")),
            *(words.data.word_select(i, 64).eq(came * lanes + i) for i in range(lanes)),
        ]
        m.d.sync += [
            asked.eq(asked_now),
            came.eq(came + words.valid),
            refused.eq(refused | (words.valid & words.error)),
        ]
        return granted, (asked - came)[: len(asked)], refused


CONSTANTS = {"FETCH_BURST": BURST}
CASES = [
    Case(
        "fetch",
        partial(Fetched, bus_bits=64),
        depth=12,
        reach=16,
        constants=CONSTANTS,
        mutants={
            "a burst too many in the buffer": Mutant(
                "fetch", "(held != FETCH_BUFFER_BURSTS)", "1", fails="instructions in order"
            ),
            "a request withdrawn in a halt": Mutant(
                "fetch",
                "wanted & (~self.halt | stands)",
                "wanted & ~self.halt",
                fails="a request stands",
            ),
            "the last burst is as long as the others": Mutant(
                "fetch",
                "Mux(left < FETCH_BURST, left[: FETCH_BURST.bit_length()], FETCH_BURST)",
                "Mux(left != 0, FETCH_BURST, 0)",
                fails="as long as it is needed",
            ),
            "an instruction that has come in part": Mutant(
                "fetch",
                "whole.eq(words.valid & (chunk == chunks - 1))",
                "whole.eq(words.valid)",
                fails="instructions in order",
            ),
            "room that is never given back": Mutant(
                "fetch",
                "held + granted - freed",
                "held + granted",
                fails="waits for memory or room",
            ),
        },
    ),
    Case(
        "fetch, two instructions a word",
        partial(Fetched, bus_bits=256),
        depth=11,
        reach=10,
        constants=CONSTANTS,
        mutants={
            "words rounded down": Mutant(
                "fetch", "(count + together - 1)", "count", fails="waits for memory or room"
            ),
            "the second of a word is the first": Mutant(
                "fetch",
                "index[:line_bit], INSTRUCTION_BITS",
                "0, INSTRUCTION_BITS",
                fails="instructions in order",
            ),
        },
    ),
]
