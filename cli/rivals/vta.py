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

HOST_RUNS = 5


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
        Seconds that this machine, in the host's place, takes for layers on the CPU, and for packing
        and copying what VTA reads and writes.
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

    Cycles are the same in each run; the host's seconds are medians of a few, after one.
    """
    from ...runtime.drivers.find import open_device
    from ...runtime.session import Session

    module = compiled.module
    with open_device("sim", module.config) as device, Session(module, device) as session:
        session.run(inputs)
        reports = [session.run(inputs) for _ in range(HOST_RUNS)]
    return cost_of(reports)


def cost_of(reports: list[RunReport]) -> VtaCost:
    """Return what runs of the same network cost, one or more."""
    last = reports[-1]
    host: dict[str, list[float]] = {}
    for report in reports:
        for layer in report.layers:
            if not layer.on_device:
                host.setdefault(layer.layer, []).append(layer.seconds)
    return VtaCost(
        cycles=last.cycles or 0,
        layers={layer.layer: layer.cycles or 0 for layer in last.layers if layer.on_device},
        host={layer: median(seconds) for layer, seconds in host.items()},
        outputs=last.outputs,
    )
