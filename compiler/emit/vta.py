"""A kernel to instructions: outer loops run through, ragged tiles cut, each block one call.

Only whole instructions are walked in Python, never tiles or micro-ops: what a block's loops do
goes to the command queue as a nest or a box, which makes micro-ops, rows and tokens of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from operator import mul
from typing import TypeAlias

from ...isa.instructions import Memory
from ...runtime.kernel import Axis as NestAxis
from ...runtime.kernel import Nest
from ...runtime.queue import CommandQueue
from ...runtime.transfer import Dim
from ..evaluate import DTYPES
from ..expr import Axis, Tensor
from ..intrinsics import AluAction, GemmAction, LoadAction, StoreAction, VectorAction
from ..kernel import Kernel
from ..loops import Allocate, Block, Body, Buffer, For, When
from ..schedule import ScheduleError
from .box import Box, boxes, inside, load_box
from .plan import Access, Env, Number, Plan, number, plan

Run: TypeAlias = Callable[[], None]


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in DRAM.

    Parameters
    ----------
    byte : int
        Of its first element, counted from the beginning of the arena.
    strides : tuple of int or None
        Tiles from one index to the next along each axis but the tile's own two; None if it lies
        there without gaps. So a tensor can be the inside of a larger, padded one.
    copies : tuple of int
        Of a tensor that is written: each of its tiles goes to these bytes from its place.
    """

    byte: int
    strides: tuple[int, ...] | None = None
    copies: tuple[int, ...] = (0,)


def emit(kernel: Kernel, queue: CommandQueue, places: Mapping[Tensor, Place]) -> None:
    """Give the queue all instructions of a kernel, in program order.

    Raises
    ------
    ScheduleError
        When a tensor of `kernel.tensors` has no place, or more zeros are to be written around a
        tile than a load can.
    """
    emitter = _Emitter(kernel, queue, places)
    for run in emitter.compiled(kernel.program.body):
        run()


class _Emitter:
    """The loops' values, and where each buffer is now.

    `base` has the first tile of each buffer, or first byte in DRAM; `strides` what is added to it
    from one index to the next along each axis outside the tile.
    """

    def __init__(self, kernel: Kernel, queue: CommandQueue, places: Mapping[Tensor, Place]) -> None:
        self.kernel = kernel
        self.queue = queue
        self.env: Env = {}
        self.base: dict[Buffer, int] = {}
        self.strides: dict[Buffer, tuple[int, ...]] = {}
        self.copies: dict[Buffer, tuple[int, ...]] = {}
        self.steps: dict[tuple[Access, tuple[int, ...]], list[int]] = {}
        for buffer in kernel.program.tensors:
            self._place(buffer, places)

    def _place(self, buffer: Buffer, places: Mapping[Tensor, Place]) -> None:
        tensor = buffer.tensor
        if tensor not in places:
            raise ScheduleError(f"{tensor.name} has no place in DRAM; give it one to emit it")
        place = places[tensor]
        strides = _dense(tensor.shape[:-2]) if place.strides is None else place.strides
        if len(strides) != len(tensor.shape) - 2:
            raise ScheduleError(
                f"{tensor.name} has {len(tensor.shape) - 2} axes of tiles and is placed with "
                f"{len(strides)} strides"
            )
        tile_bytes = prod(tensor.shape[-2:]) * DTYPES[tensor.element].itemsize
        self.base[buffer] = place.byte
        self.strides[buffer] = tuple(stride * tile_bytes for stride in strides)
        self.copies[buffer] = place.copies

    def compiled(self, body: Body) -> list[Run]:
        """Return one function for each statement, to be called in order."""
        runs: list[Run] = []
        for statement in body:
            match statement:
                case Block():
                    runs.append(self._block(plan(statement)))
                case For(axis, extent, _, inner):
                    runs.append(partial(self._loop, axis, number(extent), self.compiled(inner)))
                case When(condition, inner):
                    runs.append(partial(self._when, number(condition), self.compiled(inner)))
                case Allocate(buffer):
                    runs.append(self._allocate(buffer))
        return runs

    def _loop(self, axis: Axis, extent: Number, inner: Sequence[Run]) -> None:
        env = self.env
        for value in range(extent(env)):
            env[axis] = value
            for run in inner:
                run()

    def _when(self, condition: Number, inner: Sequence[Run]) -> None:
        if condition(self.env):
            for run in inner:
                run()

    def _allocate(self, buffer: Buffer) -> Run:
        counts = [number(count) for count in buffer.counts[:-2]]
        places = self.kernel.places[buffer].turns
        turn = 0

        def run() -> None:
            nonlocal turn
            self.base[buffer] = places[turn]
            self.strides[buffer] = _dense([count(self.env) for count in counts])
            turn = (turn + 1) % len(places)

        return run

    def _block(self, plan: Plan) -> Run:
        match plan.match.intrinsic.action:
            case GemmAction(reset):
                return partial(self._gemm, plan, reset)
            case AluAction():
                return partial(self._alu, plan)
            case LoadAction(memory):
                return partial(self._load, plan, memory)
            case StoreAction():
                return partial(self._store, plan)
            case VectorAction(name):
                raise ScheduleError(f"{name} is an instruction of CPUs; VTA has none of that name")

    def _gemm(self, plan: Plan, reset: bool) -> None:
        extents = [extent(self.env) for extent in plan.extents]
        for box in boxes(Box.whole(extents), plan.limits, self.env):
            dst, dst_steps = self._moves(plan.target)
            dst += box.offset(dst_steps)
            if reset:
                axes = tuple(map(NestAxis, box.extents, dst_steps))
                self.queue.gemm(Nest(axes, dst), reset=True)
            else:
                inp, inp_steps = self._moves(plan.operands[0])
                wgt, wgt_steps = self._moves(plan.operands[1])
                axes = tuple(map(NestAxis, box.extents, dst_steps, inp_steps, wgt_steps))
                inp += box.offset(inp_steps)
                wgt += box.offset(wgt_steps)
                self.queue.gemm(Nest(axes, dst, inp, wgt))

    def _alu(self, plan: Plan) -> None:
        action = plan.match.intrinsic.action
        assert isinstance(action, AluAction)
        extents = [extent(self.env) for extent in plan.extents]
        for box in boxes(Box.whole(extents), plan.limits, self.env):
            dst, dst_steps = self._moves(plan.target)
            dst += box.offset(dst_steps)
            if action.immediate:
                axes = tuple(map(NestAxis, box.extents, dst_steps))
                self.queue.alu(Nest(axes, dst), action.op, plan.match.immediate)
            else:
                src, src_steps = self._moves(plan.operands[0])
                src += box.offset(src_steps)
                if self.kernel.places[plan.operands[0].buffer].banks > 1:  # take that of dst's bank
                    src += dst - dst % self.kernel.config.acc_depth
                axes = tuple(map(NestAxis, box.extents, dst_steps, src_steps))
                self.queue.alu(Nest(axes, dst, src), action.op)

    def _load(self, plan: Plan, memory: Memory) -> None:
        extents = [extent(self.env) for extent in plan.extents]
        if not all(extent > 0 for extent in extents):
            return
        first, sram_steps = self._moves(plan.target)
        dram, dram_steps = self._moves(plan.operands[0])
        for bank in range(self.kernel.places[plan.target.buffer].banks):
            sram = first + bank * self.kernel.config.acc_depth
            if not plan.limits:
                dims = [Dim(*dim) for dim in zip(extents, dram_steps, sram_steps, strict=True)]
                dims.sort(key=_sram_step)
                self.queue.load_nd(memory, sram, dram, dims)
                continue
            box = inside(Box.whole(extents), plan, self.env)
            moves = (sram, sram_steps), (dram, dram_steps)
            load_box(self.queue, memory, plan, box, *moves, extents)

    def _store(self, plan: Plan) -> None:
        extents = [extent(self.env) for extent in plan.extents]
        if all(extent > 0 for extent in extents):
            sram, sram_steps = self._moves(plan.operands[0])
            dram, dram_steps = self._moves(plan.target)
            dims = [Dim(*dim) for dim in zip(extents, dram_steps, sram_steps, strict=True)]
            dims.sort(key=_sram_step)
            for copy in self.copies[plan.target.buffer]:
                self.queue.store_nd(sram, dram + copy, dims)

    def _moves(self, access: Access) -> tuple[int, list[int]]:
        """Return where an access begins, and how far each loop moves it."""
        env = self.env
        strides = self.strides[access.buffer]
        base = self.base[access.buffer]
        for index, stride in zip(access.bases, strides, strict=True):
            base += index(env) * stride
        known = self.steps.get((access, strides))
        if known is None:
            known = [sum(map(mul, steps, strides)) for steps in access.steps]
            self.steps[access, strides] = known
        return base, known


def _sram_step(dim: Dim) -> int:
    return -dim.sram_tiles


def _dense(extents: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of an array without gaps."""
    strides: list[int] = []
    stride = 1
    for extent in reversed(extents):
        strides.append(stride)
        stride *= extent
    return tuple(reversed(strides))
