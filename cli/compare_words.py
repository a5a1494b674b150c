"""A comparison in words: figures for people, and a verdict that can be quoted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rivals.figures import LEAST_SPREAD, Figure, equal

if TYPE_CHECKING:
    from .compare_match import Match, Standing
    from .compare_report import Comparison

HOST_SHARE = 0.05
"""Of VTA's time; from there on the verdict names it."""


def duration(seconds: float) -> str:
    """Return a time with its unit: `9.84 ms`, `13.7 µs`, `1,204 s`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.9995 * size:
            return f"{_three_digits(seconds / size)} {unit}"
    return f"{seconds / 1e-9:.0f} ns"


def _three_digits(value: float) -> str:
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{decimals}f}"


def per_cent(share: float) -> str:
    """Return a share as whole per cent, or one decimal below ten."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def times(value: float) -> str:
    """Return how many times: `1.09`, `12.3`, `150`."""
    return _three_digits(value)


def verdict(found: Comparison) -> str:
    """Return what the figures say, in a sentence or two; nothing stronger than they do."""
    setting = found.setting
    threads = "one thread" if setting.threads == 1 else f"{setting.threads} threads"
    place = f"On {threads} of {setting.machine.cpu}"
    parts: list[str] = []
    if found.reference:
        one = found.reference
        text = f"{place}, {one.name} runs {_network(found, one)} in {_time(one)}"
        if one.ours:
            text += _outcome(found.matches[0])
        else:
            text += f" (spread {per_cent(one.figure.spread)})"
        parts.append(text)
    parts.append(_vta(found))
    text = "; ".join(parts) + "."
    for match in found.matches[1:]:
        assert match.subject is not None
        ours = match.subject
        text += f" In {ours.arithmetic} {ours.name} takes {_time(ours)}{_outcome(match)}."
    if found.busy:
        text += (
            f" Others disturbed {found.busy} of {found.rounds} rounds: times are too long,"
            " and ratios doubtful."
        )
    if found.differing:
        text += f" But the results of {', '.join(found.differing)} are not those of VTA."
    return text


def _network(found: Comparison, standing: Standing) -> str:
    return f"{found.setting.network} ({standing.arithmetic})"


def _time(standing: Standing) -> str:
    return duration(standing.figure.median)


def _outcome(match: Match) -> str:
    """Return who is faster and by how much, as the end of a sentence about the subject."""
    if match.opponent is None or match.ratio is None:
        return ""
    return f", {_against(match.ratio, match.opponent)}"


def _against(ratio: Figure, other: Standing) -> str:
    """Return how the subject does against the opponent: `1.09 times as fast as ...`."""
    if equal(ratio):
        within = per_cent(max(ratio.spread, LEAST_SPREAD))
        return (
            f"as fast as {other.name} ({other.arithmetic}, {_time(other)}; "
            f"the difference is within the spread of {within})"
        )
    described = (
        f"{other.name} ({other.arithmetic}, {_time(other)}, spread {per_cent(other.figure.spread)})"
    )
    if ratio.median > 1:
        return f"{times(ratio.median)} times as fast as {described}"
    return f"{times(1 / ratio.median)} times as long as {described}"


def _vta(found: Comparison) -> str:
    text = (
        f"VTA {found.setting.config} at {found.setting.clock_mhz:g} MHz would take "
        f"{duration(found.vta_seconds)}"
    )
    if found.vta.host_seconds > HOST_SHARE * found.vta_seconds:
        text += f", {duration(found.vta.host_seconds)} of it on a host as fast as this CPU"
    reference = found.reference
    if reference:
        longer = found.vta_seconds / reference.figure.median
        other = f" as {reference.name}" if reference.ours else ""
        if longer >= 1:
            text += f", {times(longer)} times as long{other}"
        else:
            text += f", and be {times(1 / longer)} times as fast{other}"
    return text
