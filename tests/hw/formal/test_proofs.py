"""Every proof: its claims hold, its goals are reached, and mutants of what it proves fail it."""

from pathlib import Path

from . import (
    bursts,
    core,
    fetch,
    issue,
    load,
    queue,
    read_channel,
    registers,
    sequencer,
    store,
    tokens,
    write_channel,
)
from .cases import Case, each_case, each_mutant, finds, holds, reaches

MODULES = (
    tokens,
    queue,
    registers,
    bursts,
    read_channel,
    write_channel,
    sequencer,
    fetch,
    load,
    issue,
    store,
    core,
)
CASES = [case for module in MODULES for case in module.CASES]


@each_case(CASES)
def test_the_claims_hold(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


@each_case(CASES)
def test_the_goals_are_reached(case: Case, tmp_path: Path) -> None:
    reaches(case, tmp_path)


@each_mutant(CASES)
def test_a_mutant_fails(case: Case, name: str, tmp_path: Path) -> None:
    finds(case, name, tmp_path)
