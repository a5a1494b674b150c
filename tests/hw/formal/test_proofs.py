"""Every proof: its claims hold, its goals are reached, and mutants of what it proves fail it."""

from pathlib import Path

from . import bursts, queue, read_channel, registers, tokens
from .cases import Case, each_case, each_mutant, finds, holds, reaches

CASES = [*tokens.CASES, *queue.CASES, *registers.CASES, *read_channel.CASES, *bursts.CASES]


@each_case(CASES)
def test_the_claims_hold(case: Case, tmp_path: Path) -> None:
    holds(case, tmp_path)


@each_case(CASES)
def test_the_goals_are_reached(case: Case, tmp_path: Path) -> None:
    reaches(case, tmp_path)


@each_mutant(CASES)
def test_a_mutant_fails(case: Case, name: str, tmp_path: Path) -> None:
    finds(case, name, tmp_path)
