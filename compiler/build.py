"""The way from a graph to a module: unfold, fuse, partition, pack, plan, choose schedules, emit."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np

from ..isa.config import Config
from ..runtime.buffers import Segment
from ..runtime.module import DeviceStep, Module, Step
from ..runtime.native.jit import Cpu, this_cpu
from ..runtime.queue import CommandQueue
from ..runtime.stream import Stream
from .cpu.stored import Stored
from .emit.vta import Place, emit
from .expr import Tensor
from .graph import Graph, GraphError, Node, Value
from .host import host_program
from .layers import macs
from .passes.pack import Halo, Packed, is_joined, is_spread, pack
from .passes.partition import Placed, is_view, partition
from .passes.plan import Memory, plan_memory
from .passes.sequence import sequence
from .passes.unfold import unfold
from .schedule import ScheduleError
from .vta.floor import floor_cycles
from .vta.layer import Layer
from .vta.search import Choice, Search
from .vta.tiling import TilingError

Progress = Callable[[str, int, int], None]
"""Called with a layer's name, how many layers are done and how many there are."""


@dataclass(frozen=True, eq=False)
class LayerInfo:
    """What a report says of a layer besides what it cost.

    `device` is "vta" or "cpu"; `reason` says why the CPU; `choice` is the schedule on VTA. `value`
    is the layer's result in the integer graph. `floor` counts the cycles that no schedule on VTA
    goes below (`floor_cycles`), 0 for the CPU.
    """

    name: str
    kind: str
    device: str
    macs: int
    value: Value
    reason: str = ""
    floor: int = 0
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
    unfolded: bool = True,
    on_cpu: Collection[str] = (),
    cpu_macs: float | None = None,
    progress: Progress | None = None,
    cpu: Cpu | None = None,
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
    unfolded : bool
        Let the host lay windows out as channels, where that saves cycles (`passes.unfold`).
    on_cpu : collection of str
        Layers, by name, that run on the CPU though VTA could.
    cpu_macs : float
        Multiply-accumulates that the CPU beside VTA does in a cycle of VTA: layers that would
        take VTA longer run there. By default whatever VTA can run runs on it.
    progress : Progress
        Told after each layer.
    cpu : Cpu
        The host's, by default this one.

    Raises
    ------
    GraphError
        When there is no layer of a name in `on_cpu`.
    """
    _check_names(graph, on_cpu)
    graph = unfold(graph, config) if unfolded else graph
    search = Search(config, measured if cpu_macs is None else max(measured, 2))
    refused = {
        value: "as asked" for node in graph.nodes if node.layer in on_cpu for value in node.outputs
    }
    while True:
        placed = sequence(partition(graph, config, refused), graph)
        packed = pack(placed, config, graph)
        memory = plan_memory(placed, packed, graph, reuse=not keep)
        writer = _Writer(graph, config, packed, memory, search, cpu or this_cpu(), cpu_macs)
        try:
            return writer.write(placed, progress or (lambda layer, done, total: None))
        except _Refused as layer:  # it runs on the CPU: what was planned around it changes
            refused[layer.output] = str(layer)


def _check_names(graph: Graph, layers: Collection[str]) -> None:
    known = dict.fromkeys(node.layer for node in graph.nodes)
    for name in layers:
        if name not in known:
            near = get_close_matches(name, known, 3) or list(known)[:3]
            raise GraphError(f"there is no layer {name}; {graph.name} has {', '.join(near)}, ...")


class _Refused(Exception):
    """The layer that makes `output` is not for VTA, which is found late; says why."""

    def __init__(self, output: Value, reason: str) -> None:
        super().__init__(reason)
        self.output = output


@dataclass
class _Writer:
    """Collects the streams of a module, and what runs between them, in the order of its groups.

    The host has a run before each stream and one after the last.
    """

    graph: Graph
    config: Config
    packed: dict[Value, Packed]
    memory: Memory
    search: Search
    cpu: Cpu
    cpu_macs: float | None
    streams: list[Stream] = field(default_factory=list[Stream])
    runs: list[list[Node]] = field(default_factory=lambda: [[]])
    segments: list[Segment] = field(default_factory=list[Segment])
    layers: list[LayerInfo] = field(default_factory=list[LayerInfo])
    queue: CommandQueue | None = None

    def __post_init__(self) -> None:
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
        elif is_view(item) and item.group.nodes[0].output in self.packed:
            pass  # the same tiles under another shape
        elif is_joined(item, self.packed) or is_spread(item, self.packed):
            pass  # its parts are there already
        else:
            self._add_on_host(item)

    def _finish(self) -> Compiled:
        """Compile what the host runs and return the module."""
        self._flush()
        tiles = {value: self._tiles(value) for value in self.packed}
        host, host_steps = host_program(self.graph, self.runs, tiles, self.cpu)
        steps: list[Step] = []
        for number, step in enumerate(host_steps):
            if step is not None:
                steps.append(step)
            steps += map(DeviceStep, self.streams[number : number + 1])
        module = Module(
            name=self.graph.name,
            config=self.config,
            host=host,
            arena_bytes=self.memory.arena_bytes,
            tensors=tuple(self.memory.tensors),
            segments=tuple(self.segments),
            steps=tuple(steps),
        )
        return Compiled(module, self.graph, tuple(self.layers), self.packed)

    def _add_layer(self, layer: Layer) -> None:
        try:
            choice = self.search.choose(layer)
            self._weigh(layer, choice.cycles)
            self._emit(layer, choice)
        except (TilingError, ScheduleError) as error:
            raise _Refused(layer.output, str(error)) from None

    def _weigh(self, layer: Layer, cycles: int | None) -> None:
        """Refuse a layer that the CPU is done with sooner."""
        if self.cpu_macs is None or cycles is None:
            return
        there = sum(max(macs(node), node.output.size) for node in layer.group.nodes) / self.cpu_macs
        if there < cycles:
            raise _Refused(
                layer.output,
                f"VTA takes {cycles:,} cycles, the CPU as long as {there:,.0f} of them at "
                f"{self.cpu_macs:g} MACs each",
            )

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
        places[choice.made.out] = out = self._place(layer.output)
        if self.queue is None:
            self.queue = CommandQueue(self.config)
        self.queue.mark(layer.name, layer.macs)
        emit(choice.kernel, self.queue, places)
        self.layers.append(
            LayerInfo(
                layer.name,
                layer.kind,
                "vta",
                layer.macs,
                layer.output,
                floor=floor_cycles(layer, choice.made, self.config, len(out.copies)),
                choice=choice,
            )
        )

    def _place(self, value: Value, around: Halo = (0, 0, 0, 0)) -> Place:
        """Return where an image lies, with so much of what is around it."""
        packed = self.packed[value]
        byte = self.memory.offsets[packed.value] + packed.inner_byte(around)
        return Place(byte, packed.strides, packed.copies)

    def _add_on_host(self, item: Placed) -> None:
        self._flush()
        self.runs[-1].extend(item.group.nodes)
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

    def _flush(self) -> None:
        """End the stream that is being written, if there is one."""
        if self.queue is not None:
            self.streams.append(self.queue.finish())
            self.runs.append([])
            self.queue = None

    def _tiles(self, value: Value) -> Stored:
        """Return the form in which a value lies in device memory."""
        packed, config = self.packed[value], self.config
        offset = self.memory.offsets[packed.value]
        return Stored(
            value, config.block_in, packed.halo, packed.halo_value, True, config.batch, offset
        )
