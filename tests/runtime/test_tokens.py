"""Orders asked of the token scheduler, against reachability through the tokens it makes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa.instructions import Unit
from vtakit.runtime.tokens import TokenOrder

Need = tuple[Unit, tuple[int, int, int]]


@st.composite
def needs(draw: st.DrawFn) -> list[tuple[Unit, list[int]]]:
    """Units in program order, and for each how far back it wants to wait for each unit."""
    step = st.tuples(st.sampled_from(Unit), st.lists(st.integers(0, 6), min_size=3, max_size=3))
    return draw(st.lists(step, min_size=1, max_size=40))


@settings(deadline=None, max_examples=300)
@given(program=needs(), depth=st.integers(1, 3))
def test_every_asked_order_follows_from_tokens_that_fit_their_queue(
    program: list[tuple[Unit, list[int]]], depth: int
) -> None:
    order = TokenOrder(depth)
    units: list[Unit] = []
    asked: list[tuple[int, int]] = []
    for unit, back in program:
        after = [-1, -1, -1]
        for peer in Unit:
            own = [i for i, other in enumerate(units) if other is peer]
            if peer is not unit and back[peer] and len(own) >= back[peer]:
                after[peer] = own[-back[peer]]
        number = order.issue(unit, (after[0], after[1], after[2]))
        if number > len(units):
            units.append(Unit.COMPUTE)  # a relay
        units.append(unit)
        asked += [(a, number) for a in after if a >= 0]
    assert order.count == len(units)

    before: list[set[int]] = [set() for _ in units]  # all that have ended when i starts
    pairs = [
        (a, b, edge)
        for edge, (pushes, pops) in order.edges.items()
        for a, b in zip(pushes, pops, strict=True)
    ]
    for i, unit in enumerate(units):
        direct = [a for a, b, _ in pairs if b == i]
        direct += [j for j in range(i) if units[j] is unit][-1:]
        for a in direct:
            before[i] |= before[a] | {a}
    for a, b in asked:
        assert a in before[b], f"{b} does not wait for {a}"

    for (source, target), (pushes, pops) in order.edges.items():
        assert pushes == sorted(set(pushes))
        assert pops == sorted(set(pops))
        assert all(units[a] is source for a in pushes)
        assert all(units[b] is target for b in pops)
        for t in range(len(units)):
            held = sum(a <= t < b for a, b in zip(pushes, pops, strict=True))
            assert held <= depth


def test_a_queue_that_would_overflow_lets_an_earlier_instruction_wait_longer() -> None:
    order = TokenOrder(depth=2)
    loads = [order.issue(Unit.LOAD, (-1, -1, -1)) for _ in range(4)]
    for load in loads:
        order.issue(Unit.COMPUTE, (load, -1, -1))
    pushes, pops = order.edges[Unit.LOAD, Unit.COMPUTE]
    assert (pushes, pops) == ([0, 3], [4, 5])


@pytest.mark.parametrize(("unit", "far"), [(Unit.LOAD, Unit.STORE), (Unit.STORE, Unit.LOAD)])
def test_units_without_a_queue_between_them_meet_in_a_relay(unit: Unit, far: Unit) -> None:
    order = TokenOrder(depth=4)
    first = order.issue(far, (-1, -1, -1))
    after = [-1, -1, -1]
    after[far] = first
    assert order.issue(unit, (after[0], after[1], after[2])) == first + 2
    assert order.edges[far, Unit.COMPUTE] == ([first], [first + 1])
    assert order.edges[Unit.COMPUTE, unit] == ([first + 1], [first + 2])
