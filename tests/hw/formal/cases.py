"""A proof as three tests: its claims hold, its goals are reached, and mutants fail its claims."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from .proof import Proof
from .sby import Mode, run
from .variant import Change, hardware


@dataclass(frozen=True)
class Mutant:
    """A planted bug, and a claim that fails with it."""

    module: str
    old: str
    new: str
    fails: str


@dataclass(frozen=True)
class Case:
    """A proof, how deep it goes, and the mutants that it must find.

    Parameters
    ----------
    name
        Of the proof in reports.
    make
        The proof, of the modules of `variant.hardware`.
    depth
        Cycles from the beginning; of an induction, good ones before the one in question.
    reach
        Cycles within which every goal is reached, and every mutant found.
    mode
        BOUNDED or INDUCTION.
    constants
        Of `isa.costs`, smaller for the proof.
    mutants
        By what is wrong with them.
    """

    name: str
    make: Callable[[Any], Proof]
    depth: int
    reach: int
    mode: Mode = Mode.BOUNDED
    constants: Mapping[str, int] = field(default_factory=dict[str, int])
    mutants: Mapping[str, Mutant] = field(default_factory=dict[str, Mutant])


def each_case(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """Parametrize a test by cases."""
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases])


def each_mutant(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """Parametrize a test by cases and the names of their mutants."""
    return pytest.mark.parametrize(
        ("case", "name"),
        [
            pytest.param(case, name, id=f"{case.name}: {name}")
            for case in cases
            for name in case.mutants
        ],
    )


def holds(case: Case, folder: Path) -> None:
    """Test that all claims hold."""
    outcome = run(case.make(hardware(case.constants)), case.mode, case.depth, folder)
    assert outcome.passed, f"{case.name}: {sorted(outcome.failed)}\n{outcome.log}"


def reaches(case: Case, folder: Path) -> None:
    """Test that all goals are reached, so that the claims are about something."""
    proof = case.make(hardware(case.constants))
    outcome = run(proof, Mode.COVER, case.reach, folder)
    assert proof.goals
    assert outcome.passed, f"{case.name} never reaches {sorted(outcome.failed)}\n{outcome.log}"


def finds(case: Case, name: str, folder: Path) -> None:
    """Test that a mutant fails the claim that it should, proved alone."""
    mutant = case.mutants[name]
    change = Change(mutant.module, mutant.old, mutant.new)
    proof = case.make(hardware(case.constants, change))
    proof.only = mutant.fails
    outcome = run(proof, Mode.BOUNDED, case.reach, folder)
    assert mutant.fails in proof.claims
    assert outcome.failed == {mutant.fails}, f"{mutant.fails!r} holds of {name!r}"
