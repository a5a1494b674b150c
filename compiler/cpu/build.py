"""From a graph to native code for a CPU: groups, kernels, memory, LLVM IR, object code."""
# pyright: basic
# (llvmlite has no types)

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from ...runtime.native.code import BARRIER, NativeCode
from ...runtime.native.jit import Cpu, this_cpu
from ...runtime.native.program import NativeProgram
from ..emit.llvm import emit
from ..emit.llvm_values import I32, I64, POINTER
from ..expr import Tensor
from ..graph import Graph, Value
from .groups import Plan, plan
from .intrinsics import is_signed
from .kernels import Kernel, kernels
from .machine import object_code
from .memory import Memory, Steps, outputs, placed
from .operands import Array
from .stored import Stored

ENTRY = "network"


def build_native(graph: Graph, cpu: Cpu | None = None) -> NativeProgram:
    """Compile a whole graph for a CPU, by default this one.

    Parameters
    ----------
    graph : Graph
        Float or integer; every operator is computed on the CPU.
    cpu : Cpu
    """
    cpu = cpu or this_cpu()
    arrays: dict[Value, Array] = dict(graph.constants)
    made = plan(graph, arrays, signed=is_signed(cpu))
    results = outputs(graph.outputs, made)
    steps = [(group, kernels(group, made, arrays, cpu)) for group in made.groups]
    memory = placed(graph, made, steps, results)
    return write_program(graph, {ENTRY: steps}, made, results, memory, cpu)


def write_program(
    graph: Graph,
    entries: Mapping[str, Steps],
    made: Plan,
    results: Mapping[Value, Stored],
    memory: Memory,
    cpu: Cpu,
    *,
    shared: bool = False,
) -> NativeProgram:
    """Return native code with a function for each of `entries`.

    Parameters
    ----------
    graph : Graph
        Gives the inputs and outputs.
    entries : mapping of str to sequence of (Group, list of Kernel)
    made : Plan
    results : mapping of Value to Stored
        Where each output lies.
    memory : Memory
        Where all else lies.
    cpu : Cpu
    shared : bool
        Whether the arena begins with the address of another device's memory.
    """
    writer = _Writer(memory, ir.Module("network"), shared)
    for name, steps in entries.items():
        writer.entry(name, steps)
    code = NativeCode(
        object_code(writer.module, cpu),
        cpu.triple,
        cpu.name,
        cpu.features,
        tuple(entries),
        tuple(tuple(group.layer for group, _ in steps) for steps in entries.values()),
    )
    return NativeProgram(
        graph.name,
        code,
        memory.arena_bytes,
        bytes(memory.constants),
        tuple(memory.array(value, made.stored[value][0]) for value in graph.inputs),
        tuple(memory.array(value, results[value]) for value in graph.outputs),
        shared,
    )


@dataclass
class _Writer:
    memory: Memory
    module: Any
    shared: bool
    functions: dict[object, Any] = field(default_factory=dict[object, Any])

    def entry(self, name: str, steps: Steps) -> None:
        """Write a function that calls every kernel, all threads meeting after each group."""
        kinds = [POINTER, POINTER, POINTER, POINTER, I32, I32]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), kinds), name)
        barrier = self.module.globals.get(BARRIER) or ir.Function(
            self.module, ir.FunctionType(ir.VoidType(), [POINTER]), BARRIER
        )
        arena, constants, times, team, thread, threads = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))
        device = b.load(arena, align=8, typ=POINTER) if self.shared else None
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
                    self._pointer(b, kernel, buffer.tensor, arena, constants, device)
                    for buffer in kernel.program.tensors
                ]
                b.call(self._function(kernel), [*pointers, me, all_])
            with b.if_then(many):
                b.call(barrier, [team])
            note(position + 1)
        b.ret_void()

    def _timed(self, b: Any, times: Any) -> Any:
        return b.icmp_unsigned("!=", b.ptrtoint(times, I64), I64(0))

    def _pointer(
        self, b: Any, kernel: Kernel, tensor: Tensor, arena: Any, constants: Any, device: Any
    ) -> Any:
        view = kernel.views.get(tensor)
        if tensor in kernel.arrays:
            base, offset = constants, self.memory.constant(kernel.arrays[tensor])
        else:
            on_device = view is not None and view.stored.place is not None
            base, offset = device if on_device else arena, self.memory.place(kernel, tensor)
        return b.gep(base, [I64(offset)], source_etype=ir.IntType(8))

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
