"""What is proved: a component, surroundings that may do all that they may do, and claims."""

import inspect
from typing import Any

from amaranth.hdl import (
    Assert,
    Assume,
    Cover,
    Elaboratable,
    Module,
    Mux,
    ResetSignal,
    ShapeLike,
    Signal,
    Value,
    ValueLike,
)


class Proof(Elaboratable):
    """A component and what is claimed of it, for all that its inputs may do.

    A subclass puts the component, the assumptions about its surroundings and the claims into a
    module, in `build`. There is no reset after the beginning.

    Attributes
    ----------
    inputs
        The free signals.
    claims, goals
        The names of what is claimed and of what must be possible.
    only
        The one claim to be proved, or None for all.
    """

    only: str | None = None

    def __init__(self) -> None:
        self.inputs: list[Signal] = []
        self.claims: set[str] = set()
        self.goals: set[str] = set()

    def build(self, m: Module) -> None:
        """Put component, assumptions, claims and goals into a module."""
        raise NotImplementedError

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += Assume(~ResetSignal(), None)
        self.build(m)
        return m

    def free(self, shape: ShapeLike, name: str) -> Any:
        """Return a signal that may have any value in any cycle."""
        signal = Signal(shape, name=name)
        self.inputs.append(Value.cast(signal))  # pyright: ignore[reportArgumentType]
        return signal

    def fixed(self, m: Module, shape: ShapeLike, name: str) -> Any:
        """Return a signal that may have any value, the same in all cycles."""
        given, kept, chosen = self.free(shape, f"{name}_given"), Signal(shape), Signal(shape)
        later = Signal(name=f"{name}_chosen")
        m.d.sync += [later.eq(1), kept.eq(chosen)]
        m.d.comb += chosen.eq(Mux(later, kept, given))
        return chosen

    def assume(self, m: Module, test: ValueLike) -> None:
        """Let the surroundings do nothing else."""
        m.d.comb += Assume(test, None)

    def claim(self, m: Module, name: str, test: ValueLike) -> None:
        """Claim that something holds in every cycle."""
        self.claims.add(name)
        if self.only in (None, name):
            self._named(m, name, Assert(test, None))

    def reach(self, m: Module, name: str, test: ValueLike) -> None:
        """Set a goal: something that must be possible, or the claims say nothing."""
        self.goals.add(name)
        self._named(m, name, Cover(test, None))

    def _named(self, m: Module, name: str, statement: Any) -> None:
        """Add a statement under a name; the tools show it as the place in the source."""
        statement.src_loc = (name, inspect.stack()[2].lineno)
        m.d.comb += statement

    def past(self, m: Module, value: ValueLike, init: int = 0) -> Any:
        """Return what a value was in the cycle before; `init` in the first one."""
        kept = Signal(Value.cast(value).shape(), init=init)
        m.d.sync += kept.eq(value)
        return kept

    def stands(
        self, m: Module, name: str, valid: ValueLike, ready: ValueLike, payload: Any
    ) -> None:
        """Claim that what is shown and not taken is shown on, unchanged."""
        self.claim(m, name, self._stood(m, valid, ready, payload))

    def let_stand(self, m: Module, valid: ValueLike, ready: ValueLike, payload: Any) -> None:
        """Assume that what is shown and not taken is shown on, unchanged."""
        self.assume(m, self._stood(m, valid, ready, payload))

    def _stood(self, m: Module, valid: ValueLike, ready: ValueLike, payload: Any) -> Value:
        valid, payload = Value.cast(valid), Value.cast(payload)
        waited = self.past(m, valid & ~Value.cast(ready))
        return ~waited | (valid & (payload == self.past(m, payload)))


def count(m: Module, limit: int, up: ValueLike, down: ValueLike = 0, name: str = "count") -> Any:
    """Return a count of events up to now, of those before this cycle; it must stay in the limit."""
    counter = Signal(range(limit + 1), name=name)
    m.d.sync += counter.eq(counter + Value.cast(up) - Value.cast(down))
    return counter
