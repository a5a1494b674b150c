"""From a graph to native code for a CPU: groups, kernels, memory, LLVM IR, object code."""
# pyright: basic
# (llvmlite has no types)

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from llvmlite import ir

from ...runtime.buffers import Heap
from ...runtime.native.code import BARRIER, NativeCode
from ...runtime.native.jit import Cpu, this_cpu
from ...runtime.native.program import NativeArray, NativeProgram
from ..emit.llvm import emit
from ..emit.llvm_values import BYTES, I32, I64, POINTER
from ..expr import Tensor
from ..graph import Graph, Value
from .groups import Group, Plan, plan
from .kernels import Kernel, kernels
from .machine import object_code
from .operands import Array
from .stored import Stored

ENTRY = "network"
ALIGN = 64
ADDRESSES = 1 << 40


def build_native(graph: Graph, cpu: Cpu | None = None) -> NativeProgram:
    """Compile a whole graph for a CPU, by default this one.

    Parameters
    ----------
    graph : Graph
        Float or integer; every operator is computed on the CPU.
    cpu : Cpu
    """
    return _Writer(graph, cpu or this_cpu()).write()


@dataclass
class _Writer:
    graph: Graph
    cpu: Cpu
    module: Any = None
    constants: bytearray = field(default_factory=bytearray)
    placed: dict[bytes, int] = field(default_factory=dict[bytes, int])
    functions: dict[object, Any] = field(default_factory=dict[object, Any])
    offsets: dict[Stored, int] = field(default_factory=dict[Stored, int])

    def write(self) -> NativeProgram:
        graph = self.graph
        arrays: dict[Value, Array] = dict(graph.constants)
        made = plan(graph, arrays)
        extra = self._outputs(made)
        steps = [(group, kernels(group, made, arrays, self.cpu)) for group in made.groups]
        arena = self._plan(made, steps, extra)
        self.module = ir.Module("network")
        self._entry(steps)
        code = NativeCode(
            object_code(self.module, self.cpu),
            self.cpu.triple,
            self.cpu.name,
            self.cpu.features,
            (ENTRY,),
            (tuple(group.layer for group, _ in steps),),
        )
        return NativeProgram(
            graph.name,
            code,
            ENTRY,
            arena,
            bytes(self.constants),
            tuple(self._array(value, made.stored[value][0]) for value in graph.inputs),
            tuple(self._array(value, extra[value]) for value in graph.outputs),
        )

    def _outputs(self, made: Plan) -> dict[Value, Stored]:
        """Return where each output lies row by row, copies made where it does not yet."""
        found: dict[Value, Stored] = {}
        for value in self.graph.outputs:
            known = [s for s in made.stored.get(value, ()) if not s.block]
            if known:
                found[value] = known[0]
                continue
            copy = Stored(value)
            source = made.stored.setdefault(value, [])
            made.groups.append(Group([], source[0] if source else Stored(value), [copy]))
            source.append(copy)
            found[value] = copy
        return found

    def _array(self, value: Value, stored: Stored) -> NativeArray:
        return NativeArray(value.name, value.dtype.value, value.shape, self.offsets[stored])

    def _plan(
        self,
        made: Plan,
        steps: Sequence[tuple[Group, list[Kernel]]],
        outputs: dict[Value, Stored],
    ) -> int:
        """Give every value a place in the arena, where others may lie when nobody reads it."""
        first: dict[Stored, int] = {}
        last: dict[Stored, int] = {}
        for value in self.graph.inputs:
            first[made.stored[value][0]] = -1
            last[made.stored[value][0]] = -1
        self._scratch: dict[Tensor, Stored] = {}
        for position, (_, found) in enumerate(steps):
            for kernel in found:
                for view in kernel.views.values():
                    first.setdefault(view.stored, position)
                    last[view.stored] = position
        for stored in outputs.values():
            first.setdefault(stored, len(steps))
            last[stored] = len(steps)
        for value in self.graph.inputs:  # they stay what they are, for the next run
            last[made.stored[value][0]] = len(steps)
        heap = Heap(0, ADDRESSES)
        self.scratch: dict[Tensor, int] = {}
        for position in range(-1, len(steps) + 1):
            for stored in (s for s in first if first[s] == position):
                self.offsets[stored] = heap.allocate(max(stored.size_bytes, 1), align=ALIGN)
            taken: list[int] = []
            if 0 <= position < len(steps):
                for kernel in steps[position][1]:
                    for tensor in kernel.scratch:
                        size = BYTES[tensor.element]
                        for extent in tensor.shape:
                            size *= extent
                        self.scratch[tensor] = heap.allocate(size, align=ALIGN)
                        taken.append(self.scratch[tensor])
            for stored in (s for s in last if last[s] == position):
                heap.release(self.offsets[stored])
            for offset in taken:
                heap.release(offset)
        return -(-heap.high_water // ALIGN) * ALIGN

    def _constant(self, array: Array) -> int:
        """Return the offset of a constant, which those of the same bytes share."""
        data = np.ascontiguousarray(array).tobytes()
        if data not in self.placed:
            self.constants.extend(bytes(-len(self.constants) % ALIGN))
            self.placed[data] = len(self.constants)
            self.constants.extend(data)
        return self.placed[data]

    def _entry(self, steps: Sequence[tuple[Group, list[Kernel]]]) -> None:
        """Write the function that calls every kernel, all threads meeting after each group."""
        kinds = [POINTER, POINTER, POINTER, POINTER, I32, I32]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), kinds), ENTRY)
        barrier = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER]), BARRIER)
        arena, constants, times, team, thread, threads = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        many = b.icmp_unsigned(">", threads, I32(1))
        me, all_ = b.sext(thread, I64), b.sext(threads, I64)
        clock = self.module.declare_intrinsic("llvm.readcyclecounter", (), ir.FunctionType(I64, ()))

        def note(place: int) -> None:
            with b.if_then(b.and_(b.icmp_signed("==", thread, I32(0)), self._timed(b, times))):
                where = b.gep(times, [I64(place)], source_etype=I64)
                b.store(b.call(clock, ()), where, align=8)

        note(0)
        for position, (_, found) in enumerate(steps):
            for kernel in found:
                pointers = [
                    self._pointer(b, kernel, buffer.tensor, arena, constants)
                    for buffer in kernel.program.tensors
                ]
                b.call(self._function(kernel), [*pointers, me, all_])
            with b.if_then(many):
                b.call(barrier, [team])
            note(position + 1)
        b.ret_void()

    def _timed(self, b: Any, times: Any) -> Any:
        return b.icmp_unsigned("!=", b.ptrtoint(times, I64), I64(0))

    def _pointer(self, b: Any, kernel: Kernel, tensor: Tensor, arena: Any, constants: Any) -> Any:
        if tensor in kernel.arrays:
            return b.gep(constants, [I64(self._constant(kernel.arrays[tensor]))],
                         source_etype=ir.IntType(8))  # fmt: skip
        if tensor in self.scratch:
            offset = self.scratch[tensor]
        else:
            view = kernel.views[tensor]
            offset = self.offsets[view.stored] + view.begin * BYTES[view.stored.element]
        return b.gep(arena, [I64(offset)], source_etype=ir.IntType(8))

    def _function(self, kernel: Kernel) -> Any:
        """Return the function of a kernel; those that do the same share one."""
        strides = {tensor: view.strides for tensor, view in kernel.views.items()}
        key = (
            str(kernel.program),
            tuple(strides.get(buffer.tensor) for buffer in kernel.program.tensors),
        )
        if key not in self.functions:
            name = f"kernel{len(self.functions)}"
            self.functions[key] = emit(self.module, name, kernel.program, strides)
        return self.functions[key]
