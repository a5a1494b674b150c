"""What subcommands print: JSON or tables on standard output, progress on standard error."""

import codecs
import io
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
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


PLAIN = {"µ": "u", "…": "~", **dict.fromkeys("▏▎▍▌", "."), **dict.fromkeys("▋▊▉█", "#")}
"""What stands for a character where output has an encoding without it; ? for others."""


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in text), error.end


def standard_output() -> Console:
    """Return the console for results: standard output, 200 columns wide when it is no terminal."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("vtakit", _plainly)
        sys.stdout.reconfigure(errors="vtakit")
    return _Console() if sys.stdout.isatty() else _Console(width=200)


def print_table(table: Table) -> None:
    """Write a table to standard output."""
    standard_output().print(table)


def progress() -> Console:
    """Return the console for progress: standard error."""
    return Console(stderr=True, highlight=False)


@contextmanager
def still_progress() -> Generator[Callable[[str], None]]:
    """Give what shows a line in place of the one before, and does nothing until the next.

    A console's `status` turns its spinner in a thread, which disturbs what is being timed.
    """
    with Live("", console=progress(), auto_refresh=False, transient=True) as live:
        yield lambda text: live.update(text, refresh=True)
