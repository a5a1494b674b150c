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
    Copy,
    DeviceStep,
    HostStep,
    Module,
    ModuleError,
    differences,
)
from .native.errors import NativeError
from .native.program import NativeSession
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
        Its name; empty for what belongs to none, as all copies.
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
        Spent by the host.
    """

    layer: str
    on_device: bool
    cycles: int | None = None
    macs: int = 0
    instructions: int = 0
    bytes: dict[str, int] = field(default_factory=dict[str, int])
    seconds: float = 0.0


@dataclass(frozen=True)
class CopyReport:
    """A tensor that the host brought from one layout into another, and how long that took."""

    copy: Copy
    seconds: float


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
    copies : list of CopyReport
        In the order in which they run.
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
    copies: list[CopyReport]
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
    threads : int
        Of the host. One, by default: then nothing waits on its CPUs while the device computes.

    Raises
    ------
    ModuleError
        For a device of another configuration, naming the fields that differ, and for code of
        another CPU.
    OutOfMemory
        When the arena does not fit.
    """

    def __init__(self, module: Module, device: Device, threads: int = 1) -> None:
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
        memory = device.view(self.address, arena_bytes) if module.host.shared else None
        try:
            self._host = NativeSession(module.host, threads, shared=memory)
        except NativeError as error:
            device.release(self.address)
            raise ModuleError(f"module {module.name!r}: {error}") from None
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
        for name, array in self._checked(inputs).items():
            np.copyto(self._host.inputs[name], array)
        layers: dict[tuple[str, bool], LayerReport] = {}
        copies: list[CopyReport] = []
        results: list[RunResult] = []
        for step in self.module.steps:
            if isinstance(step, DeviceStep):
                bound = self._bound[len(results)]
                results.append(self.device.run(bound.insns))
                bound.report(results[-1], layers)
            else:
                self._run_on_host(step, layers, copies)
        counted = [result.cycles for result in results if result.cycles is not None]
        counters: dict[str, int] = {}
        for result in results:
            for name, count in result.counters.items():
                counters[name] = counters.get(name, 0) + count
        return RunReport(
            outputs={name: array.copy() for name, array in self._host.outputs.items()},
            cycles=sum(counted) if len(counted) == len(results) else None,
            layers=list(layers.values()),
            copies=copies,
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
        """Give the memory back to the device, and stop the host's threads."""
        self._host.close()
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

    def _checked(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        wanted = {item.name: item for item in self.module.host.inputs}
        expected = ", ".join(
            f"{item.name!r} {item.dtype} {item.shape}" for item in self.module.host.inputs
        )
        for name in wanted:
            if name not in inputs:
                raise ModuleError(f"input {name!r} is missing; the network takes {expected}")
        for name, array in inputs.items():
            if name not in wanted:
                raise ModuleError(f"there is no input {name!r}; the network takes {expected}")
            if (str(array.dtype), array.shape) != (wanted[name].dtype, wanted[name].shape):
                raise ModuleError(
                    f"input {name!r} is {array.dtype} {array.shape}; the network takes {expected}"
                )
        return inputs

    def _run_on_host(
        self, step: HostStep, layers: dict[tuple[str, bool], LayerReport], copies: list[CopyReport]
    ) -> None:
        """Run an entry, and share out its time among what it does by the CPU's own counter."""
        for offset, size in step.reads:
            self.device.fetch(self.address + offset, size)
        before = time.perf_counter()
        self._host.execute(step.entry, timed=True)
        seconds = time.perf_counter() - before
        cycles = self._host.times.astype(np.float64)
        shares = seconds * cycles / max(1.0, float(cycles.sum()))
        code = self.module.host.code
        for layer, share in zip(code.layers[code.entries.index(step.entry)], shares, strict=True):
            report = layers.setdefault((layer, False), LayerReport(layer, False))
            report.seconds += float(share)
        copies += [CopyReport(copy, float(shares[copy.step])) for copy in step.copies]


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
