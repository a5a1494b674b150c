"""A network run whole by one back end, without VTA: its rows by layer, and its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .compare_words import duration, per_cent
from .output import print_table
from .report import MEMORIES, LayerRow, NetworkReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from ..compiler.graph import Graph
    from ..compiler.layers import LayerWork

COPIES = "copies"
"""What a table calls the time that belongs to no layer: arrays brought into another layout."""


def whole_report(graph: Graph, seconds: Mapping[str, float], device: str) -> NetworkReport:
    """Return rows for the layers that took time on a device, in the order given.

    A layer that was computed inside another one has no row, and its work is of that one.
    """
    from ..compiler.layers import LayerWork, layer_work

    work = layer_work(graph)
    rows = [
        _row(name, work.get(name, LayerWork("", 0)), taken, device)
        for name, taken in seconds.items()
    ]
    return NetworkReport(
        layers=tuple(rows),
        cycles=None,
        macs=sum(layer.macs for layer in work.values()),
        macs_on_vta=0,
        utilisation=None,
        utilisation_after_first=None,
    )


def _row(name: str, work: LayerWork, seconds: float, device: str) -> LayerRow:
    return LayerRow(
        name=name,
        op=work.kind,
        device=device,
        macs=work.macs,
        cycles=None,
        utilisation=None,
        bytes=dict.fromkeys(MEMORIES, 0),
        instructions=0,
        reason="",
        seconds=seconds,
    )


def print_whole(report: NetworkReport) -> None:
    """Print the table of layers with their times."""
    from rich.table import Table

    table = Table("layer", "operator", "MACs", "time", "share", "GMAC/s", box=None, padding=(0, 1))
    for column in table.columns[2:]:
        column.justify = "right"
    whole = sum(row.seconds for row in report.layers)
    for row in report.layers:
        _add(table, row.name or COPIES, row.op, row.macs, row.seconds, whole)
    _add(table, "total", "", report.macs, whole, whole)
    print_table(table)


def _add(table: Table, name: str, op: str, macs: int, seconds: float, whole: float) -> None:
    table.add_row(
        name,
        op,
        f"{macs:,}" if macs else "",
        duration(seconds),
        per_cent(seconds / whole) if whole else "",
        f"{macs / seconds / 1e9:,.1f}" if macs and seconds else "",
    )
