"""Orders asked of the token scheduler, against reachability through the tokens it makes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa.instructions import Unit
from vtakit.runtime.tokens import BANKS, After, TokenOrder

PIPELINE = (Unit.LOAD, Unit.COMPUTE, Unit.STORE)
MIDDLE = (Unit.COMPUTE, Unit.MATRIX)


@st.composite
def needs(draw: st.DrawFn, units: tuple[Unit, ...]) -> list[tuple[Unit, list[int], list[int]]]:
    """Units in program order, how far back each wants to wait for each unit, and its banks."""
    back = st.lists(st.integers(0, 6), min_size=4, max_size=4)
    banks = st.sampled_from([[0], [1], [0, 1]] if Unit.MATRIX in units else [[0, 1]])
    step = st.tuples(st.sampled_from(units), back, banks)
    return draw(st.lists(step, min_size=1, max_size=40))


@pytest.mark.parametrize("machine", [PIPELINE, tuple(Unit)], ids=["one bank", "two banks"])
def test_every_asked_order_follows_from_tokens_that_fit_their_queue(
    machine: tuple[Unit, ...],
) -> None:
    @settings(deadline=None, max_examples=600)
    @given(program=needs(machine), depth=st.integers(1, 3))
    def check(program: list[tuple[Unit, list[int], list[int]]], depth: int) -> None:
        _check(program, depth)

    check()


def _check(program: list[tuple[Unit, list[int], list[int]]], depth: int) -> None:
    order = TokenOrder(depth)
    units: list[Unit] = []
    banks: list[list[int]] = []
    asked: list[tuple[int, int]] = []
    for unit, back, works_in in program:
        after = dict.fromkeys(Unit, -1)
        for peer in Unit:
            own = [i for i, other in enumerate(units) if other is peer]
            same = peer is unit or (peer in MIDDLE and unit in MIDDLE)
            if not same and back[peer] and len(own) >= back[peer]:
                after[peer] = own[-back[peer]]
        both = (after[Unit.COMPUTE], after[Unit.MATRIX])
        number = order.issue(unit, After(after[Unit.LOAD], both, after[Unit.STORE]), works_in)
        while number > len(units):
            units.append(Unit.COMPUTE)  # a relay
            banks.append([*BANKS])
        units.append(unit)
        banks.append(works_in)
        asked += [(a, number) for a in after.values() if a >= 0]
    assert order.count == len(units)

    before = _known(order, units, banks)
    for a, b in asked:
        assert a in before[b], f"{b} does not wait for {a}"

    def side(unit: Unit) -> Unit:
        return Unit.COMPUTE if unit is Unit.MATRIX else unit

    for (source, target), (pushes, pops) in order.edges.items():
        assert pushes == sorted(set(pushes))
        assert pops == sorted(set(pops))
        assert all(side(units[a]) is source for a in pushes)
        assert all(side(units[b]) is target for b in pops)
        for t in range(len(units)):
            held = sum(a <= t < b for a, b in zip(pushes, pops, strict=True))
            assert held <= depth


def _known(order: TokenOrder, units: list[Unit], banks: list[list[int]]) -> list[set[int]]:
    """Return for each instruction those that have ended when it starts.

    When one has ended, so have those that had when it started, and all before it in its unit. The
    next of a unit starts after the one before has started, not after it has ended.
    """
    pairs = [
        (a, b) for pushes, pops in order.edges.values() for a, b in zip(pushes, pops, strict=True)
    ]
    before: list[set[int]] = []
    for i, unit in enumerate(units):
        own = [j for j in range(i) if units[j] is unit]
        known = set(before[own[-1]]) if own else set[int]()
        met = [
            j for j in range(i) if {units[j], unit} == set(MIDDLE) and set(banks[j]) & set(banks[i])
        ]
        for a in [a for a, b in pairs if b == i] + met:
            known |= before[a] | {a} | {j for j in range(a) if units[j] is units[a]}
            for j in range(a):
                if units[j] is units[a]:
                    known |= before[j]
        before.append(known)
    return before


def test_a_queue_that_would_overflow_lets_an_earlier_instruction_wait_longer() -> None:
    order = TokenOrder(depth=2)
    loads = [order.issue(Unit.LOAD, After()) for _ in range(4)]
    for load in loads:
        order.issue(Unit.COMPUTE, After(load=load))
    pushes, pops = order.edges[Unit.LOAD, Unit.COMPUTE]
    assert (pushes, pops) == ([0, 3], [4, 5])


@pytest.mark.parametrize(("unit", "far"), [(Unit.LOAD, Unit.STORE), (Unit.STORE, Unit.LOAD)])
def test_units_without_a_queue_between_them_meet_in_a_relay(unit: Unit, far: Unit) -> None:
    order = TokenOrder(depth=4)
    first = order.issue(far, After())
    after = After(load=first) if far is Unit.LOAD else After(store=first)
    assert order.issue(unit, after) == first + 2
    assert order.edges[far, Unit.COMPUTE] == ([first], [first + 1])
    assert order.edges[Unit.COMPUTE, unit] == ([first + 1], [first + 2])


def test_two_units_that_work_in_different_banks_do_not_know_what_the_other_saw() -> None:
    order = TokenOrder(depth=4)
    load = order.issue(Unit.LOAD, After())
    order.issue(Unit.MATRIX, After(load=load), [0])
    assert order.issue(Unit.COMPUTE, After(load=load), [0]) == 2, "it meets MATRIX, which knows"
    assert order.issue(Unit.COMPUTE, After(load=load), [1]) == 3, "it comes after one that knows"
    later = order.issue(Unit.LOAD, After())
    order.issue(Unit.MATRIX, After(load=later), [0])
    assert order.issue(Unit.COMPUTE, After(load=later), [1]) == 7, "a relay tells it"
