"""This project's own code for the CPU as a rival: compiled by LLVM from the integer network."""

from __future__ import annotations

from .rival import Case, Rival, RivalError


def native(case: Case) -> Rival | None:
    """Return the whole network as code for this CPU, with a team of `case.threads` threads.

    To be made of `case.network.integers`; it is `exact`, and its `key` is "llvm".
    """
    raise RivalError("this version has no LLVM code for the CPU")
