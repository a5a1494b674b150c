"""`vtakit boards`: the boards that a bitstream can be built for."""

from rich.console import Console
from rich.table import Table

from .options import JsonOption
from .output import print_json


def boards(as_json: JsonOption = False) -> None:
    """List boards: chip, memory, how a host reaches them, and what was checked of each.

    Example: vtakit boards
    """
    from dataclasses import asdict

    from ..bitstreams.boards import BOARDS

    if as_json:
        print_json({"boards": [asdict(facts) for facts in BOARDS.values()]})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("board", "is", "chip", "memory", "link", "preset", "MHz", "checked"):
        table.add_column(column, justify="right" if column == "MHz" else "left")
    for facts in BOARDS.values():
        table.add_row(
            facts.name,
            facts.title,
            facts.chip,
            facts.memory,
            facts.link,
            facts.preset,
            f"{facts.clock_mhz:g}",
            ", ".join(facts.checked),
        )
    Console(width=150, highlight=False).print(table)
