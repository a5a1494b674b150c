"""From a loop program to LLVM IR: one function that any number of threads run together.

    void f(first element of each tensor in DRAM ..., i64 thread, i64 threads)

Threads share the iterations of the outermost parallel loops, each a range of them; a program that
is not all of it such loops is run by the first thread alone.
"""
# pyright: basic
# (llvmlite has no types)

from collections.abc import Mapping, Sequence
from typing import Any

from llvmlite import ir

from ..affine import depends
from ..expr import Axis, BinaryOp, Const, Expr, Read, Tensor
from ..intrinsics import VectorAction
from ..loops import Allocate, Block, Body, Buffer, For, Program, When
from ..schedule import LoopKind, ScheduleError, Scope
from .llvm_dots import ACTIONS
from .llvm_values import I32, I64, POINTER, Values, binary, storage

Strides = tuple[int, ...]

WIDEST = 64
"""Elements of a row of registers that are still one vector."""

STACK_BYTES = 64
"""What a function aligns its stack to. LLVM would spill vectors wherever the stack lies, and those
across two cache lines made a convolution of LeNet-5 twice as slow in some processes."""


def emit(module: Any, name: str, program: Program, strides: Mapping[Tensor, Strides]) -> Any:
    """Add the function of a program to a module of LLVM IR and return it.

    Parameters
    ----------
    module : ir.Module
    name : str
        The function's.
    program : Program
    strides : mapping of Tensor to tuple of int
        Elements from one index to the next along each axis, of tensors that do not lie row by row.

    Raises
    ------
    ScheduleError
        For loops that cannot be what the schedule says: vectors whose length varies.
    """
    kinds = [POINTER] * len(program.tensors) + [I64, I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    function.attributes.alignstack = STACK_BYTES
    for argument in function.args[:-2]:
        argument.add_attribute("noalias")
    writer = Writer(function, Values)
    writer.thread, writer.threads = function.args[-2:]
    for buffer, pointer in zip(program.tensors, function.args, strict=False):
        steps = strides.get(buffer.tensor, dense(buffer.shape))
        writer.values.places[buffer] = pointer, steps
    if _is_shared(program.body):
        writer.body(program.body)
    else:
        with writer.b.if_then(writer.b.icmp_signed("==", writer.thread, I64(0))):
            writer.body(program.body)
    writer.b.ret_void()
    return function


def dense(shape: Sequence[int]) -> Strides:
    """Return the elements from one index to the next where rows follow each other."""
    steps = [1]
    for extent in reversed(shape[1:]):
        steps.append(steps[-1] * extent)
    return tuple(reversed(steps)) if shape else ()


def _is_shared(body: Body) -> bool:
    """Return whether threads share every part of it; what they do not is done by the first."""
    loops = [statement for statement in body if not isinstance(statement, Allocate)]
    return all(isinstance(one, For) and one.kind is LoopKind.PARALLEL for one in loops)


class Writer:
    """Writes a loop program's statements into a function, as one of several threads runs them."""

    actions = ACTIONS

    def __init__(self, function: Any, values: type[Values]) -> None:
        self.function = function
        self.entry = function.append_basic_block("entry")
        self.b = ir.IRBuilder(self.entry)
        self.values = values(self.b)
        self.thread: Any = None
        self.threads: Any = None

    def body(self, body: Body) -> None:
        for statement in body:
            match statement:
                case Allocate(buffer):
                    self.allocate(buffer)
                case For():
                    self.loop(statement)
                case When(condition, inner):
                    self.when(condition, inner)
                case Block():
                    self.block(statement, statement.loops)

    def allocate(self, buffer: Buffer) -> None:
        """Put a buffer on the stack, from where LLVM takes it into registers."""
        size = 1
        for extent in buffer.shape:
            size *= extent
        with self.b.goto_entry_block():
            kind = storage(buffer.element)
            pointer: Any = self.b.alloca(ir.ArrayType(kind, size))
            pointer.align = 64 if size > 1 else 8
            pointer.type = POINTER  # like all others, without the type of what is there
        self.values.places[buffer] = pointer, dense(buffer.shape)

    def loop(self, loop: For) -> None:
        match loop.kind:
            case LoopKind.UNROLLED if isinstance(extent := self.values.index(loop.extent), int):
                for value in range(extent):
                    self.values.env[loop.axis] = value
                    self.body(loop.body)
                self.values.env.pop(loop.axis, None)
            case LoopKind.VECTORIZED:
                self.vector(loop)
            case LoopKind.PARALLEL:
                self.parallel(loop)
            case _:
                self.repeat(I64(0), self.number(loop.extent), loop.axis, loop.body)

    def number(self, expr: Expr) -> Any:
        value = self.values.index(expr)
        return I64(value) if isinstance(value, int) else value

    def vector(self, loop: For) -> None:
        if not isinstance(loop.extent, Const) or self.values.lanes is not None:
            raise ScheduleError(
                f"{loop.axis.name} runs {loop.extent} times and cannot be a vector: its length "
                f"must be known, and no vector be around it"
            )
        self.values.lanes = loop.axis
        self.body(loop.body)
        self.values.lanes = None

    def repeat(self, low: Any, high: Any, axis: Axis, body: Body) -> None:
        """Write a loop from `low` to before `high`."""

        def run(value: Any) -> None:
            self.values.env[axis] = value
            self.body(body)
            del self.values.env[axis]

        self.counted(low, high, run)

    def counted(self, low: Any, high: Any, run: Any) -> None:
        b: Any = self.b
        sure = all(isinstance(end, ir.Constant) for end in (low, high))
        if sure and low.constant >= high.constant:
            return
        before = b.block
        inside, after = b.append_basic_block("loop"), b.append_basic_block("done")
        if sure:
            b.branch(inside)
        else:
            b.cbranch(b.icmp_signed("<", low, high), inside, after)
        b.position_at_end(inside)
        self.values.moved()
        value = b.phi(I64)
        value.add_incoming(low, before)
        run(value)
        following = b.add(value, I64(1), flags=["nsw", "nuw"])
        value.add_incoming(following, b.block)
        b.cbranch(b.icmp_signed("<", following, high), inside, after)
        b.position_at_end(after)
        self.values.moved()

    def parallel(self, loop: For) -> None:
        """Share out the iterations of this loop and the parallel ones directly inside it."""
        loops = [loop]
        while len(loops[-1].body) == 1:
            inner = loops[-1].body[0]
            if not isinstance(inner, For) or inner.kind is not LoopKind.PARALLEL:
                break
            loops.append(inner)
        extents: list[int] = []
        for one in loops:
            if not isinstance(one.extent, Const):
                raise ScheduleError(
                    f"{one.axis.name} runs {one.extent} times and cannot be shared by threads: "
                    f"its length must be known"
                )
            extents.append(one.extent.value)
        total = I64(1)
        for extent in extents:
            total = I64(total.constant * extent)
        b = self.b
        low = b.udiv(b.mul(total, self.thread), self.threads)
        high = b.udiv(b.mul(total, b.add(self.thread, I64(1))), self.threads)

        def run(value: Any) -> None:
            rest = value
            for one, extent in reversed(list(zip(loops, extents, strict=True))):
                if one is loops[0]:
                    self.values.env[one.axis] = rest
                else:
                    self.values.env[one.axis] = b.urem(rest, I64(extent))
                    rest = b.udiv(rest, I64(extent))
            self.body(loops[-1].body)
            for one in loops:
                del self.values.env[one.axis]

        self.counted(low, high, run)

    def when(self, condition: Expr, body: Body) -> None:
        holds = self.values.value(condition)
        if isinstance(holds, ir.Constant):
            if holds.constant:
                self.body(body)
            return
        with self.b.if_then(holds):
            self.values.moved()
            self.body(body)
        self.values.moved()

    def block(self, block: Block, loops: Sequence[tuple[Axis, Expr]]) -> None:
        """Write an assignment inside those of its loops that no instruction runs itself."""
        own = block.match.tile if block.match else ()
        left = [(axis, extent) for axis, extent in loops if axis not in own]
        if len(left) == 1 and self.fits(block, *left[0]):
            self.values.lanes = left[0][0]
            self.assign(block)
            self.values.lanes = None
        elif left:
            (axis, extent), *rest = left

            def run(value: Any) -> None:
                self.values.env[axis] = value
                self.block(block, rest)
                del self.values.env[axis]

            self.counted(I64(0), self.number(extent), run)
        elif block.guard is None:
            self.assign(block)
        else:
            self.guarded(block, block.guard)

    def fits(self, block: Block, axis: Axis, extent: Expr) -> bool:
        """Return whether a loop over a row of registers can be one vector."""
        target = block.target.tensor
        return (
            isinstance(target, Buffer)
            and target.scope is Scope.REGISTERS
            and isinstance(extent, Const)
            and extent.value <= WIDEST
            and block.match is None
            and block.guard is None
            and self.values.lanes is None
            and block.target.indices[-1] == axis
        )

    def guarded(self, block: Block, guard: Expr) -> None:
        lanes = self.values.lanes
        if lanes is not None and depends(guard, [lanes]):
            self.values.lanes = None
            for lane in range(lanes.extent):
                self.values.env[lanes] = lane
                self.guarded(block, guard)
            del self.values.env[lanes]
            self.values.lanes = lanes
            return
        with self.b.if_then(self.values.value(guard)):
            self.values.moved()
            self.assign(block)
        self.values.moved()

    def assign(self, block: Block) -> None:
        if block.match is not None:
            action = block.match.intrinsic.action
            assert isinstance(action, VectorAction), f"{action} is no instruction of a CPU"
            self.actions[action.name](self.values, block.target, block.match)
            return
        value = self.values.value(block.value)
        if block.update is not None:
            value = self.folded(block.update, block.target, value)
        self.values.store(value, block.target)

    def folded(self, op: BinaryOp, target: Read, value: Any) -> Any:
        """Return what `target` holds with a value, or with every lane of it, folded in."""
        values, kind = self.values, target.tensor.element
        lanes = values.lanes
        if lanes is not None and not depends(target, [lanes]):
            held = values.value(target)
            wide = values.wide(value)
            for lane in range(lanes.extent):
                one = self.b.extract_element(wide, I32(lane))
                held = binary(self.b, op, kind, held, one)
            return held
        held = values.value(target)
        if isinstance(held.type, ir.VectorType):
            value = values.wide(value)
        return binary(self.b, op, kind, held, value)
