"""Where a graph's values, scratch and constants lie in memory when its kernels run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...runtime.buffers import Heap
from ...runtime.native.program import NativeArray
from ..expr import BYTES, Tensor
from ..graph import Graph, Value
from .groups import Group, Plan
from .kernels import Kernel
from .operands import Array
from .stored import Stored

ALIGN = 64
ADDRESSES = 1 << 40

Steps = Sequence[tuple[Group, list[Kernel]]]


@dataclass
class Memory:
    """Offsets in the arena, and the constants beside it.

    Attributes
    ----------
    arena_bytes : int
    offsets : dict of Stored to int
        Where each value lies; where nobody reads one any more, another may lie.
    scratch : dict of Tensor to int
        What only one kernel uses.
    constants : bytearray
    """

    arena_bytes: int = 0
    offsets: dict[Stored, int] = field(default_factory=dict[Stored, int])
    scratch: dict[Tensor, int] = field(default_factory=dict[Tensor, int])
    constants: bytearray = field(default_factory=bytearray)
    _placed: dict[bytes, int] = field(default_factory=dict[bytes, int])

    def constant(self, array: Array) -> int:
        """Return the offset of a constant, which those of the same bytes share."""
        data = np.ascontiguousarray(array).tobytes()
        if data not in self._placed:
            self.constants.extend(bytes(-len(self.constants) % ALIGN))
            self._placed[data] = len(self.constants)
            self.constants.extend(data)
        return self._placed[data]

    def place(self, kernel: Kernel, tensor: Tensor) -> int:
        """Return where a kernel's tensor begins: in the arena, or in another device's memory."""
        if tensor in self.scratch:
            return self.scratch[tensor]
        view = kernel.views[tensor]
        place = view.stored.place
        base = self.offsets[view.stored] if place is None else place
        return base + view.begin * BYTES[view.stored.element]

    def array(self, value: Value, stored: Stored) -> NativeArray:
        """Return what a user finds where a value lies."""
        return NativeArray(value.name, value.dtype.value, value.shape, self.offsets[stored])


def outputs(values: Sequence[Value], made: Plan) -> dict[Value, Stored]:
    """Return where each of the values lies row by row, adding copies where it does not yet."""
    found: dict[Value, Stored] = {}
    for value in values:
        known = [s for s in made.stored.get(value, ()) if not s.block]
        if known:
            found[value] = known[0]
            continue
        found[value] = Stored(value)
        made.copy(value, found[value])
    return found


def placed(
    graph: Graph,
    made: Plan,
    steps: Steps,
    results: Mapping[Value, Stored],
    *,
    reused: bool = True,
    shared: bool = False,
) -> Memory:
    """Give every value a place in the arena, if `reused` where others lay that nobody reads.

    After the last one is a vector more: some kernels read beyond an image what they do not use.

    `shared` is whether the arena begins with the address of another device's memory.
    """
    first: dict[Stored, int] = {}
    last: dict[Stored, int] = {}
    for value in graph.inputs:
        first[made.stored[value][0]] = -1
    for position, (_, kernels) in enumerate(steps):
        for kernel in kernels:
            for stored in (view.stored for view in kernel.views.values()):
                if stored.place is None:
                    first.setdefault(stored, position)
                    last[stored] = position
    for stored in results.values():
        first.setdefault(stored, len(steps))
        last[stored] = len(steps)
    for value in graph.inputs:  # they stay what they are, for the next run
        last[made.stored[value][0]] = len(steps)
    heap = Heap(ALIGN if shared else 0, ADDRESSES)
    memory = Memory()
    for position in range(-1, len(steps) + 1):
        for stored in (s for s in first if first[s] == position):
            memory.offsets[stored] = heap.allocate(max(stored.size_bytes, 1), align=ALIGN)
        taken: list[int] = []
        kernels = steps[position][1] if 0 <= position < len(steps) else []
        for tensor in (tensor for kernel in kernels for tensor in kernel.scratch):
            size = BYTES[tensor.element]
            for extent in tensor.shape:
                size *= extent
            memory.scratch[tensor] = heap.allocate(size, align=ALIGN)
            taken.append(memory.scratch[tensor])
        gone = [memory.offsets[stored] for stored in last if last[stored] == position]
        for offset in (*gone, *taken) if reused else ():
            heap.release(offset)
    memory.arena_bytes = -(-heap.high_water // ALIGN) * ALIGN + ALIGN
    return memory
