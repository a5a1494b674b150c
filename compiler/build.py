"""The way from a graph to a module: fuse, partition, pack, plan, choose schedules, emit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..isa.config import Config
from ..runtime.buffers import Segment
from ..runtime.module import (
    Array,
    DeviceStep,
    HostStep,
    HostValue,
    Module,
    ReadStep,
    Step,
    WriteStep,
)
from ..runtime.queue import CommandQueue
from .emit.vta import Place, emit
from .expr import Tensor
from .graph import Graph, Value
from .layers import macs
from .passes.pack import Halo, Packed, pack
from .passes.partition import Placed, is_view, partition
from .passes.plan import Memory, plan_memory
from .passes.sequence import sequence
from .schedule import ScheduleError
from .vta.layer import Layer
from .vta.search import Choice, Search
from .vta.tiling import TilingError

Progress = Callable[[str, int, int], None]
"""Called with a layer's name, how many layers are done and how many there are."""


@dataclass(frozen=True, eq=False)
class LayerInfo:
    """What a report says of a layer besides what it cost.

    `device` is "vta" or "cpu"; `reason` says why the CPU; `choice` is the schedule on VTA. `value`
    is the layer's result in the integer graph.
    """

    name: str
    kind: str
    device: str
    macs: int
    value: Value
    reason: str = ""
    choice: Choice | None = None


@dataclass(frozen=True, eq=False)
class Compiled:
    """A module with what it was made from: for checking and reporting.

    `tensors` names the device tensor of each value that lies in device memory.
    """

    module: Module
    graph: Graph
    layers: tuple[LayerInfo, ...]
    packed: dict[Value, Packed]


def build_module(
    graph: Graph,
    config: Config,
    *,
    keep: bool = False,
    measured: int = 6,
    progress: Progress | None = None,
) -> Compiled:
    """Compile an integer graph for a machine.

    Parameters
    ----------
    graph : Graph
        Of primitive operators, as the quantizing passes return it.
    config : Config
    keep : bool
        Give every tensor device memory of its own, so that all can be read back after a run.
    measured : int
        Tilings of each layer that the cycle model tries; 1 takes the best estimate.
    progress : Progress
        Told after each layer.
    """
    search = Search(config, measured)
    refused: dict[Value, str] = {}
    while True:
        placed = sequence(partition(graph, config, refused), graph)
        packed = pack(placed, config)
        memory = plan_memory(placed, packed, graph, reuse=not keep)
        writer = _Writer(graph, config, packed, memory, search)
        try:
            return writer.write(placed, progress or (lambda layer, done, total: None))
        except _Refused as layer:  # it runs on the CPU: what was planned around it changes
            refused[layer.output] = str(layer)


class _Refused(Exception):
    """No tiling of the layer that makes `output` gives instructions; says why."""

    def __init__(self, output: Value, reason: str) -> None:
        super().__init__(reason)
        self.output = output


@dataclass
class _Writer:
    """Collects the steps of a module in the order of its groups."""

    graph: Graph
    config: Config
    packed: dict[Value, Packed]
    memory: Memory
    search: Search
    steps: list[Step] = field(default_factory=list[Step])
    values: dict[str, HostValue] = field(default_factory=dict[str, HostValue])
    constants: dict[str, Array] = field(default_factory=dict[str, Array])
    segments: list[Segment] = field(default_factory=list[Segment])
    layers: list[LayerInfo] = field(default_factory=list[LayerInfo])
    queue: CommandQueue | None = None
    on_host: set[Value] = field(default_factory=set[Value])
    on_device: set[Value] = field(default_factory=set[Value])

    def __post_init__(self) -> None:
        for value in self.graph.inputs:
            self._host_value(value.name, value.dtype.value, value.shape)
            self.on_host.add(value)
        for packed in dict.fromkeys(self.packed.values()):
            if any(packed.halo):
                filled = np.full(packed.size_bytes, packed.halo_value, np.int8)
                offset = self.memory.offsets[packed.value]
                self.segments.append(Segment(offset, filled.view(np.uint8)))

    def write(self, placed: Sequence[Placed], progress: Progress) -> Compiled:
        """Append the steps of every group and return the module; raises `_Refused`."""
        layers = [item.layer.name for item in placed if item.layer is not None]
        done = 0
        for item in placed:
            self._add(item)
            if item.layer is not None:
                done += 1
                progress(item.layer.name, done, len(layers))
        return self._finish()

    def _add(self, item: Placed) -> None:
        """Append the steps of one group."""
        if item.layer is not None:
            self._add_layer(item.layer)
        elif is_view(item) and self._root(item.group.nodes[0].inputs[0]) in self.on_device:
            pass  # the same tiles under another shape
        else:
            self._add_on_host(item)

    def _finish(self) -> Compiled:
        """Bring the outputs to the host and return the module."""
        for value in self.graph.outputs:
            self._bring_to_host(value, "")
        self._flush()
        module = Module(
            name=self.graph.name,
            config=self.config,
            inputs=tuple(value.name for value in self.graph.inputs),
            outputs=tuple(value.name for value in self.graph.outputs),
            values=tuple(self.values.values()),
            arena_bytes=self.memory.arena_bytes,
            tensors=tuple(self.memory.tensors),
            segments=tuple(self.segments),
            steps=tuple(self.steps),
            constants=self.constants,
        )
        return Compiled(module, self.graph, tuple(self.layers), self.packed)

    def _add_layer(self, layer: Layer) -> None:
        for value in layer.inputs:
            self._bring_to_device(value, layer.name)
        try:
            self._emit(layer, self.search.choose(layer))
        except (TilingError, ScheduleError) as error:
            raise _Refused(layer.output, str(error)) from None

    def _emit(self, layer: Layer, choice: Choice) -> None:
        places: dict[Tensor, Place] = {}
        for value, tensor in choice.made.images.items():
            around = value is layer.data and layer.halo is not None
            places[tensor] = self._place(value, layer.pads if around else (0, 0, 0, 0))
        if choice.made.added is not None and layer.data is not None:
            places[choice.made.added] = self._place(layer.data)
        for tensor, array in choice.made.arrays.items():
            offset = self.memory.constant(array.nbytes)
            self.segments.append(Segment(offset, array.reshape(-1).view(np.uint8)))
            places[tensor] = Place(offset)
        assert choice.made.out is not None
        places[choice.made.out] = self._place(layer.output)
        if self.queue is None:
            self.queue = CommandQueue(self.config)
        self.queue.mark(layer.name, layer.macs)
        emit(choice.kernel, self.queue, places)
        self.on_device.add(self.packed[layer.output].value)
        self.layers.append(
            LayerInfo(layer.name, layer.kind, "vta", layer.macs, layer.output, choice=choice)
        )

    def _place(self, value: Value, around: Halo = (0, 0, 0, 0)) -> Place:
        """Return where an image lies, with so much of what is around it."""
        packed = self.packed[value]
        byte = self.memory.offsets[packed.value] + packed.inner_byte(around)
        return Place(byte, packed.strides)

    def _add_on_host(self, item: Placed) -> None:
        for value in item.group.inputs:
            self._bring_to_host(value, item.group.layer)
        self._flush()
        for node in item.group.nodes:
            for value in node.inputs:
                if value in self.graph.constants and value.name not in self.constants:
                    self.constants[value.name] = self.graph.constants[value]
            for value in node.outputs:
                self._host_value(value.name, value.dtype.value, value.shape)
                self.on_host.add(value)
            self.steps.append(
                HostStep(
                    node.op.kernel,
                    node.op.attributes(),
                    tuple(value.name for value in node.inputs),
                    tuple(value.name for value in node.outputs),
                    node.layer,
                )
            )
        last = item.group.nodes[-1]
        names = dict.fromkeys(type(node.op).__name__ for node in item.group.nodes)
        self.layers.append(
            LayerInfo(
                item.group.layer,
                next(iter(names)),
                "cpu",
                sum(macs(node) for node in item.group.nodes),
                last.outputs[0],
                item.reason,
            )
        )

    def _bring_to_device(self, value: Value, layer: str) -> None:
        packed = self.packed[value]
        if packed.value in self.on_device:
            return
        self._bring_to_host(value, layer)
        self._flush()
        tiles = self._unused(f"{packed.value.name}.tiles")
        self._host_value(tiles, "int8", packed.shape)
        attributes = {
            "batch": self.config.batch,
            "block": self.config.block_in,
            "halo": packed.halo,
            "value": packed.halo_value,
        }
        self.steps.append(HostStep("pack_tiles", attributes, (value.name,), (tiles,), layer))
        self.steps.append(WriteStep(tiles, packed.value.name))
        self.on_device.add(packed.value)

    def _bring_to_host(self, value: Value, layer: str) -> None:
        if value in self.on_host or value in self.graph.constants:
            if value in self.graph.constants and value.name not in self.constants:
                self.constants[value.name] = self.graph.constants[value]
            return
        packed = self.packed[value]
        self._flush()
        tiles = self._unused(f"{value.name}.read")
        self._host_value(tiles, "int8", packed.shape)
        self._host_value(value.name, value.dtype.value, value.shape)
        self.steps.append(ReadStep(packed.value.name, tiles))
        attributes = {"shape": value.shape, "halo": packed.halo}
        self.steps.append(HostStep("unpack_tiles", attributes, (tiles,), (value.name,), layer))
        self.on_host.add(value)

    def _flush(self) -> None:
        """End the stream that is being written, if there is one."""
        if self.queue is not None:
            self.steps.append(DeviceStep(self.queue.finish()))
            self.queue = None

    def _host_value(self, name: str, dtype: str, shape: tuple[int, ...]) -> None:
        self.values[name] = HostValue(name, dtype, shape)

    def _unused(self, name: str) -> str:
        """Return a name that no value of the graph has."""
        taken = {value.name for value in self.graph.values}
        return next(n for n in (name + "_" * i for i in range(len(taken) + 1)) if n not in taken)

    def _root(self, value: Value) -> Value:
        return self.packed[value].value if value in self.packed else value
