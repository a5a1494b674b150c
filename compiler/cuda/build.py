"""From a graph to PTX: groups, kernels, memory, LLVM IR, assembly for a GPU."""
# pyright: basic
# (llvmlite has no types)

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ...runtime.cuda.program import CudaProgram, Filling, Launch, Place
from ..cpu.groups import plan
from ..cpu.kernels import Kernel
from ..cpu.memory import Memory, outputs, placed
from ..cpu.operands import Array
from ..cpu.stored import Stored
from ..emit.cuda import Launch as Started
from ..emit.cuda import emit
from ..graph import Graph, Value
from .kernels import kernel
from .machine import DEFAULT, assembly


def build_cuda(graph: Graph, architecture: str = DEFAULT) -> CudaProgram:
    """Compile a whole graph for NVIDIA GPUs.

    Parameters
    ----------
    graph : Graph
        Float or integer; every operator is computed on the GPU.
    architecture : str
        The oldest that it has to run on, such as `sm_80`.
    """
    made = planned(graph)
    module = ir.Module("network")
    functions: dict[object, list[Started]] = {}
    launches: list[Launch] = []
    layers: list[str] = []
    for layer, kernel_ in made.steps:
        for started in _functions(module, kernel_, functions):
            pointers = tuple(made.place(kernel_, b.tensor) for b in kernel_.program.tensors)
            launches.append(Launch(started.function, started.blocks, started.threads, pointers))
            layers.append(layer)
    memory = made.memory
    return CudaProgram(
        graph.name,
        architecture,
        assembly(module, architecture),
        tuple(launches),
        tuple(layers),
        memory.arena_bytes + SLACK,
        bytes(memory.constants),
        made.fillings,
        tuple(memory.array(value, made.inputs[value]) for value in graph.inputs),
        tuple(memory.array(value, made.outputs[value]) for value in graph.outputs),
    )


SLACK = 4096
"""Bytes after the last array, which a row of pixels may read and not use."""


@dataclass
class Planned:
    """A graph's kernels with the layer of each, and where everything lies."""

    steps: list[tuple[str, Kernel]]
    memory: Memory
    inputs: dict[Value, Stored]
    outputs: dict[Value, Stored]

    def place(self, kernel_: Kernel, tensor: Any) -> Place:
        """Return where a kernel's tensor begins."""
        if tensor in kernel_.arrays:
            return Place(True, self.memory.constant(kernel_.arrays[tensor]))
        return Place(False, self.memory.place(kernel_, tensor))

    @property
    def fillings(self) -> tuple[Filling, ...]:
        """What lies around images; it is written once, as nothing else ever lies there."""
        found: list[Filling] = []
        for stored, offset in self.memory.offsets.items():
            if any(stored.halo):
                dtype = stored.value.dtype.value
                found.append(Filling(dtype, stored.shape, offset, stored.fill))
        return tuple(found)


def planned(graph: Graph) -> Planned:
    """Return what a GPU does for a graph, before it is code."""
    arrays: dict[Value, Array] = dict(graph.constants)
    made = plan(graph, arrays, signed=True)
    results = outputs(graph.outputs, made)
    steps = [(group, [kernel(group, made, arrays)]) for group in made.groups]
    memory = placed(graph, made, steps, results, reused=False)
    named = [(group.layer, one) for group, found in steps for one in found]
    return Planned(named, memory, {v: made.stored[v][0] for v in graph.inputs}, results)


def _functions(module: Any, kernel_: Kernel, known: dict[object, list[Started]]) -> list[Started]:
    """Return the functions of a kernel; kernels that do the same share them."""
    strides = {tensor: view.strides for tensor, view in kernel_.views.items()}
    tensors = kernel_.program.tensors
    key = str(kernel_.program), tuple(strides.get(buffer.tensor) for buffer in tensors)
    if key not in known:
        known[key] = emit(module, f"kernel{len(known)}", kernel_.program, strides)
    return known[key]
