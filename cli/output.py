"""What subcommands print: JSON or tables on standard output, progress on standard error."""

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table


def print_json(document: object) -> None:
    """Write one JSON document to standard output; NumPy's numbers and arrays are understood."""
    json.dump(document, sys.stdout, indent=1, default=_plain)
    sys.stdout.write("\n")


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r} cannot be written as JSON")


def print_line(text: str) -> None:
    """Write one line to standard error, whatever line breaks the text holds."""
    sys.stderr.write(" ".join(text.split()) + "\n")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the error through, for `main` to end with; rich would exit with 1."""
        raise BrokenPipeError


def print_table(table: Table) -> None:
    """Write a table to standard output, 200 columns wide at most when that is no terminal."""
    console = _Console() if sys.stdout.isatty() else _Console(width=200)
    console.print(table)


def progress() -> Console:
    """Return the console for progress: standard error."""
    return Console(stderr=True, highlight=False)
