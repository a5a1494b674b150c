"""What pytest says at its end, besides what failed."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COVERAGE = ROOT / "build" / "coverage" / "hw.txt"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Forget the report of an earlier session."""
    if not hasattr(session.config, "workerinput"):
        COVERAGE.unlink(missing_ok=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what programs on the simulated core have come by, if they ran."""
    if COVERAGE.exists():
        terminalreporter.section("coverage of the hardware")
        head, _, _ = COVERAGE.read_text().partition("\n\npads:")
        for line in head.splitlines()[2:]:
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"all of it: {COVERAGE.relative_to(ROOT)}")
