"""Planning memory: where each tensor and constant lies in the arena."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...isa.config import DRAM_ADDRESS_BITS, Config
from ...runtime.buffers import Heap, Tensor
from ...runtime.stream import alignment
from ..graph import Graph, Value
from .pack import Packed
from .partition import Placed, is_view


@dataclass
class Memory:
    """Offsets of device tensors in the arena, and room for constants behind them.

    `offsets` knows the values that tensors are packed from (`Packed.value`); a tensor's name is
    its value's.
    """

    align: int
    offsets: dict[Value, int]
    tensors: list[Tensor]
    arena_bytes: int

    def constant(self, size_bytes: int) -> int:
        """Return the offset of room for a constant, which nothing else ever uses."""
        offset = self.arena_bytes
        self.arena_bytes += -(-size_bytes // self.align) * self.align
        return offset


def plan_memory(
    placed: Sequence[Placed],
    packed: Mapping[Value, Packed],
    graph: Graph,
    *,
    reuse: bool,
) -> Memory:
    """Give every packed tensor a place; with `reuse`, places serve again when nobody reads them.

    A tensor lives from the group that makes it to the last that reads it; what no group makes is
    brought to the device first of all. Groups that the CPU runs one after the other are one, since
    it may compute them in another order. Tensors with a halo have a place of their own, since the
    halo is written only once, before the first run.
    """
    configs = {item.config for item in packed.values()}
    align = max((alignment(config) for config in configs), default=alignment(Config()))
    first: dict[Packed, int] = {}
    last: dict[Packed, int] = {}
    positions = _positions(placed)
    for value in (*graph.inputs, *graph.constants):
        if value in packed:
            first[packed[value]] = 0
    for position, item in zip(positions, placed, strict=True):
        touched = [*item.inputs, *item.group.outputs]
        for value in touched:
            if value in packed:
                place_of = packed[value].root
                first.setdefault(place_of, position)
                last[place_of] = position
    for value in graph.outputs:
        if value in packed:
            last[packed[value].root] = len(placed) + 1
    heap = Heap(0, 1 << DRAM_ADDRESS_BITS)
    memory = Memory(align, {}, [], 0)

    def place(tensor: Packed) -> None:
        offset = heap.allocate(tensor.size_bytes, align=align)
        memory.offsets[tensor.value] = offset
        memory.tensors.append(Tensor(tensor.value.name, offset, "int8", tensor.shape))

    for tensor in first:
        if any(tensor.halo):
            place(tensor)
    others = [tensor for tensor in first if not any(tensor.halo)]
    for position in range(len(placed) + 1):
        for tensor in (tensor for tensor in others if first[tensor] == position):
            place(tensor)
        for tensor in (tensor for tensor in others if last[tensor] == position):
            if reuse:
                heap.release(memory.offsets[tensor.value])
    for part in dict.fromkeys(packed.values()):
        if part.whole is not None:
            offset = memory.offsets[part.whole.value] + part.whole_byte
            memory.offsets[part.value] = offset
            if not part.is_repeated:  # else its pixels do not lie side by side
                memory.tensors.append(Tensor(part.value.name, offset, "int8", part.shape))
    memory.arena_bytes = -(-heap.high_water // align) * align
    return memory


def _positions(placed: Sequence[Placed]) -> list[int]:
    """Return when each group runs; those on the CPU that follow each other share a position."""
    positions: list[int] = []
    before = 0
    on_cpu = True  # inputs are brought to the device, which the CPU does
    for item in placed:
        if not is_view(item):
            if item.layer is not None or not on_cpu:
                before += 1
            on_cpu = item.layer is None
        positions.append(before)
    return positions
