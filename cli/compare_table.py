"""A comparison for the terminal: a table by layer with bars, standings, and how it was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from .compare import CLOCK_MHZ
from .compare_words import duration, per_cent, times, verdict
from .output import standard_output

if TYPE_CHECKING:
    from .compare_match import Match, Standing
    from .compare_report import Comparison, Row

SHORT = {
    "llvm": "LLVM",
    "llvm-float32": "LLVM",
    "cuda": "CUDA",
    "cuda-float32": "CUDA",
    "ort": "ORT",
    "ort-int8": "ORT",
    "openvino": "OV",
    "openvino-int8": "OV",
}
"""What a column is called, by a rival's key."""

MOST_BAR, LEAST_BAR, NAME_WITH_BARS, LEAST_NAME = 10, 4, 20, 6
"""Characters: of a bar, at most and at least; of a layer's name that bars leave room for, and of
one without."""

EIGHTHS = " ▏▎▍▌▋▊▉█"


def print_comparison(found: Comparison) -> None:
    """Write a comparison to standard output."""
    console = standard_output()
    console.print(layer_table(found, console.width))
    console.print(Text(_legend(found), style="dim"))
    console.print()
    console.print(standings_table(found))
    console.print()
    notes = Table.grid(padding=(0, 2))
    for label, text in remarks(found):
        notes.add_row(Text(label, no_wrap=True), Text(text))
    console.print(notes)
    console.print()
    # To be quoted: for a pipe it stays one line.
    console.print(Text(verdict(found), style="bold"), soft_wrap=not console.is_terminal)


def bar(share: float, width: int) -> str:
    """Return a bar that is this share of a width, in eighths of a character; no share has none.

    0.5, 4  →  "██  "        0.001, 4  →  "▏   "
    """
    eighths = round(share * width * 8)
    if share > 0 and width:
        eighths = max(1, eighths)
    full, rest = divmod(eighths, 8)
    return (EIGHTHS[8] * full + (EIGHTHS[rest] if rest else "")).ljust(width)


def widths(width: int, longest: int, others: int, bars: int) -> tuple[int, int]:
    """Return the width of layers' names and that of bars, so that a table fits.

    Parameters
    ----------
    width : int
        Of the terminal.
    longest : int
        Name.
    others : int
        Characters that a row takes besides its name and its bars.
    bars : int
        In a row; each has a space before it.
    """
    for size in range(MOST_BAR, LEAST_BAR - 1, -1):
        room = width - others - bars * (size + 1)
        if room >= min(longest, NAME_WITH_BARS):
            return min(longest, room), size
    return max(LEAST_NAME, min(longest, width - others)), 0


def layer_table(found: Comparison, width: int) -> Table:
    """Return the table by layer; each row's bars are scaled to its longest time."""
    unit, size = _unit(found)
    lines = [
        _line(row.name or "other", _cycles(row), _times(row), row.ratios) for row in found.rows
    ]
    lines.append(_line("total", f"{found.vta.cycles:,}", _totals(found), _ratios(found)))
    titles = [["VTA", f"{found.setting.clock_mhz:g} MHz", unit]]
    titles += [[_short(one), one.arithmetic, unit] for one in found.standings]
    cells = [[_number(value, size) for value in line.seconds] for line in lines]
    numbers = [
        max(map(len, [*title, *column]))
        for title, column in zip(titles, zip(*cells, strict=True), strict=True)
    ]
    cycles = max(map(len, ["cycles", *(line.cycles for line in lines)]))
    heads = _ratio_heads(found)
    ratios = [
        max(map(len, [*head, *column]))
        for head, column in zip(
            heads, zip(*(line.ratios for line in lines), strict=True), strict=True
        )
    ]
    names, bars = widths(
        width,
        longest=max(map(len, ["layer", *(line.name for line in lines)])),
        others=cycles + sum(numbers) + sum(ratios) + len(titles) + len(ratios) + 1,
        bars=len(titles),
    )
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("layer", width=names, no_wrap=True, overflow="ellipsis")
    table.add_column("cycles", width=cycles, justify="right", no_wrap=True)
    for title, number in zip(titles, numbers, strict=True):
        text = "\n".join(line.rjust(number) for line in title)
        table.add_column(text, width=number + bars + bool(bars), no_wrap=True)
    for head, size in zip(heads, ratios, strict=True):
        table.add_column("\n".join(head), width=size, justify="right", no_wrap=True)
    for line, row in zip(lines, cells, strict=True):
        most = max(line.seconds) or 1.0
        texts: list[Text] = []
        for value, text, number in zip(line.seconds, row, numbers, strict=True):
            drawn = f" {bar(value / most, bars)}" if bars else ""
            texts.append(Text.assemble(text.rjust(number), (drawn, "cyan")))
        style = "bold" if line is lines[-1] else ""
        table.add_row(Text(line.name), line.cycles, *texts, *line.ratios, style=style)
    return table


@dataclass(frozen=True)
class _Line:
    """A row of the table: seconds on VTA and of each rival, and a ratio for each match."""

    name: str
    cycles: str
    seconds: list[float]
    ratios: list[str]


def _line(name: str, cycles: str, seconds: list[float], ratios: Sequence[float | None]) -> _Line:
    return _Line(name, cycles, seconds, [times(ratio) if ratio else "" for ratio in ratios])


def _times(row: Row) -> list[float]:
    return [row.vta_seconds, *row.seconds.values()]


def _totals(found: Comparison) -> list[float]:
    return [found.vta_seconds, *(one.figure.median for one in found.standings)]


def _ratios(found: Comparison) -> list[float | None]:
    return [_ratio(match, found.vta_seconds) for match in found.matches]


def _ratio(match: Match, vta_seconds: float) -> float | None:
    if match.ratio:
        return match.ratio.median
    if match.subject or match.opponent is None:
        return None
    return match.opponent.figure.median / vta_seconds


def _ratio_heads(found: Comparison) -> list[list[str]]:
    """Return the title of each match's column: `ratio`, or which one where there are several."""
    if len(found.matches) < 2:
        return [["ratio"] for _ in found.matches]
    return [["ratio", one.reference.arithmetic] for one in found.matches if one.reference]


def standings_table(found: Comparison) -> Table:
    """Return how everyone did in total; `relative` is to our own code of the same arithmetic.

    Where none is of it, to our own, or to the fastest.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for title in ("total", ""):
        table.add_column(title, no_wrap=True)
    for title in ("median", "least", "spread", "relative", "cosine"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in found.standings:
        table.add_row(
            _short(one),
            one.arithmetic,
            duration(one.figure.median),
            duration(one.figure.least),
            per_cent(one.figure.spread),
            times(one.relative.median),
            "" if one.cosine is None else f"{one.cosine:.5f}",
        )
    reference = found.reference
    relative = times(found.vta_seconds / reference.figure.median) if reference else ""
    table.add_row("VTA", "int8", duration(found.vta_seconds), "", "", relative)
    return table


def remarks(found: Comparison) -> Iterator[tuple[str, str]]:
    """Give what a reader must know to measure the same: a label and a text each."""
    setting, facts = found.setting, found.setting.machine
    yield "CPU", _machine(found)
    if found.standings:
        text = f"{found.rounds} rounds in which all take turns, warm"
        if found.rejected:
            text += f"; {found.rejected} more, in which others disturbed, do not count"
        if found.busy:
            text += f"; others disturbed {found.busy} of those that count"
        if not facts.watched:
            text += "; this system does not say when others take a CPU"
        yield "measured", text
    text = f"{setting.config} at {setting.clock_mhz:g} MHz"
    if setting.clock_mhz == CLOCK_MHZ:
        text += ", the clock of the original's first board (PYNQ-Z1)"
    text += "; cycles from the cycle model"
    if found.vta.host_seconds:
        text += (
            f"; {duration(found.vta.host_seconds)} on its host, in native code on this "
            "CPU: layers that VTA has not, and copies between layouts"
        )
    yield "VTA", text
    for one in found.standings:
        detail = ", ".join(f"{key} {value}" for key, value in one.detail.items())
        loops = f"each sample the mean of {one.loops} inferences" if one.loops > 1 else ""
        text = "; ".join(filter(None, (one.name, detail, loops)))
        yield f"{_short(one)} {one.arithmetic}", text
    if found.standings:
        text = "from separate runs with a profile, scaled to add up to the median"
        if any(one.key.startswith("ort") for one in found.standings):
            text += "; that of ONNX Runtime counts whole µs"
        yield "by layer", text
    for missing in found.missing:
        yield "without", f"{missing.title}: {missing.reason}"


def _machine(found: Comparison) -> str:
    facts = found.setting.machine
    text = facts.cpu
    if facts.cpus:
        places = ", ".join(map(str, facts.cpus))
        text += f"; {_threads(found)} pinned to CPU{'s' * (len(facts.cpus) > 1)} {places}"
    else:
        text += f"; {_threads(found)}, which this system cannot pin"
    text += f", of {facts.of}"
    if facts.shared_cores:
        text += "; some share a core"
    if facts.load_average is not None:
        text += f"; load average before {facts.load_average:.2f}"
    return text


def _threads(found: Comparison) -> str:
    count = found.setting.threads
    return "1 thread" if count == 1 else f"{count} threads"


def _legend(found: Comparison) -> str:
    text = "bars, where there is room: share of the row's longest time"
    described: list[str] = []
    for match in found.matches:
        if match.opponent is not None:
            subject = "VTA" if match.subject is None else _short(match.subject)
            other = f"{_short(match.opponent)} {match.opponent.arithmetic}"
            described.append(f"time of {other} over that of {subject}")
    return "; ratio: ".join([text, ", ".join(described)]) if described else text


def _short(one: Standing) -> str:
    return SHORT.get(one.key, one.key)


def _cycles(row: Row) -> str:
    if row.cycles is not None:
        return f"{row.cycles:,}"
    return "on host" if row.device == "cpu" else ""


def _unit(found: Comparison) -> tuple[str, float]:
    """Return the unit in which the shortest total has digits before the point, and its size."""
    return ("µs", 1e-6) if min(_totals(found)) < 1e-3 else ("ms", 1e-3)


def _number(seconds: float, size: float) -> str:
    if not seconds:
        return ""
    return f"{seconds / size:,.1f}" if size < 1e-3 else f"{seconds / size:,.3f}"
