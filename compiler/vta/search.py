"""The best tiling of a layer: many by estimate, the best few by the cycle model itself."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ...isa.config import PAGE_BYTES, Config
from ...runtime.queue import CommandQueue
from ...runtime.stream import alignment
from ...sim.machine import Machine
from ..emit.vta import Place, emit
from ..expr import Tensor
from ..kernel import Kernel, build
from ..schedule import ScheduleError
from .layer import Layer
from .template import Expressions, express, plan
from .tiling import Tiling, TilingError, Workload, candidates

_MOST_TRIED = 60


@dataclass(frozen=True, eq=False)
class Choice:
    """A layer's expressions, the tiling chosen for them and the kernel that it makes.

    `cycles` is what the cycle model counts for the layer alone; None where it was not asked.
    """

    made: Expressions
    tiling: Tiling
    kernel: Kernel
    cycles: int | None


@dataclass
class Search:
    """Chooses tilings for the layers of a network; layers of one shape are searched once.

    Parameters
    ----------
    config : Config
    measured : int
        How many of the tilings with the best estimates the cycle model runs; with 1 the estimate
        decides alone.
    """

    config: Config
    measured: int = 6
    _known: dict[tuple[Workload, tuple[int, ...], bool], tuple[Tiling, int | None]] = field(
        default_factory=dict[tuple[Workload, tuple[int, ...], bool], tuple[Tiling, int | None]]
    )

    def choose(self, layer: Layer) -> Choice:
        """Return the tiling that takes the fewest cycles.

        Raises
        ------
        TilingError
            When none fits the buffers, naming what is too small.
        """
        work = layer.workload(self.config)
        key = (work, layer.pads, layer.halo is not None)
        if key in self._known:
            tiling, cycles = self._known[key]
            made = express(layer, self.config)
            try:
                return Choice(
                    made,
                    tiling,
                    build(plan(made, tiling, self.config.acc_banks), self.config),
                    cycles,
                )
            except ScheduleError:
                pass  # its element-wise steps are others, and need other tilings
        choice = self._search(layer, work)
        self._known[key] = (choice.tiling, choice.cycles)
        return choice

    def _kernel(self, made: Expressions, tiling: Tiling) -> Kernel:
        return build(plan(made, tiling, self.config.acc_banks), self.config)

    def _search(self, layer: Layer, work: Workload) -> Choice:
        ranked = candidates(work, self.config)
        best: Choice | None = None
        tried = measured = 0
        last = -1
        refusal = ""
        for index in _order(len(ranked)):
            if measured >= self.measured or (best is not None and tried >= _MOST_TRIED):
                break
            if best is not None and ranked.cycles[index] == last:
                continue  # one of those whose estimates are equal
            tried += 1
            made = express(layer, self.config)
            try:
                kernel = self._kernel(made, ranked[index])
                if self.measured <= 1:
                    return Choice(made, ranked[index], kernel, None)
                cycles = measure(kernel, made, self.config)
            except ScheduleError as error:
                refusal = str(error)
                continue
            last = ranked.cycles[index]
            measured += 1
            if best is None or best.cycles is None or cycles < best.cycles:
                best = Choice(made, ranked[index], kernel, cycles)
        if best is None:
            raise TilingError(f"none of {tried} tilings of {layer.name} could be built: {refusal}")
        return best


def _order(count: int) -> Iterator[int]:
    """Yield the best estimates, then, should none of them build, some of all the rest."""
    yield from range(min(count, _MOST_TRIED))
    yield from range(_MOST_TRIED, count, max(1, count // _MOST_TRIED))


def measure(kernel: Kernel, made: Expressions, config: Config) -> int:
    """Return the cycles of a kernel by itself, on memory full of zeros."""
    align = alignment(config)
    places: dict[Tensor, Place] = {}
    offset = 0
    for tensor in kernel.tensors:
        places[tensor] = Place(offset)
        size = int(np.prod(tensor.shape)) * tensor_bytes(tensor)
        offset += -(-size // align) * align
    queue = CommandQueue(config)
    emit(kernel, queue, places)
    stream = queue.finish()
    uops = align + offset
    size = ((uops + stream.uops.size) // PAGE_BYTES + 1) * PAGE_BYTES
    machine = Machine(config, dram_bytes=size)
    machine.dram[uops : uops + stream.uops.size] = stream.uops
    cycles = machine.run(stream.relocate(align, uops)).cycles
    assert cycles is not None
    return cycles


def tensor_bytes(tensor: Tensor) -> int:
    """Return the bytes of one element of a tensor in DRAM."""
    return np.dtype(tensor.element.value).itemsize
