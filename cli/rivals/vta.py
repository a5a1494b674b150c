"""The network on VTA: cycles from the cycle model, and what it leaves to the host, timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...compiler.build import Compiled
    from ...runtime.session import RunReport

HOST_SECONDS, HOST_RUNS, MOST_HOST_RUNS = 0.5, 6, 400
"""How long and how often the host is timed, with half as many runs before, by which it is warm."""


@dataclass(frozen=True, eq=False)
class VtaCost:
    """What an inference costs on VTA.

    Attributes
    ----------
    cycles : int
        Of all streams; a little more than those of its layers together.
    layers : dict of layer to int
        Cycles of layers on VTA.
    host : dict of layer to float
        Seconds that this machine, in the host's place, takes for layers on the CPU, and, under no
        name, for copies between layouts.
    outputs : dict of str to array
    """

    cycles: int
    layers: dict[str, int]
    host: dict[str, float]
    outputs: dict[str, NDArray[Any]]

    @property
    def host_seconds(self) -> float:
        """Of all layers."""
        return sum(self.host.values())


def vta_cost(compiled: Compiled, inputs: Mapping[str, NDArray[Any]]) -> VtaCost:
    """Run a compiled network on the simulator.

    Cycles are the same in each run; the host's seconds are medians over the faster half of many.
    """
    from ...runtime.drivers.find import open_device
    from ...runtime.session import Session

    module = compiled.module
    with open_device("sim", module.config) as device, Session(module, device) as session:
        reports: list[RunReport] = []
        spent = 0.0
        while len(reports) < HOST_RUNS or (
            spent < 1.5 * HOST_SECONDS and len(reports) < MOST_HOST_RUNS
        ):
            reports.append(session.run(inputs))
            spent += reports[-1].seconds
    return cost_of(reports[len(reports) // 3 :])


def cost_of(reports: list[RunReport]) -> VtaCost:
    """Return what runs of the same network cost, one or more."""
    last = reports[-1]
    host: dict[str, list[float]] = {}
    for report in sorted(reports, key=_host_seconds)[: (len(reports) + 1) // 2]:
        for layer in report.layers:
            if not layer.on_device:
                host.setdefault(layer.layer, []).append(layer.seconds)
    return VtaCost(
        cycles=last.cycles or 0,
        layers={layer.layer: layer.cycles or 0 for layer in last.layers if layer.on_device},
        host={layer: median(seconds) for layer, seconds in host.items()},
        outputs=last.outputs,
    )


def _host_seconds(report: RunReport) -> float:
    return sum(layer.seconds for layer in report.layers if not layer.on_device)
