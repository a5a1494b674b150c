"""Who takes part in a comparison with what figures, and who is set against whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .rivals.figures import Figure, ratio

if TYPE_CHECKING:
    from .rivals.rival import Rival


@dataclass(frozen=True)
class Standing:
    """How a rival did: seconds of an inference.

    `loops` is how many of them a sample is the mean of. `relative` is how many times as long it
    takes as our own code of the same arithmetic, over rounds; where there is none, as our own code
    or else the fastest. `cosine` compares its outputs with those of ONNX Runtime on the model as
    given, where that took part.
    """

    key: str
    name: str
    arithmetic: str
    detail: dict[str, str]
    ours: bool
    exact: bool
    figure: Figure
    samples: list[float]
    loops: int
    relative: Figure
    cosine: float | None

    def document(self) -> dict[str, object]:
        """Return it for the JSON document, with the keys of its figure beside its own."""
        plain = asdict(self)
        own = plain.pop("figure")
        return {**plain, "seconds": own["median"], "least": own["least"], "spread": own["spread"]}


@dataclass(frozen=True)
class Match:
    """Our own code against the fastest of the same arithmetic that is not ours, if there is one.

    Without a subject it is VTA's match, against the fastest of all.
    """

    subject: Standing | None
    opponent: Standing | None

    @property
    def reference(self) -> Standing | None:
        """What VTA is set against."""
        return self.subject or self.opponent

    @property
    def ratio(self) -> Figure | None:
        """How many times as fast the subject is as the opponent, over rounds."""
        if self.subject is None or self.opponent is None:
            return None
        return ratio(self.opponent.samples, self.subject.samples)

    def document(self) -> dict[str, object]:
        """Return it for the JSON document, standings by their keys."""
        return {
            "subject": self.subject.key if self.subject else None,
            "opponent": self.opponent.key if self.opponent else None,
            "ratio": asdict(self.ratio) if self.ratio else None,
        }


def by_arithmetic(rivals: Sequence[Rival]) -> list[Rival]:
    """Return rivals with those beside each other that compute in the same arithmetic."""
    order = list(dict.fromkeys(rival.arithmetic for rival in rivals))
    return sorted(rivals, key=lambda rival: order.index(rival.arithmetic))


def references_of(rivals: Sequence[Rival], medians: Mapping[str, float]) -> dict[str, str]:
    """Return whom each is relative to, by keys.

    Our own code of the same arithmetic, else our own, else the fastest.
    """
    ours = [rival for rival in rivals if rival.ours]
    found: dict[str, str] = {}
    for rival in rivals:
        alike = [one for one in ours if one.arithmetic == rival.arithmetic]
        first = next(iter([*alike, *ours]), None)
        found[rival.key] = first.key if first else min(medians, key=medians.__getitem__)
    return found


def matches_of(standings: Sequence[Standing]) -> tuple[Match, ...]:
    """Return who is set against whom."""
    ours = [one for one in standings if one.ours]
    others = [one for one in standings if not one.ours]
    if not ours:
        return (Match(None, _fastest(others)),) if others else ()
    return tuple(
        Match(one, _fastest([other for other in others if other.arithmetic == one.arithmetic]))
        for one in ours
    )


def _fastest(standings: Sequence[Standing]) -> Standing | None:
    return min(standings, key=lambda one: one.figure.median, default=None)
