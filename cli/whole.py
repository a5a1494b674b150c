"""A network run whole by one back end, without VTA: its rows by layer, and its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .compare_words import duration, per_cent
from .output import print_table
from .ran import Ran
from .report import MEMORIES, LayerRow, NetworkReport

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.table import Table

    from ..compiler.graph import Graph
    from ..compiler.layers import LayerWork
    from .rivals.figures import Figure

TIMED_SECONDS, TIMED_RUNS, MOST_TIMED_RUNS = 0.5, 7, 10_000
"""How long and how often the whole is timed, after a fifth as many runs that warm up."""

COPIES = "copies"
"""What a table calls the time that belongs to no layer: arrays brought into another layout."""


def timed(execute: Callable[[], None]) -> Figure:
    """Return what inferences take, on the inputs that are there."""
    from .rivals.figures import figure

    samples: list[float] = []
    spent = 0.0
    while len(samples) < TIMED_RUNS or (
        spent < 1.2 * TIMED_SECONDS and len(samples) < MOST_TIMED_RUNS
    ):
        begun = perf_counter()
        execute()
        samples.append(perf_counter() - begun)
        spent += samples[-1]
    return figure(samples[len(samples) // 6 :])


def whole_ran(
    graph: Graph,
    precision: str,
    device: str,
    arrays: Mapping[str, NDArray[Any]],
    first: Mapping[str, NDArray[Any]],
    last: Mapping[str, NDArray[Any]],
    time: Figure,
    layers: Mapping[str, float],
    compiled_after: float,
    lines: Mapping[str, str],
    facts: Mapping[str, Any],
) -> Ran:
    """Check a network that ran, and report it.

    Parameters
    ----------
    graph : Graph
    precision : str
        That of the graph: "int8" or "float32".
    device : str
    arrays : mapping of str to array
        Its inputs.
    first, last : mapping of str to array
        The outputs of the first run, and of the last of those that were timed.
    time : Figure
        Seconds of an inference.
    layers : mapping of str to float
        In proportion to the time of each layer.
    compiled_after : float
        Seconds.
    lines, facts
        More for people, and of the JSON document.
    """
    from ..compiler.check import FLOAT_TOLERANCE, check_outputs, rounded_outputs
    from ..compiler.reference import outputs
    from .compare_report import scaled

    expected = outputs(graph, arrays)
    rounded = rounded_outputs(graph)
    check = check_outputs(first, expected, rounded)
    if check.equal:  # what was timed must be right too
        check = check_outputs(last, expected, rounded)
    rows = whole_report(graph, scaled(layers, time.median), device)
    return Ran(
        rows=rows,
        outputs=first,
        check=check,
        against="integer reference" if precision == "int8" else "float reference",
        unit="outputs",
        seconds={"compile": compiled_after, "run": time.median},
        show=print_whole,
        lines={"run": _words(time), **lines},
        facts={
            "precision": precision,
            **facts,
            "inference": {
                "seconds": time.median,
                "least": time.least,
                "spread": time.spread,
                "per_second": 1 / time.median,
                "macs_per_second": rows.macs / time.median,
            },
            "tolerance": FLOAT_TOLERANCE if rounded else 0.0,
        },
    )


def _words(time: Figure) -> str:
    return (
        f"{duration(time.median)} (least {duration(time.least)}, "
        f"spread {per_cent(time.spread)}), {1 / time.median:,.0f} a second"
    )


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
        floor=None,
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
        floor=None,
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
