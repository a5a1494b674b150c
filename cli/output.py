"""What subcommands print: JSON on standard output, everything else on standard error."""

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


def print_table(table: Table) -> None:
    """Write a table to standard output, as wide as it needs to be when that is no terminal."""
    console = Console(soft_wrap=True) if sys.stdout.isatty() else Console(width=200)
    console.print(table)


def progress() -> Console:
    """Return the console for progress: standard error."""
    return Console(stderr=True, highlight=False)
