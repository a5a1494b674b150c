"""From the name of an engine to an open device."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...isa.config import PAGE_BYTES, Config
from .device import Device, DeviceError

if TYPE_CHECKING:
    from .in_process import AnyMachine
    from .serial_port import SerialOptions


@dataclass(frozen=True)
class DeviceOptions:
    """What a user may ask of any device; one that cannot do something leaves it out.

    Attributes
    ----------
    memory_latency : int or None
        Cycles from a read request to its first word, for simulated memory; None: the usual.
    record : bool
        Whether to record when each instruction starts and ends, for reports by layer.
    seed : int or None
        What hardware holds that no reset sets, at random from it; None: zeros.
    wave : Path or None
        A waveform that hardware writes, FILE.fst or FILE.vcd.
    serial : SerialOptions or None
        How a board is reached.
    say
        Called with a line before something that takes a minute.
    """

    memory_latency: int | None = None
    record: bool = True
    seed: int | None = None
    wave: Path | None = None
    serial: SerialOptions | None = None
    say: Callable[[str], None] | None = None


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


@contextmanager
def open_machine(
    name: str, config: Config, options: DeviceOptions, *, dram_bytes: int
) -> Generator[AnyMachine]:
    """Open the machine behind an engine of this process, for programs that bring their own memory.

    Parameters
    ----------
    dram_bytes : int
        The least that its memory must hold.

    Raises
    ------
    DeviceError
        When it cannot be opened.
    """
    from ...sim.machine import DEFAULT_DRAM_BYTES

    machine = _machine(name, config, options, max(DEFAULT_DRAM_BYTES, dram_bytes))
    try:
        yield machine
    finally:
        machine.close()


def _machine(name: str, config: Config, options: DeviceOptions, dram_bytes: int) -> AnyMachine:
    from ...sim.machine import DEFAULT_MEMORY_LATENCY, Machine

    latency = options.memory_latency
    latency = DEFAULT_MEMORY_LATENCY if latency is None else latency
    dram_bytes = -(-dram_bytes // PAGE_BYTES) * PAGE_BYTES
    if name != "rtl":
        return Machine(config, dram_bytes=dram_bytes, memory_latency=latency)
    from .rtl_machine import RtlMachine

    return RtlMachine(
        config,
        dram_bytes=dram_bytes,
        memory_latency=latency,
        seed=options.seed,
        wave=options.wave,
        say=options.say,
    )


def _in_process(name: str) -> Callable[[Config, DeviceOptions], Device]:
    def open_device(config: Config, options: DeviceOptions) -> Device:
        from .in_process import DEFAULT_DRAM_BYTES, InProcess

        machine = _machine(name, config, options, DEFAULT_DRAM_BYTES)
        return InProcess(machine, timing=name != "functional", record=options.record)

    return open_device


def _serial(config: Config, options: DeviceOptions) -> Device:
    from .serial_port import open_serial

    if options.serial is None:
        raise DeviceError("a board at a serial line needs to be told of: its name and its line")
    return open_serial(config, options.serial, options.say)


DRIVERS: dict[str, Driver] = {
    name: Driver(summary, _in_process(name))
    for name, summary in {
        "sim": "the simulator, cycle by cycle",
        "functional": "the simulator without a clock: the same results, no cycles",
        "rtl": "the hardware itself, compiled by Verilator",
    }.items()
}
DRIVERS["serial"] = Driver("a board at the other end of a serial line", _serial)
