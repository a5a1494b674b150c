"""A module bound to a device: run it many times, and see what each layer cost."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np

from ..isa.instructions import Memory
from .drivers.device import Device, RunResult
from .module import (
    Array,
    DeviceStep,
    HostStep,
    Module,
    ModuleError,
    ReadStep,
    Step,
    WriteStep,
    differences,
)
from .stream import Stream, alignment, moved_bytes

BYTES_OF = {
    Memory.INP: "inp",
    Memory.WGT: "wgt",
    Memory.ACC: "acc",
    Memory.ACC_8BIT: "acc",
    Memory.UOP: "uop",
    Memory.OUT: "out",
}


@dataclass
class LayerReport:
    """What one layer cost in a run.

    Attributes
    ----------
    layer : str
        Its name; empty for what belongs to none.
    on_device : bool
        Whether the device did it; else the host.
    cycles : int or None
        From the end of all earlier layers' instructions to the end of its own, so that layers add
        up to the whole: what a layer loads while the one before still computes costs it nothing.
        None on the host, or where the device records no ends.
    macs, instructions : int
    bytes : dict
        Moved between DRAM and chip, by memory (inp, wgt, acc, uop, out).
    seconds : float
        Spent by the host: computing, or copying to and from the device.
    """

    layer: str
    on_device: bool
    cycles: int | None = None
    macs: int = 0
    instructions: int = 0
    bytes: dict[str, int] = field(default_factory=dict[str, int])
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class RunReport:
    """What a run gave and cost.

    Attributes
    ----------
    outputs : dict of str to array
        By the network's own names.
    cycles : int or None
        Of all streams together; None where the device counts none.
    layers : list of LayerReport
        In the order in which they first run.
    results : list of RunResult
        One for each stream: its counters, and the starts and ends of its instructions.
    counters : dict of str to int
        Added up over all streams.
    seconds : float
        Of the whole run, on the host's clock.
    """

    outputs: dict[str, Array]
    cycles: int | None
    layers: list[LayerReport]
    results: list[RunResult]
    counters: dict[str, int]
    seconds: float


class Session:
    """Binds a module to a device: memory, constants, micro-ops and addresses, once.

    Parameters
    ----------
    module : Module
    device : Device
        Stays open when the session is closed.

    Raises
    ------
    ModuleError
        For a device of another configuration, naming the fields that differ.
    OutOfMemory
        When the arena does not fit.
    """

    def __init__(self, module: Module, device: Device) -> None:
        if module.config != device.config:
            differing = ", ".join(differences(module.config, device.config))
            raise ModuleError(
                f"module {module.name!r} is compiled for another machine than this device: "
                f"{differing}; compile it for the device's configuration"
            )
        self.module = module
        self.device = device
        streams = [step.stream for step in module.steps if isinstance(step, DeviceStep)]
        sizes = [-(-stream.uops.size // 4096) * 4096 for stream in streams]
        align = alignment(module.config)
        arena_bytes = -(-module.arena_bytes // align) * align
        self.address = device.allocate(arena_bytes + sum(sizes), align=align)
        for segment in module.segments:
            device.write(self.address + segment.offset, segment.data)
        self._bound: list[_Bound] = []
        uops = self.address + arena_bytes
        for stream, size in zip(streams, sizes, strict=True):
            device.write(uops, stream.uops)
            self._bound.append(_Bound(stream, self.address, uops))
            uops += size

    def run(self, inputs: Mapping[str, Array]) -> RunReport:
        """Run the network once on arrays by the names of its inputs.

        Raises
        ------
        ModuleError
            For an input that is missing, unknown, or of another type or shape.
        """
        began = time.perf_counter()
        values = {**self.module.constants, **self._checked(inputs)}
        layers: dict[tuple[str, bool], LayerReport] = {}
        results: list[RunResult] = []
        for step in self.module.steps:
            if isinstance(step, DeviceStep):
                bound = self._bound[len(results)]
                results.append(self.device.run(bound.insns))
                bound.report(results[-1], layers)
            else:
                before = time.perf_counter()
                self._run_on_host(step, values)
                layer = step.layer if isinstance(step, HostStep) else ""
                report = layers.setdefault((layer, False), LayerReport(layer, False))
                report.seconds += time.perf_counter() - before
        counted = [result.cycles for result in results if result.cycles is not None]
        counters: dict[str, int] = {}
        for result in results:
            for name, count in result.counters.items():
                counters[name] = counters.get(name, 0) + count
        return RunReport(
            outputs={name: values[name] for name in self.module.outputs},
            cycles=sum(counted) if len(counted) == len(results) else None,
            layers=list(layers.values()),
            results=results,
            counters=counters,
            seconds=time.perf_counter() - began,
        )

    def read(self, name: str) -> Array:
        """Return a device tensor as it is now; its place may serve several tensors in a run.

        Raises
        ------
        ModuleError
            When there is no tensor of that name.
        """
        tensor = self.module.tensor(name)
        data = self.device.read(self.address + tensor.offset, tensor.size_bytes)
        return data.view(np.dtype(tensor.dtype)).reshape(tensor.shape)

    def close(self) -> None:
        """Give the memory back to the device."""
        self.device.release(self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _checked(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        expected = ", ".join(
            f"{value.name!r} {value.dtype} {value.shape}"
            for value in map(self.module.value, self.module.inputs)
        )
        for name in self.module.inputs:
            if name not in inputs:
                raise ModuleError(f"input {name!r} is missing; the network takes {expected}")
        for name, array in inputs.items():
            if name not in self.module.inputs:
                raise ModuleError(f"there is no input {name!r}; the network takes {expected}")
            value = self.module.value(name)
            if (str(array.dtype), array.shape) != (value.dtype, value.shape):
                raise ModuleError(
                    f"input {name!r} is {array.dtype} {array.shape}; the network takes {expected}"
                )
        return dict(inputs)

    def _run_on_host(self, step: Step, values: dict[str, Array]) -> None:
        match step:
            case HostStep():
                from .host.registry import KERNELS, run

                if step.kernel not in KERNELS:
                    raise ModuleError(
                        f"layer {step.layer!r} needs kernel {step.kernel!r}, which "
                        f"does not exist here; known are {', '.join(KERNELS)}"
                    )
                made = run(step.kernel, step.attributes, [values[name] for name in step.inputs])
                values.update(zip(step.outputs, made, strict=True))
            case WriteStep():
                address = self.address + self.module.tensor(step.tensor).offset
                data = np.ascontiguousarray(values[step.value]).reshape(-1).view(np.uint8)
                self.device.write(address, data)
            case ReadStep():
                value = self.module.value(step.value)
                data = self.read(step.tensor).reshape(-1).view(np.dtype(value.dtype))
                values[step.value] = data.reshape(value.shape)
            case DeviceStep():
                raise AssertionError("streams run on the device")


class _Bound:
    """A stream at its addresses, with what each of its layers moves and does."""

    def __init__(self, stream: Stream, arena: int, uops: int) -> None:
        self.insns = stream.relocate(arena, uops)
        begins = [mark.begin for mark in stream.marks]
        names = [mark.layer for mark in stream.marks]
        macs = [mark.macs for mark in stream.marks]
        if not begins or begins[0] > 0:
            begins, names, macs = [0, *begins], ["", *names], [0, *macs]
        self._ends = [*begins[1:], len(stream.insns)]
        self._layers: list[tuple[str, int, int, dict[str, int]]] = []
        moved = moved_bytes(stream.insns, stream.config)
        for begin, end, name, work in zip(begins, self._ends, names, macs, strict=True):
            sums = dict.fromkeys(BYTES_OF.values(), 0)
            for memory, sizes in moved.items():
                sums[BYTES_OF[memory]] += int(sizes[begin:end].sum())
            self._layers.append((name, end - begin, work, sums))

    def report(self, result: RunResult, layers: dict[tuple[str, bool], LayerReport]) -> None:
        """Add what a run cost to the report of each layer."""
        reached = 0
        for end, (name, instructions, macs, sums) in zip(self._ends, self._layers, strict=True):
            report = layers.setdefault((name, True), LayerReport(name, True))
            report.instructions += instructions
            report.macs += macs
            for kind, size in sums.items():
                report.bytes[kind] = report.bytes.get(kind, 0) + size
            if result.ends is not None:
                latest = int(result.ends[:end].max(initial=0))
                report.cycles = (report.cycles or 0) + latest - reached
                reached = latest
