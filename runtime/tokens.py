"""Which tokens make the units that run beside each other keep the order of one program.

Every hazard says: instruction b of one unit must start after instruction a of another has ended,
with a before b in program order. `TokenOrder.issue` is told the newest such a of each unit and
gives a push to a and a pop to b, unless b's unit is known to have seen a already.

Why counting tokens is enough. Between two neighbours, take the pairs (a, b) in the order in which
they are made. b grows, since pairs are made while b is emitted, one a queue at most. a grows too:
a pair is only made for an a newer than all that b's unit has seen, the a of earlier pairs among
them. So the n-th push of the queue is that of the n-th pair, and so is the n-th pop: the token
that b takes is the one that a gave. Units are in order, so b waits for all before a as well.

With two banks of accumulators COMPUTE and MATRIX share their queues, and each sees for itself. The
hardware lets one wait for the other where they work in one bank, and keeps tokens in program order
(sim/TIMING.md). What one saw the other knows from such a meeting on. Where a pair would not grow,
because the other unit made a later one, a relay comes first: an instruction that meets all before
it and is met by all after it, so that it has seen what either has.

Why it never deadlocks. Executing the program in its own order, one instruction after the other, is
one possible run: a stands before b, and at any time a queue holds no more tokens than its depth
(see `_pair`). Units that communicate by blocking, bounded queues alone can all finish if one run
of theirs does (Kahn), so the command queues' depth does not matter either.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from ..isa.instructions import Unit
from .hazards import NEVER

BANKS: Sequence[int] = (0, 1)

Seen: TypeAlias = tuple[int, ...]
"""The newest instruction of each unit that is known to have ended."""

_MIDDLE = (Unit.COMPUTE, Unit.MATRIX)


class Edge(NamedTuple):
    """The pairs of one token queue, both columns rising: `pushes[i]` comes before `pops[i]`."""

    pushes: list[int]
    pops: list[int]


class After(NamedTuple):
    """The newest instructions that one has to wait for, or -1; of COMPUTE and MATRIX, several."""

    load: int = NEVER
    compute: tuple[int, ...] = ()
    store: int = NEVER


class TokenOrder:
    """Number instructions in program order and pair those that must wait with what they wait for.

    Parameters
    ----------
    depth : int
        Tokens that one queue holds.

    Attributes
    ----------
    edges : dict[tuple[Unit, Unit], Edge]
        Pairs by (unit that pushes, unit that pops), for neighbouring units; MATRIX is COMPUTE here.
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
        nothing: Seen = (NEVER,) * len(Unit)
        self._seen: dict[Unit, Seen] = dict.fromkeys(Unit, nothing)  # when its next one starts
        self._units: list[Unit] = []  # of every instruction
        self._clocks: list[Seen] = []  # what its unit had seen when it started
        self._last = {unit: dict.fromkeys(BANKS, NEVER) for unit in _MIDDLE}
        # Instructions of COMPUTE or MATRIX that learnt about LOAD or STORE: what, and which.
        self._learnt: dict[Unit, tuple[list[int], list[int]]] = {
            Unit.LOAD: ([], []),
            Unit.STORE: ([], []),
        }

    def issue(self, unit: Unit, after: After, banks: Iterable[int] = BANKS) -> int:
        """Number an instruction that starts when the instructions `after` have ended.

        `banks` are those of accumulators that an instruction of COMPUTE or MATRIX works in. The
        number is `count` as it was, or more when relays had to come first.
        """
        if unit in _MIDDLE:
            self._meet(unit, banks)
            for peer, number in ((Unit.LOAD, after.load), (Unit.STORE, after.store)):
                if number > self._seen[unit][peer]:
                    self._hear(peer, number, unit, banks)
        else:
            far = Unit.STORE if unit is Unit.LOAD else Unit.LOAD
            via = set(after.compute)
            number = after.store if far is Unit.STORE else after.load
            if number > self._seen[unit][far]:
                via.add(self._witness(far, number))
            missing = {a for a in via if a > NEVER and a > self._seen[unit][self._units[a]]}
            if missing:
                self._pair(unit, missing)
        return self._append(unit, banks)

    def _append(self, unit: Unit, banks: Iterable[int]) -> int:
        number = self.count
        self._units.append(unit)
        self._clocks.append(self._seen[unit])
        if unit in _MIDDLE:
            self._last[unit].update(dict.fromkeys(banks, number))
        self.count = number + 1
        return number

    def _relay(self) -> int:
        self._meet(Unit.COMPUTE, BANKS)
        return self._append(Unit.COMPUTE, BANKS)

    def _meet(self, unit: Unit, banks: Iterable[int]) -> None:
        """Let a unit see what the other one had seen that it meets in some banks."""
        other = Unit.MATRIX if unit is Unit.COMPUTE else Unit.COMPUTE
        met = max(self._last[other][bank] for bank in banks)
        if met > NEVER:
            newest = met == max(self._last[other].values())
            self._learn(unit, met, self.count, self._seen[other] if newest else None)

    def _hear(self, peer: Unit, number: int, unit: Unit, banks: Iterable[int]) -> None:
        """Let the next instruction of COMPUTE or MATRIX wait for one of LOAD or STORE."""
        edge = self.edges[peer, Unit.COMPUTE]
        overtaken = bool(edge.pushes) and number <= edge.pushes[-1]
        full = self._is_full(edge, number)
        if full and not overtaken:  # the last one that takes from it waits for a newer one instead
            edge.pushes[-1] = number
            self._learn(self._units[edge.pops[-1]], number, self.count)
        elif not overtaken:
            edge.pushes.append(number)
            edge.pops.append(self.count)
            self._learn(unit, number, self.count)
        if number > self._seen[unit][peer]:  # it is the other unit that knows
            self._relay()
            self._meet(unit, banks)

    def _pair(self, unit: Unit, missing: Iterable[int]) -> None:
        """Let the next instruction of LOAD or STORE wait for some of COMPUTE and MATRIX.

        One token serves when the newest of them has seen the others and no later one has given a
        token. When the queue would be full at it, in program order, the last instruction that
        takes from the queue, which stands between the two, waits for it instead, if that is newer
        and of the same unit.
        """
        edge = self.edges[Unit.COMPUTE, unit]
        newest = max(missing)
        clock = self._clocks[newest]
        own = self._units[newest]
        alone = all(self._units[a] is own or clock[self._units[a]] >= a for a in missing)
        grows = not edge.pushes or newest > edge.pushes[-1]
        full = self._is_full(edge, newest)
        replaces = full and self._units[edge.pushes[-1]] is own
        if not alone or not grows or (full and not replaces):
            newest = self._relay()
            replaces = False
        if replaces:
            edge.pushes[-1] = newest
        else:
            edge.pushes.append(newest)
            edge.pops.append(self.count)
        self._learn(unit, newest, self.count)

    def _is_full(self, edge: Edge, number: int) -> bool:
        """Whether a queue is full, in program order, when an instruction ends."""
        return len(edge.pops) - bisect_right(edge.pops, number) >= self.depth

    def _witness(self, far: Unit, number: int) -> int:
        """Return the first instruction of COMPUTE or MATRIX that has seen `number`, or a relay."""
        knew, where = self._learnt[far]
        found = bisect_left(knew, number)
        if found == len(where):
            self._meet(Unit.COMPUTE, BANKS)
            if number > self._seen[Unit.COMPUTE][far]:
                self._hear(far, number, Unit.COMPUTE, BANKS)
            return self._append(Unit.COMPUTE, BANKS)
        return where[found]

    def _learn(self, unit: Unit, a: int, b: int, seen: Seen | None = None) -> None:
        """Let a unit know that `a` has ended, and what that had `seen`, when `b` starts."""
        clock = self._clocks[a] if seen is None else seen
        knows = [max(pair) for pair in zip(self._seen[unit], clock, strict=True)]
        knows[self._units[a]] = max(a, knows[self._units[a]])
        self._seen[unit] = tuple(knows)
        if unit in _MIDDLE:
            self._learn_at(unit, b)

    def _learn_at(self, unit: Unit, b: int) -> None:
        """Note `b` as the first that has seen what its unit has seen of LOAD and STORE."""
        for peer, (knew, where) in self._learnt.items():
            seen = self._seen[unit][peer]
            if seen > (knew[-1] if knew else NEVER):
                if where and where[-1] == b:
                    knew[-1] = seen
                else:
                    knew.append(seen)
                    where.append(b)
