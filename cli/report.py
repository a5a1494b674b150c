"""A run of a network as rows by layer: for the table and for the JSON document."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .output import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..compiler.build import Compiled
    from ..isa.config import Config
    from ..runtime.session import CopyReport, RunReport

MEMORIES = ("inp", "wgt", "acc", "uop", "out")


@dataclass(frozen=True)
class LayerRow:
    """What one layer is and cost; counts are null where nobody counted.

    `floor` counts the cycles that no schedule goes below, on VTA (`compiler.vta.floor`).
    """

    name: str
    op: str
    device: str
    macs: int
    cycles: int | None
    utilisation: float | None
    floor: int | None
    bytes: dict[str, int]
    instructions: int
    reason: str
    seconds: float


@dataclass(frozen=True)
class CopyRow:
    """A tensor that was brought from one layout into another, the bytes written and the time."""

    value: str
    source: str
    target: str
    bytes: int
    seconds: float


@dataclass(frozen=True)
class NetworkReport:
    """The layers of a run and their totals.

    `utilisation` is multiply-accumulates on VTA over (cycles x those of a cycle);
    `utilisation_after_first` leaves out the first layer on VTA, whose input has few channels.
    `floor` is the sum of the layers' floors.
    `copies` is None where they were not looked at one by one.
    """

    layers: tuple[LayerRow, ...]
    cycles: int | None
    macs: int
    macs_on_vta: int
    utilisation: float | None
    utilisation_after_first: float | None
    floor: int | None = None
    copies: tuple[CopyRow, ...] | None = None

    def document(self) -> dict[str, object]:
        """Return the part of `vtakit run`'s JSON document that this is."""
        return {
            **_copies_document(self.copies),
            "cycles": self.cycles,
            "macs": {"total": self.macs, "on_vta": self.macs_on_vta},
            "utilisation": self.utilisation,
            "utilisation_after_first": self.utilisation_after_first,
            "floor": self.floor,
            "layers": [asdict(row) for row in self.layers],
        }


def network_report(compiled: Compiled, report: RunReport) -> NetworkReport:
    """Return the rows of a run, in the order in which the layers run."""
    config = compiled.module.config
    costs = {(cost.layer, cost.on_device): cost for cost in report.layers}
    rows: list[LayerRow] = []
    for layer in compiled.layers:
        on_vta = layer.device == "vta"
        cost = costs.pop((layer.name, on_vta), None)  # layers of one name share one account
        cycles = cost.cycles if cost else None
        rows.append(
            LayerRow(
                name=layer.name,
                op=layer.kind,
                device=layer.device,
                macs=layer.macs,
                cycles=cycles,
                utilisation=_utilisation(layer.macs, cycles, config) if on_vta else None,
                floor=layer.floor if on_vta else None,
                bytes=dict.fromkeys(MEMORIES, 0) | (cost.bytes if cost else {}),
                instructions=cost.instructions if cost else 0,
                reason=layer.reason,
                seconds=cost.seconds if cost else 0.0,
            )
        )
    on_vta = [row for row in rows if row.device == "vta"]
    macs = sum(row.macs for row in on_vta)
    rest = None
    if report.cycles is not None and on_vta and on_vta[0].cycles is not None:
        rest = report.cycles - on_vta[0].cycles
    return NetworkReport(
        layers=tuple(rows),
        cycles=report.cycles,
        macs=sum(row.macs for row in rows),
        macs_on_vta=macs,
        utilisation=_utilisation(macs, report.cycles, config),
        utilisation_after_first=_utilisation(
            macs - (on_vta[0].macs if on_vta else 0), rest, config
        ),
        floor=sum(row.floor or 0 for row in on_vta),
        copies=tuple(_copy_row(one) for one in report.copies),
    )


def print_layers(report: NetworkReport) -> None:
    """Print the table of layers with its totals; bytes are in kB."""
    from rich.table import Table

    titles = ("layer", "operator", "device", "MACs", "cycles", "util.", "floor")
    table = Table(*titles, *MEMORIES, "insns", box=None, padding=(0, 1))
    moves = f"{', '.join(MEMORIES)}: kB between memory and chip"
    table.caption = f"floor: its share of the cycles; {moves}"
    for column in table.columns[3:]:
        column.justify = "right"
    for row in report.layers:
        moved = [_kilobytes(row.bytes.get(kind)) for kind in MEMORIES]
        table.add_row(
            row.name,
            row.op,
            row.device,
            f"{row.macs:,}" if row.macs else "",
            "" if row.cycles is None else f"{row.cycles:,}",
            _per_cent(row.utilisation),
            _share(row.floor, row.cycles),
            *moved,
            f"{row.instructions:,}" if row.instructions else "",
        )
    table.add_row(
        "total",
        "",
        "",
        f"{report.macs:,}",
        "" if report.cycles is None else f"{report.cycles:,}",
        _per_cent(report.utilisation),
        _share(report.floor, report.cycles),
    )
    if report.utilisation_after_first is not None:
        table.add_row("after the first", "", "", "", "", _per_cent(report.utilisation_after_first))
    print_table(table)
    print_copies(report.copies or ())
    for row in report.layers:
        if row.device == "cpu":
            print(f"on the CPU   {row.name}, {row.op}: {row.reason}")


def print_copies(copies: Sequence[CopyRow]) -> None:
    """Print each copy between layouts, and all together."""
    from .compare_words import duration

    for row in copies:
        print(
            f"copy         {row.value}, {row.source} to {row.target}: "
            f"{_kilobytes(row.bytes)} kB, {duration(row.seconds)}"
        )
    size, seconds = sum(row.bytes for row in copies), sum(row.seconds for row in copies)
    text = f", {_kilobytes(size)} kB, {duration(seconds)}" if copies else ""
    print(f"copies       {len(copies)} between layouts{text}")


def _copy_row(one: CopyReport) -> CopyRow:
    copy = one.copy
    return CopyRow(copy.value, copy.source, copy.target, copy.bytes, one.seconds)


def _copies_document(copies: Sequence[CopyRow] | None) -> dict[str, object]:
    if copies is None:
        return {}
    return {
        "copies": [asdict(row) for row in copies],
        "copied": {
            "bytes": sum(row.bytes for row in copies),
            "seconds": sum(row.seconds for row in copies),
        },
    }


def _utilisation(macs: int, cycles: int | None, config: Config) -> float | None:
    return macs / (cycles * config.macs_per_cycle) if macs and cycles else None


def _share(floor: int | None, cycles: int | None) -> str:
    """Return how near to their floor cycles are."""
    return _per_cent(floor / cycles if floor and cycles else None)


def _per_cent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _kilobytes(count: int | None) -> str:
    return f"{count / 1000:,.1f}" if count else ""
