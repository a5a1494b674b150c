"""What a comparison comes to: rows by layer, standings in total, and the JSON document of both."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .compare_match import Match, Standing, by_arithmetic, matches_of, references_of
from .network import closeness, finite
from .rivals.figures import figure, ratio
from .rivals.rival import OTHER

if TYPE_CHECKING:
    from ..compiler.build import Compiled, LayerInfo
    from ..isa.config import Config
    from .rivals.contest import Missing
    from .rivals.measure import Measured
    from .rivals.rival import Rival
    from .rivals.vta import VtaCost
    from .rivals.watch import MachineFacts

T = TypeVar("T", int, float)


@dataclass(frozen=True, eq=False)
class Setting:
    """What was compared, and on what.

    `config` is the machine by the name that the user gave; `clock_mhz` is that of VTA.
    """

    model: str
    config: str
    target: Config
    clock_mhz: float
    threads: int
    machine: MachineFacts

    @property
    def network(self) -> str:
        """The network's name, for people."""
        return Path(self.model).stem


@dataclass(frozen=True)
class Row:
    """A layer's cost; an empty name is what belongs to none.

    `vta_seconds` are those of the cycles and those of the host together. `seconds` are by rival;
    `ratios` are one for each match, None where a side takes no time for the layer.
    """

    name: str
    op: str
    device: str
    macs: int
    cycles: int | None
    host_seconds: float
    vta_seconds: float
    seconds: dict[str, float]
    ratios: tuple[float | None, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A network on VTA and on its rivals.

    Attributes
    ----------
    matches : tuple of Match
        What the verdict is about. Ratios say how many times as fast a subject is as its opponent,
        or VTA where there is no subject.
    differing : tuple of str
        Rivals whose outputs should be VTA's, bit for bit, and are not.
    rejected, busy : int
        Rounds in which others disturbed: measured again, or not.
    """

    setting: Setting
    vta: VtaCost
    rows: tuple[Row, ...]
    standings: tuple[Standing, ...]
    matches: tuple[Match, ...]
    missing: tuple[Missing, ...]
    differing: tuple[str, ...]
    rounds: int
    rejected: int
    busy: int

    @property
    def cycle_seconds(self) -> float:
        """Time of VTA's cycles."""
        return self.vta.cycles / (self.setting.clock_mhz * 1e6)

    @property
    def vta_seconds(self) -> float:
        """Time of an inference on VTA with its host."""
        return self.cycle_seconds + self.vta.host_seconds

    @property
    def reference(self) -> Standing | None:
        """What VTA's time is set against: our own code, or the fastest of others."""
        return self.matches[0].reference if self.matches else None

    def document(self) -> dict[str, object]:
        """Return the JSON document; times in seconds, unrounded."""
        from .compare_words import verdict

        setting = self.setting
        return {
            "model": setting.model,
            "config": setting.target.to_json(),
            "threads": setting.threads,
            "clock_mhz": setting.clock_mhz,
            "machine": asdict(setting.machine),
            "rounds": {"measured": self.rounds, "again": self.rejected, "disturbed": self.busy},
            "vta": {
                "cycles": self.vta.cycles,
                "cycle_seconds": self.cycle_seconds,
                "host_seconds": self.vta.host_seconds,
                "seconds": self.vta_seconds,
            },
            "rivals": [standing.document() for standing in self.standings],
            "missing": [asdict(one) for one in self.missing],
            "matches": [match.document() for match in self.matches],
            "checked": {
                "against": "VTA",
                "equal": not self.differing,
                "differing": list(self.differing),
            },
            "layers": [asdict(row) for row in self.rows],
            "verdict": verdict(self),
        }


def comparison(
    setting: Setting,
    compiled: Compiled,
    vta: VtaCost,
    rivals: Sequence[Rival],
    measured: Measured,
    missing: Sequence[Missing],
) -> Comparison:
    """Ask rivals for their layers and outputs, and put everything together."""
    seconds = measured.seconds
    medians = {rival.key: figure(seconds[rival.key]).median for rival in rivals}
    references = references_of(rivals, medians)
    expected = next((rival.outputs() for rival in rivals if rival.key == "ort"), None)
    standings = {
        rival.key: Standing(
            key=rival.key,
            name=rival.name,
            arithmetic=rival.arithmetic,
            detail=dict(rival.detail),
            ours=rival.ours,
            exact=rival.exact,
            figure=figure(seconds[rival.key]),
            samples=seconds[rival.key],
            loops=measured.loops[rival.key],
            relative=ratio(seconds[rival.key], seconds[references[rival.key]]),
            cosine=finite(closeness(rival.outputs(), expected)[0]) if expected else None,
        )
        for rival in by_arithmetic(rivals)
    }
    matches = matches_of(tuple(standings.values()))
    differing = [rival.name for rival in rivals if rival.exact and not _equal(rival, compiled, vta)]
    names = {layer.name for layer in compiled.layers}
    layers = {
        rival.key: scaled(_known(rival.layers(), names), medians[rival.key]) for rival in rivals
    }
    return Comparison(
        setting=setting,
        vta=vta,
        rows=tuple(_rows(compiled, vta, setting.clock_mhz, layers, matches)),
        standings=tuple(standings.values()),
        matches=matches,
        missing=tuple(missing),
        differing=tuple(differing),
        rounds=max(map(len, seconds.values()), default=0),
        rejected=measured.rejected,
        busy=measured.busy,
    )


def scaled(layers: Mapping[str, float], total: float) -> dict[str, float]:
    """Return seconds by layer in the same proportions, that add up to the total."""
    whole = sum(layers.values())
    if whole <= 0:
        return {OTHER: total}
    return {name: value * total / whole for name, value in layers.items()}


def _known(costs: Mapping[str, T], names: Container[str]) -> dict[str, T]:
    """Return costs by layer, with those of layers that have no row given to `OTHER`."""
    found: dict[str, T] = {}
    for name, cost in costs.items():
        row = name if name in names else OTHER
        found[row] = found[row] + cost if row in found else cost
    return found


def _equal(rival: Rival, compiled: Compiled, vta: VtaCost) -> bool:
    from ..compiler.check import check_outputs, rounded_outputs

    return check_outputs(rival.outputs(), vta.outputs, rounded_outputs(compiled.graph)).equal


def _rows(
    compiled: Compiled,
    vta: VtaCost,
    clock_mhz: float,
    layers: Mapping[str, Mapping[str, float]],
    matches: Sequence[Match],
) -> list[Row]:
    infos: dict[str, list[LayerInfo]] = {}
    for layer in compiled.layers:
        infos.setdefault(layer.name, []).append(layer)
    left = vta.cycles - sum(vta.layers.values())
    cycles = _known(vta.layers, infos)
    if left:
        cycles[OTHER] = cycles.get(OTHER, 0) + left
    hosts = _known(vta.host, infos)
    rest = {OTHER} & {name for costs in (cycles, hosts, *layers.values()) for name in costs}
    rows: list[Row] = []
    for name in (*infos, *rest):
        # Layers of one name share one account; the first on VTA stands for it.
        found = sorted(infos.get(name, []), key=lambda layer: layer.device != "vta")
        host = hosts.get(name, 0.0)
        on_vta = cycles.get(name, 0) / (clock_mhz * 1e6) + host
        seconds = {key: by_layer.get(name, 0.0) for key, by_layer in layers.items()}
        rows.append(
            Row(
                name=name,
                op=found[0].kind if found else "",
                device=found[0].device if found else "",
                macs=sum(layer.macs for layer in found),
                cycles=cycles.get(name),
                host_seconds=host,
                vta_seconds=on_vta,
                seconds=seconds,
                ratios=tuple(_layer_ratio(match, seconds, on_vta, name) for match in matches),
            )
        )
    return rows


def _layer_ratio(
    match: Match, seconds: Mapping[str, float], on_vta: float, name: str
) -> float | None:
    """Return how many times as fast the subject computes a layer as the opponent."""
    subject = seconds[match.subject.key] if match.subject else on_vta
    opponent = seconds[match.opponent.key] if match.opponent else 0.0
    return opponent / subject if opponent and subject and name else None
