"""The tokens between two neighbouring units."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class TokenCounter(wiring.Component):
    """Count the tokens one unit has pushed and its neighbour has not yet popped.

    Parameters
    ----------
    depth : int
        The most tokens held, at least 1.

    Members
    -------
    push : In(1)
        Add a token in this cycle; lost when `depth` are held and none is taken.
    pop : In(1)
        Take a token in this cycle; ignored while `ready` is low.
    ready : Out(1)
        At least one token is held at the beginning of the cycle.
    full : Out(1)
        `depth` tokens are held at the beginning of the cycle.
    level : Out(range(depth + 1))
        Tokens held at the beginning of the cycle.
    """

    push: Signal
    pop: Signal
    ready: Signal
    full: Signal
    level: Signal

    def __init__(self, depth: int):
        self.depth = depth
        super().__init__(
            {
                "push": In(1),
                "pop": In(1),
                "ready": Out(1),
                "full": Out(1),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        taken = self.pop & self.ready
        given = self.push & (~self.full | taken)
        m.d.comb += [self.ready.eq(self.level != 0), self.full.eq(self.level == self.depth)]
        m.d.sync += self.level.eq(self.level + given - taken)
        return m
