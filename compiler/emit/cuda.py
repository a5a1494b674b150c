"""From a loop program to LLVM IR for NVIDIA GPUs: a kernel for each statement with a grid.

Loops bound to a grid are blocks of threads, those bound to threads, warps and lanes the threads of
a block; none of them is a loop any more. All threads of a block meet before and after they fill
memory that they share. Statements without a grid that follow each other are one kernel of one
block, whose threads meet where one reads what another wrote.
"""
# pyright: basic
# (llvmlite has no types)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from llvmlite import ir

from ..affine import affine, depends
from ..expr import BYTES, Binary, BinaryOp, Const, Function, Read, Tensor, Type
from ..loops import Allocate, Block, Body, Buffer, For, Program, Statement
from ..schedule import LoopKind, ScheduleError, Scope
from .cuda_blocks import LANES, block_size, fills, is_filling, kernels_of, nest, touched
from .cuda_dots import ACTIONS, FRAGMENT, special
from .llvm import Strides, Writer, dense
from .llvm_values import I32, I64, POINTER, Values, intrinsic, storage

MOST_SHARED = 48 << 10
"""Bytes that the threads of a block can share."""

_ROWS, _COLUMNS = 8, 2
"""From one register of a thread to the next in a fragment's tile."""


@dataclass(frozen=True)
class Launch:
    """A kernel and how it is started: blocks, and threads of each."""

    function: str
    blocks: int
    threads: int


def emit(
    module: Any, name: str, program: Program, strides: Mapping[Tensor, Strides]
) -> list[Launch]:
    """Add a program's kernels to a module; return how they are started, one after the other.

    A kernel's parameters are the first elements of the program's tensors.

    Raises
    ------
    ScheduleError
        For loops that a GPU cannot run: threads of unknown number, too many of them, memory that
        is too large, a loop bound to a CPU's threads.
    """
    return [
        _kernel(module, f"{name}_{number}", program, statements, strides)
        for number, statements in enumerate(kernels_of(program.body))
    ]


def _kernel(
    module: Any,
    name: str,
    program: Program,
    statements: Sequence[Statement],
    strides: Mapping[Tensor, Strides],
) -> Launch:
    kinds = [POINTER] * len(program.tensors)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.calling_convention = "ptx_kernel"
    function.attributes.add("nounwind")
    for argument in function.args:
        argument.add_attribute("noalias")
    writer = _Writer(function, _Values)
    for buffer, pointer in zip(program.tensors, function.args, strict=True):
        steps = strides.get(buffer.tensor, dense(buffer.shape))
        writer.values.places[buffer] = pointer, steps
    writer.size = max(block_size(statement) for statement in statements)
    writer.in_turn(statements)
    writer.b.ret_void()
    if writer.shared_bytes > MOST_SHARED:
        raise ScheduleError(
            f"the threads of a block share {writer.shared_bytes} bytes; {MOST_SHARED} would do"
        )
    notes = module.add_named_metadata("nvvm.annotations")
    notes.add(module.add_metadata([function, "maxntidx", I32(writer.size)]))
    return Launch(name, writer.grid, writer.size)


class _Values(Values):
    library = {  # noqa: RUF012 (never changed)
        Function.ACOS: "__nv_acos",
        Function.ACOSH: "__nv_acosh",
        Function.ASIN: "__nv_asin",
        Function.ASINH: "__nv_asinh",
        Function.ATAN: "__nv_atan",
        Function.ATANH: "__nv_atanh",
        Function.COS: "__nv_cos",
        Function.COSH: "__nv_cosh",
        Function.ERF: "__nv_erf",
        Function.EXP: "__nv_exp",
        Function.LOG: "__nv_log",
        Function.LOG1P: "__nv_log1p",
        Function.POW: "__nv_pow",
        Function.SIN: "__nv_sin",
        Function.SINH: "__nv_sinh",
        Function.TAN: "__nv_tan",
        Function.TANH: "__nv_tanh",
    }

    def pointer(self, read: Read, lanes: Any = None) -> tuple[Any, int | None]:
        """Return where an element is; of a fragment, which of this thread's registers it is."""
        buffer = read.tensor
        if not isinstance(buffer, Buffer) or buffer.scope is not Scope.FRAGMENT:
            return super().pointer(read, lanes)
        *outer, p, o = (self._parts(affine(index)) for index in read.indices)
        number = 0
        for (known, moving), extent in zip(outer, buffer.shape, strict=False):
            assert moving is None, f"{read} moves between the fragments of a thread"
            number = number * extent + known
        columns, rows = buffer.shape[-2:]
        number = number * (columns // 8) + p[0] // 8
        number = number * (rows // 16) + o[0] // 16
        register = o[0] % 16 // _ROWS * 2 + p[0] % _COLUMNS
        base, _ = self.places[buffer]
        at = number * FRAGMENT + register
        return self.builder.gep(base, [I64(at)], source_etype=storage(buffer.element)), 0


class _Writer(Writer):
    actions = ACTIONS
    grid = 1
    size = 1
    shared_bytes = 0
    filling = False

    def in_turn(self, statements: Sequence[Statement]) -> None:
        """Write statements, and let threads meet where one needs another to be done."""
        read: set[Tensor] = set()
        written: set[Tensor] = set()
        for statement in statements:
            inputs, outputs = touched(statement)
            if inputs & written or outputs & (read | written):
                self.meet()
                read, written = set(), set()
            super().body((statement,))
            read |= inputs
            written |= outputs

    def body(self, body: Body) -> None:
        if self.filling:  # by loops of threads, among which some may be idle
            super().body(body)
            return
        for statement in body:
            fills = not isinstance(statement, Allocate) and is_filling(statement)
            if fills is not self.filling and not isinstance(statement, Allocate):
                self.meet()
                self.filling = fills
            super().body((statement,))
        if self.filling:
            self.meet()
            self.filling = False

    def meet(self) -> None:
        """Let all threads of a block wait for each other."""
        name = "llvm.nvvm.barrier.cta.sync.aligned.all"
        kind = ir.FunctionType(ir.VoidType(), [I32])
        module = self.b.module
        callee = module.globals.get(name) or ir.Function(module, kind, name)
        self.b.call(callee, [I32(0)])
        self.values.moved()

    def allocate(self, buffer: Buffer) -> None:
        count = prod(buffer.shape)
        match buffer.scope:
            case Scope.SHARED:
                kind = ir.ArrayType(storage(buffer.element), count)
                name = f"{self.function.name}.{len(self.values.places)}"
                place: Any = ir.GlobalVariable(self.b.module, kind, name, addrspace=3)
                place.linkage = "internal"
                place.align = 16
                place.initializer = ir.Constant(kind, ir.Undefined)
                self.shared_bytes += count * BYTES[buffer.element]
                with self.b.goto_entry_block():
                    pointer = self.b.addrspacecast(place, POINTER)
                self.values.places[buffer] = pointer, dense(buffer.shape)
            case Scope.FRAGMENT:
                kind = ir.ArrayType(storage(buffer.element), count * FRAGMENT // (8 * 16))
                with self.b.goto_entry_block():
                    pointer: Any = self.b.alloca(kind)
                    pointer.align = 16
                    pointer.type = POINTER
                self.values.places[buffer] = pointer, ()
            case _:
                super().allocate(buffer)

    def loop(self, loop: For) -> None:
        match loop.kind:
            case LoopKind.GRID:
                loops = nest(loop)
                self.grid = prod(one.axis.extent for one in loops)
                self.spread(loops, self.widened(special(self.b, "ctaid.x")), self.grid)
            case LoopKind.THREAD:
                self.spread(nest(loop), self.widened(special(self.b, "tid.x")), self.size)
            case LoopKind.WARP:
                warp = self.b.lshr(special(self.b, "tid.x"), I32(5))
                self.spread(nest(loop), self.widened(warp), self.size // LANES)
            case LoopKind.LANE:
                lane = self.b.and_(special(self.b, "tid.x"), I32(LANES - 1))
                self.spread(nest(loop), self.widened(lane), LANES)
            case LoopKind.PARALLEL:
                raise ScheduleError(f"{loop.axis.name} is for a CPU's threads; a GPU has a grid")
            case _:
                super().loop(loop)

    def widened(self, index: Any) -> Any:
        return self.b.zext(index, I64)

    def spread(self, loops: Sequence[For], index: Any, workers: int) -> None:
        """Let each of the workers, numbered by `index`, do its iterations of nested loops."""
        total = prod(one.axis.extent for one in loops)
        if total > workers:
            self.stride(loops, index, workers, total)
        elif total < workers:
            with self.b.if_then(self.b.icmp_unsigned("<", index, I64(total))):
                self.values.moved()
                self.iteration(loops, index)
            self.values.moved()
        else:
            self.iteration(loops, index)

    def stride(self, loops: Sequence[For], index: Any, workers: int, total: int) -> None:
        """Let each worker do every so many of the iterations."""

        def run(number: Any) -> None:
            here = self.b.add(self.b.mul(number, I64(workers)), index)
            with self.b.if_then(self.b.icmp_unsigned("<", here, I64(total))):
                self.values.moved()
                self.iteration(loops, here)
            self.values.moved()

        self.counted(I64(0), I64(-(-total // workers)), run)

    def iteration(self, loops: Sequence[For], number: Any) -> None:
        """Write the body of nested loops once, at the iteration of this number."""
        rest = number
        for one in reversed(loops):
            if one is loops[0]:
                self.values.env[one.axis] = rest
            else:
                self.values.env[one.axis] = self.b.urem(rest, I64(one.axis.extent))
                rest = self.b.udiv(rest, I64(one.axis.extent))
        holds: Any = None
        for one in loops:
            if one.extent != Const(one.axis.extent):
                axis, extent = self.values.env[one.axis], self.number(one.extent)
                inside = self.b.icmp_signed("<", axis, extent)
                holds = inside if holds is None else self.b.and_(holds, inside)
        if holds is None:
            self.body(loops[-1].body)
        else:
            if any(fills(statement) for statement in loops[-1].body):
                raise ScheduleError(f"{loops[0].axis.name} is cut short where threads must meet")
            with self.b.if_then(holds):
                self.values.moved()
                self.body(loops[-1].body)
            self.values.moved()
        for one in loops:
            del self.values.env[one.axis]

    def assign(self, block: Block) -> None:
        if block.match is None and self.is_sum_of_products(block):
            assert isinstance(block.value, Binary)
            operands = [self.values.value(x) for x in (block.value.a, block.value.b, block.target)]
            self.values.store(intrinsic(self.b, "llvm.fma", operands), block.target)
            return
        super().assign(block)

    def is_sum_of_products(self, block: Block) -> bool:
        """Return whether a sum is of products of float32 in memory, which are added unrounded."""
        return (
            block.update is BinaryOp.ADD
            and isinstance(block.value, Binary)
            and block.value.op is BinaryOp.MUL
            and block.value.type is Type.FLOAT32
            and isinstance(block.value.a, Read)
            and isinstance(block.value.b, Read)
            and self.values.lanes is None
        )

    def block(self, block: Block, loops: Any) -> None:
        target = block.target.tensor
        scattered = isinstance(target, Buffer) and target.scope is Scope.FRAGMENT
        if not scattered or block.match is not None:
            super().block(block, loops)
            return
        self.fill(block, list(loops))

    def fill(self, block: Block, loops: list[Any]) -> None:
        """Give every register of a fragment the same value, which depends on no thread."""
        if not loops:
            self.assign(block)
            return
        (axis, extent), *rest = loops
        assert isinstance(extent, Const)
        *_, p, o = block.target.indices
        values = range(extent.value)
        if depends(o, [axis]):
            values = range(0, extent.value, _ROWS)  # what else there is other threads hold
        elif depends(p, [axis]):
            values = range(_COLUMNS)
        for value in values:
            self.values.env[axis] = value
            self.fill(block, rest)
        del self.values.env[axis]
