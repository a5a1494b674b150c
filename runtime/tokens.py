"""Which tokens make three units that run beside each other keep the order of one program.

Every hazard says: instruction b of one unit must start after instruction a of another has ended,
with a before b in program order. `TokenOrder.issue` is told the newest such a of each unit and
gives a push to a and a pop to b, unless b's unit is known to have seen a already.

Why counting tokens is enough. Between two neighbours, take the pairs (a, b) in the order in which
they are made. b grows, since pairs are made while b is emitted, one a queue at most. a grows too:
a pair is only made for an a newer than all that b's unit has seen, the a of earlier pairs among
them. So the n-th push of the queue is that of the n-th pair, and so is the n-th pop: the token
that b takes is the one that a gave. Units are in order, so b waits for all before a as well.

Why it never deadlocks. Executing the program in its own order, one instruction after the other, is
one possible run: a stands before b, and at any time a queue holds no more tokens than its depth
(see `_token`). Units that communicate by blocking, bounded queues alone can all finish if one run
of theirs does (Kahn), so the command queues' depth does not matter either.
"""

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from ..isa.instructions import Unit


class Edge(NamedTuple):
    """The pairs of one token queue, both columns rising: `pushes[i]` comes before `pops[i]`."""

    pushes: list[int]
    pops: list[int]


class TokenOrder:
    """Number instructions in program order and pair those that must wait with what they wait for.

    Parameters
    ----------
    depth : int
        Tokens that one queue holds.

    Attributes
    ----------
    edges : dict[tuple[Unit, Unit], Edge]
        Pairs by (unit that pushes, unit that pops), for neighbouring units.
    count : int
        Instructions so far, relays among them.

    LOAD and STORE share no queue. What one must know of the other goes through an instruction of
    COMPUTE that has seen it; where there is none, `issue` numbers a relay first: an instruction of
    COMPUTE that does nothing but take a token and give one.
    """

    def __init__(self, depth: int):
        self.depth = depth
        self.count = 0
        self.edges = {
            (a, b): Edge([], [])
            for a, b in (
                (Unit.LOAD, Unit.COMPUTE),
                (Unit.COMPUTE, Unit.LOAD),
                (Unit.COMPUTE, Unit.STORE),
                (Unit.STORE, Unit.COMPUTE),
            )
        }
        # The newest instruction of each unit (column) that is known to have ended when the next
        # one of a unit (row) starts; and the row of every instruction when it started.
        self._seen: list[tuple[int, int, int]] = [(-1, -1, -1)] * len(Unit)
        self._clocks: list[tuple[int, int, int]] = []
        # Instructions of COMPUTE that learnt about LOAD or STORE: what they knew, and which.
        self._learnt: dict[Unit, tuple[list[int], list[int]]] = {
            Unit.LOAD: ([], []),
            Unit.STORE: ([], []),
        }

    def issue(self, unit: Unit, after: tuple[int, int, int]) -> int:
        """Number an instruction that starts when the instructions `after` have ended.

        `after` holds the newest instruction of each unit to wait for, or -1. The number is `count`
        as it was, or one more when a relay had to come first.
        """
        if unit is Unit.COMPUTE:
            number = self.count
            for peer in (Unit.LOAD, Unit.STORE):
                if after[peer] > self._seen[unit][peer]:
                    self._token(peer, unit, after[peer], number)
            return self._append(unit)
        via = after[Unit.COMPUTE]
        far = Unit.STORE if unit is Unit.LOAD else Unit.LOAD
        if after[far] > self._seen[unit][far]:
            via = max(via, self._witness(far, after[far]))
        number = self.count
        if via > self._seen[unit][Unit.COMPUTE]:
            self._token(Unit.COMPUTE, unit, via, number)
        return self._append(unit)

    def _append(self, unit: Unit) -> int:
        number = self.count
        self._clocks.append(self._seen[unit])
        self.count = number + 1
        return number

    def _witness(self, far: Unit, number: int) -> int:
        """Return the first instruction of COMPUTE that has seen `number` of `far`, or a relay."""
        knew, where = self._learnt[far]
        found = bisect_left(knew, number)
        if found < len(where):
            return where[found]
        self._token(far, Unit.COMPUTE, number, self.count)
        return self._append(Unit.COMPUTE)

    def _token(self, source: Unit, target: Unit, a: int, b: int) -> None:
        """Let `b` of `target` wait for `a` of `source`.

        When the queue would be full at a, in program order, the last instruction that takes from
        it, which stands between a and b, waits for a instead of for something older.
        """
        edge = self.edges[source, target]
        if len(edge.pops) - bisect_right(edge.pops, a) >= self.depth:
            edge.pushes[-1] = a
        else:
            edge.pushes.append(a)
            edge.pops.append(b)
        knows = [max(pair) for pair in zip(self._seen[target], self._clocks[a], strict=True)]
        knows[source] = a
        if target is Unit.COMPUTE:
            for peer, (knew, where) in self._learnt.items():
                if knows[peer] > self._seen[target][peer]:
                    if where and where[-1] == b:
                        knew[-1] = knows[peer]
                    else:
                        knew.append(knows[peer])
                        where.append(b)
        self._seen[target] = (knows[0], knows[1], knows[2])
