"""From the name of an engine to an open device."""

from collections.abc import Callable
from dataclasses import dataclass

from ...isa.config import Config
from .device import Device, DeviceError


@dataclass(frozen=True)
class DeviceOptions:
    """What a user may ask of any device; one that cannot do something leaves it out.

    Attributes
    ----------
    memory_latency : int or None
        Cycles from a read request to its first word, for simulated memory; None: the usual.
    record : bool
        Whether to record when each instruction starts and ends, for reports by layer.
    """

    memory_latency: int | None = None
    record: bool = True


@dataclass(frozen=True)
class Driver:
    """A way to reach a machine: what it is, in a line, and how to open it."""

    summary: str
    open: Callable[[Config, DeviceOptions], Device]


def open_device(name: str, config: Config, options: DeviceOptions | None = None) -> Device:
    """Return an open device of the engine of that name.

    Raises
    ------
    DeviceError
        When there is no such engine, naming those that exist.
    """
    if name not in DRIVERS:
        known = ", ".join(DRIVERS)
        raise DeviceError(f"there is no device {name!r}; there are {known}")
    return DRIVERS[name].open(config, options or DeviceOptions())


def _open_simulator(config: Config, options: DeviceOptions, timing: bool) -> Device:
    from ...sim.machine import DEFAULT_MEMORY_LATENCY
    from .simulator import Simulator

    latency = options.memory_latency
    return Simulator(
        config,
        timing=timing,
        record=options.record,
        memory_latency=DEFAULT_MEMORY_LATENCY if latency is None else latency,
    )


DRIVERS: dict[str, Driver] = {
    "sim": Driver(
        "the simulator, cycle by cycle",
        lambda config, options: _open_simulator(config, options, timing=True),
    ),
    "functional": Driver(
        "the simulator without a clock: the same results, no cycles",
        lambda config, options: _open_simulator(config, options, timing=False),
    ),
}
