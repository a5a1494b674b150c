"""Token counters: tokens are neither lost nor invented, and never too many."""

from typing import Any

from amaranth.hdl import Module

from .cases import Case, Mutant
from .proof import Proof, count
from .sby import Mode

DEPTH = 5
MOST = 1000


class Tokens(Proof):
    """A counter between a giver that never gives to a full one and a taker that takes at will."""

    def __init__(self, hw: Any) -> None:
        super().__init__()
        self.hw = hw

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.hw.tokens.TokenCounter(DEPTH)
        push, pop = self.free(1, "push"), self.free(1, "pop")
        m.d.comb += [dut.push.eq(push & ~dut.full), dut.pop.eq(pop)]
        held = count(m, MOST, dut.push, pop & dut.ready)
        self.claim(m, "as many as were given and not taken", dut.level == held)
        self.claim(m, "no more than fit", dut.level <= DEPTH)
        self.claim(m, "ready while there are some", dut.ready == (held != 0))
        self.claim(m, "full at the depth", dut.full == (held == DEPTH))
        self.reach(m, "full, then less", self.past(m, dut.full) & (held == DEPTH - 1))


class Overfed(Proof):
    """A counter that is given tokens when it is full: it drops them, and holds no more than fit."""

    def __init__(self, hw: Any) -> None:
        super().__init__()
        self.hw = hw

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.hw.tokens.TokenCounter(DEPTH)
        push, pop = self.free(1, "push"), self.free(1, "pop")
        m.d.comb += [dut.push.eq(push), dut.pop.eq(pop)]
        before = self.past(m, dut.level)
        fits = ~self.past(m, dut.full) | self.past(m, pop)
        given, taken = self.past(m, push) & fits, self.past(m, pop & dut.ready)
        self.claim(m, "no more than fit", dut.level <= DEPTH)
        self.claim(m, "what fits is given", dut.level == before + given - taken)
        self.reach(m, "given to a full one", dut.full & push & ~pop)


CASES = [
    Case(
        "tokens",
        Tokens,
        depth=1,
        reach=8,
        mode=Mode.INDUCTION,
        mutants={
            "a token taken of none": Mutant(
                "tokens", "self.pop & self.ready", "self.pop", fails="no more than fit"
            ),
            "a token lost when one is taken": Mutant(
                "tokens",
                "self.push & (",
                "self.push & ~taken & (",
                fails="as many as were given and not taken",
            ),
        },
    ),
    Case(
        "tokens, given too many",
        Overfed,
        depth=2,
        reach=8,
        mode=Mode.INDUCTION,
        mutants={
            "no room is not minded": Mutant(
                "tokens", "self.push & (~self.full | taken)", "self.push", fails="no more than fit"
            )
        },
    ),
]
