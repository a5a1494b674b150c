"""How it is computed: which loops, in which order, where each tensor is kept and when it is made.

A `Schedule` is a value; every primitive returns a new one and changes nothing of what is computed.
Loops are named by their `Axis`, tensors by themselves.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from .expr import (
    Axis,
    AxisKind,
    Binary,
    BinaryOp,
    Compute,
    Const,
    Expr,
    Placeholder,
    Read,
    Reduce,
    Tensor,
)
from .walk import reads, rewrite, substitute

if TYPE_CHECKING:
    from .intrinsics import Intrinsic


class ScheduleError(ValueError):
    """A schedule that cannot be: a loop that is not there, a buffer that is too small."""


class Scope(enum.Enum):
    """Where a tensor is kept: VTA's memories, and registers.

    SHARED is what the threads of a GPU's block share; a FRAGMENT is tiles in the registers of a
    warp, each thread having some of the elements.
    """

    DRAM = "DRAM"
    INP = "INP"
    WGT = "WGT"
    ACC = "ACC"
    REGISTERS = "REG"
    SHARED = "SHARED"
    FRAGMENT = "FRAG"


class LoopKind(enum.Enum):
    """How a loop's iterations follow each other."""

    SERIAL = "serial"
    UNROLLED = "unrolled"
    VTHREAD = "vthread"
    VECTORIZED = "vectorized"
    PARALLEL = "parallel"
    GRID = "grid"
    THREAD = "thread"
    WARP = "warp"
    LANE = "lane"

    @property
    def is_together(self) -> bool:
        """Whether its iterations are threads of one block of a GPU, which share memory."""
        return self in (LoopKind.THREAD, LoopKind.WARP, LoopKind.LANE)


@dataclass(frozen=True)
class Split:
    """`parent` = `outer` * `factor` + `inner`; the last outer iteration may be shorter.

    With `overlap` it is as long as the others and begins earlier: what it shares with the one
    before it is made twice.
    """

    parent: Axis
    outer: Axis
    inner: Axis
    factor: int
    overlap: bool = False

    def begin(self, outer: Expr) -> Expr:
        """Return the first value of `parent` in an iteration of `outer`."""
        begin = outer * self.factor
        last = self.parent.extent - self.factor
        if self.overlap and last % self.factor:
            return Binary(BinaryOp.MIN, begin, Const(last))
        return begin


@dataclass(frozen=True)
class Fuse:
    """`fused` = `outer` * (iterations of `inner`) + `inner`."""

    outer: Axis
    inner: Axis
    fused: Axis


Relation: TypeAlias = Split | Fuse


@dataclass(frozen=True)
class Stage:
    """One tensor's part of a schedule.

    Parameters
    ----------
    tensor : Compute
        Which one; the stage's name in every primitive.
    body : Expr
        What an element is now, after `cache_read`, `cache_write` and `compute_inline`.
    loops : tuple of Axis
        Its loops, outermost first.
    relations : tuple of Split or Fuse
        How `loops` came from the tensor's axes, in the order in which it was said.
    kinds : tuple of (Axis, LoopKind)
        The loops that are not serial.
    attach : (Tensor, Axis) or None
        The consumer's loop in whose every iteration the needed part of the tensor is made.
    copies : int
        Places that take turns to hold the tensor.
    intrinsic : (Axis, Intrinsic) or None
        From this loop inwards, this instruction.
    """

    tensor: Compute
    body: Expr
    loops: tuple[Axis, ...]
    scope: Scope = Scope.DRAM
    relations: tuple[Relation, ...] = ()
    kinds: tuple[tuple[Axis, LoopKind], ...] = ()
    attach: tuple[Tensor, Axis] | None = None
    copies: int = 1
    intrinsic: "tuple[Axis, Intrinsic] | None" = None

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes that the body speaks of: the tensor's and the reduction's."""
        return self.tensor.axes + (self.body.axes if isinstance(self.body, Reduce) else ())

    def kind(self, axis: Axis) -> LoopKind:
        """Return how the iterations of a loop follow each other."""
        return dict(self.kinds).get(axis, LoopKind.SERIAL)

    @cached_property
    def sources(self) -> list[Tensor]:
        """The tensors that the body reads, each once."""
        return list(dict.fromkeys(read.tensor for read in reads(self.body)))


@dataclass(frozen=True)
class Schedule:
    """Every stage that the outputs need, producers before consumers."""

    outputs: tuple[Compute, ...]
    stages: tuple[Stage, ...] = field(repr=False)
    tiled: bool = True

    @staticmethod
    def of(*outputs: Compute, tiled: bool = True) -> "Schedule":
        """Return the schedule that nothing has been said about: every tensor whole, in DRAM.

        `tiled` says that the last two axes of a tensor are a tile, as on VTA: loops over them come
        innermost.
        """
        found: dict[Tensor, Stage] = {}

        def visit(tensor: Tensor) -> None:
            if tensor in found or not isinstance(tensor, Compute):
                return
            for read in reads(tensor.body):
                visit(read.tensor)
            over = tensor.body.axes if isinstance(tensor.body, Reduce) else ()
            found[tensor] = Stage(tensor, tensor.body, tensor.axes + over)

        for output in outputs:
            visit(output)
        return Schedule(outputs, tuple(found.values()), tiled)

    def stage(self, tensor: Tensor) -> Stage:
        """Return what is said of one tensor."""
        for stage in self.stages:
            if stage.tensor is tensor:
                return stage
        known = ", ".join(stage.tensor.name for stage in self.stages)
        raise ScheduleError(f"{tensor.name} is no stage of this schedule; the stages are {known}")

    def axes(self, tensor: Tensor) -> tuple[Axis, ...]:
        """Return a stage's loops as they are now, outermost first."""
        return self.stage(tensor).loops

    def readers(self, tensor: Tensor) -> list[Stage]:
        """Return the stages that read the tensor."""
        return [stage for stage in self.stages if tensor in stage.sources]

    # Loops of one stage

    def split(
        self, tensor: Tensor, axis: Axis, factor: int, *, overlap: bool = False
    ) -> "tuple[Schedule, Axis, Axis]":
        """Cut a loop in two, the inner one `factor` iterations long, the last time the rest.

        for i in 14: s(i)  →  for i_o in 4: for i_i in min(4, 14 - i_o*4): s(i_o*4 + i_i)

        With `overlap` every inner loop is whole, so that it can be a vector or unrolled:

        for i in 14: s(i)  →  for i_o in 4: for i_i in 4: s(min(i_o*4, 10) + i_i)
        """
        stage = self.stage(tensor)
        place = _place(stage, axis)
        if factor < 1:
            raise ScheduleError(
                f"cannot split {axis.name} of {tensor.name} by {factor}; "
                f"1 to {axis.extent} would do"
            )
        outer = Axis(f"{axis.name}_o", -(-axis.extent // factor), axis.kind)
        inner = Axis(f"{axis.name}_i", min(factor, axis.extent), axis.kind)
        loops = stage.loops[:place] + (outer, inner) + stage.loops[place + 1 :]
        whole = overlap and axis.extent >= factor
        relations = (*stage.relations, Split(axis, outer, inner, factor, whole))
        self._unattached(stage, axis, "split")
        return self._with(replace(stage, loops=loops, relations=relations)), outer, inner

    def fuse(self, tensor: Tensor, outer: Axis, inner: Axis) -> "tuple[Schedule, Axis]":
        """Make one loop of two, the second directly inside the first.

        for i in 4: for j in 8: s(i, j)    →    for f in 32: s(f // 8, f % 8)
        """
        stage = self.stage(tensor)
        place = _place(stage, outer)
        if _place(stage, inner) != place + 1:
            raise ScheduleError(
                f"cannot fuse {outer.name} and {inner.name} of {tensor.name}: the second must be "
                f"directly inside the first; the loops are {_names(stage.loops)}"
            )
        if outer.kind is not inner.kind:
            raise ScheduleError(
                f"cannot fuse {outer.name} and {inner.name} of {tensor.name}: one is reduced over"
            )
        fused = Axis(f"{outer.name}.{inner.name}", outer.extent * inner.extent, outer.kind)
        loops = (*stage.loops[:place], fused, *stage.loops[place + 2 :])
        relations = (*stage.relations, Fuse(outer, inner, fused))
        for axis in (outer, inner):
            self._unattached(stage, axis, "fuse")
        return self._with(replace(stage, loops=loops, relations=relations)), fused

    def reorder(self, tensor: Tensor, *axes: Axis) -> "Schedule":
        """Put the named loops in this order, into the places that they hold now.

        for i: for j: for k: s    →    reorder(k, i)    →    for k: for j: for i: s
        """
        stage = self.stage(tensor)
        if len(set(axes)) != len(axes):
            raise ScheduleError(f"reorder of {tensor.name} names a loop twice: {_names(axes)}")
        places = sorted(_place(stage, axis) for axis in axes)
        loops = list(stage.loops)
        for place, axis in zip(places, axes, strict=True):
            loops[place] = axis
        return self._with(replace(stage, loops=tuple(loops)))

    def tile(
        self, tensor: Tensor, y: Axis, x: Axis, rows: int, columns: int
    ) -> "tuple[Schedule, Axis, Axis, Axis, Axis]":
        """Cut two loops into tiles; return the schedule, then y_o, x_o, y_i, x_i in that order.

        for y: for x: s    →    for y_o: for x_o: for y_i in rows: for x_i in columns: s
        """
        schedule, y_o, y_i = self.split(tensor, y, rows)
        schedule, x_o, x_i = schedule.split(tensor, x, columns)
        return schedule.reorder(tensor, y_o, x_o, y_i, x_i), y_o, x_o, y_i, x_i

    def unroll(self, tensor: Tensor, axis: Axis) -> "Schedule":
        """Give each iteration of a loop, and of all around it, instructions of its own.

        GEMM for i in 2, j in 8    →    GEMM (i = 0) for j in 8; GEMM (i = 1) for j in 8
        """
        return self._marked(tensor, axis, LoopKind.UNROLLED)

    def virtual_thread(self, tensor: Tensor, axis: Axis) -> "Schedule":
        """Run a loop's iterations side by side, so that one loads while the other computes.

            for v: {A; for k: {L; C}; S}    →    A0 A1; for k: {L0 L1 C0 C1}; S0 S1

        Buffers filled inside that depend on the loop get one copy for each iteration.
        """
        return self._marked(tensor, axis, LoopKind.VTHREAD)

    def vectorize(self, tensor: Tensor, axis: Axis) -> "Schedule":
        """Let the iterations of a loop be the lanes of a vector.

        for i in 16: c[i] = a[i] + b[i]    →    c[0:16] = a[0:16] + b[0:16]
        """
        return self._marked(tensor, axis, LoopKind.VECTORIZED)

    def parallel(self, tensor: Tensor, axis: Axis) -> "Schedule":
        """Let threads share the iterations of an outermost loop."""
        return self._marked(tensor, axis, LoopKind.PARALLEL)

    def bind(self, tensor: Tensor, axis: Axis, kind: LoopKind) -> "Schedule":
        """Let a GPU run the iterations of a loop side by side.

        `GRID` gives them to blocks of threads, `THREAD` to the threads of a block, `WARP` to its
        warps and `LANE` to the threads of a warp. Loops of a kind directly inside each other are
        one: for i in 4 (thread): for j in 32 (thread) takes 128 threads.
        """
        return self._marked(tensor, axis, kind)

    def tensorize(self, tensor: Tensor, axis: Axis, intrinsic: "Intrinsic") -> "Schedule":
        """Say that a loop and all inside it are one step of an instruction.

            for b: for j: for i: acc[b, j] += inp[b, i] * wgt[j, i]    →    GEMM

        Whether they are is checked when the program is tensorized. A stage of which this is not
        said gets whichever instruction matches.
        """
        stage = self.stage(tensor)
        _place(stage, axis)
        return self._with(replace(stage, intrinsic=(axis, intrinsic)))

    # Stages

    def set_scope(self, tensor: Tensor, scope: Scope) -> "Schedule":
        """Keep a stage's tensor in a memory on chip, or in DRAM."""
        stage = self.stage(tensor)
        if tensor in self.outputs and scope is not Scope.DRAM:
            raise ScheduleError(
                f"{tensor.name} is an output and stays in DRAM; cache_write would keep it in "
                f"{scope.value} until it is complete"
            )
        return self._with(replace(stage, scope=scope))

    def cache_read(
        self, tensor: Tensor, scope: Scope, readers: Sequence[Tensor] | None = None
    ) -> "tuple[Schedule, Compute]":
        """Let stages read a tensor from a copy in another memory; by default all its readers.

        c[i] = a[i] + 1    →    a.INP[i] = a[i];  c[i] = a.INP[i] + 1
        """
        chosen = self.readers(tensor) if readers is None else [self.stage(r) for r in readers]
        if not chosen or any(tensor not in stage.sources for stage in chosen):
            named = ", ".join(stage.tensor.name for stage in chosen) or "no stage"
            raise ScheduleError(f"cannot cache {tensor.name} for {named}: it is not read there")
        axes = _fresh(tensor)
        body = Read(tensor, axes)
        cache = Compute(f"{tensor.name}.{scope.value}", tensor.shape, tensor.element, axes, body)

        def change(part: Expr) -> Expr | None:
            if isinstance(part, Read) and part.tensor is tensor:
                return Read(cache, part.indices)
            return None

        stages: list[Stage] = []
        for stage in self.stages:
            if stage in chosen:
                if not any(done.tensor is cache for done in stages):
                    stages.append(Stage(cache, body, axes, scope))
                stage = replace(stage, body=rewrite(stage.body, change))
            stages.append(stage)
        return replace(self, stages=tuple(stages)), cache

    def cache_write(self, tensor: Tensor, scope: Scope) -> "tuple[Schedule, Compute]":
        """Compute a stage in another memory and copy the result; return what is computed there.

        c[i] = a[i] + 1    →    c.ACC[i] = a[i] + 1;  c[i] = c.ACC[i]
        """
        stage = self.stage(tensor)
        if stage.relations:
            raise ScheduleError(
                f"cannot cache {tensor.name}: its loops have been changed; cache it before that"
            )
        axes = _fresh(tensor)
        body = substitute(stage.body, dict(zip(stage.tensor.axes, axes, strict=True)))
        over = body.axes if isinstance(body, Reduce) else ()
        cache = Compute(f"{tensor.name}.{scope.value}", tensor.shape, tensor.element, axes, body)
        made = Stage(cache, body, axes + over, scope)
        copy = Read(cache, stage.tensor.axes)
        kept = replace(stage, body=copy, loops=stage.tensor.axes)
        place = self.stages.index(stage)
        stages = (*self.stages[:place], made, kept, *self.stages[place + 1 :])
        return replace(self, stages=stages), cache

    def compute_at(self, tensor: Tensor, consumer: Tensor, axis: Axis) -> "Schedule":
        """Make, in every iteration of a consumer's loop, just the part that is read inside it.

        for i: a[i] = f(i)               →    for i_o:
        for i_o: for i_i: c[i] = a[i]           for i_i: a[i] = f(i)
                                                for i_i: c[i] = a[i]
        """
        stage, user = self.stage(tensor), self.stage(consumer)
        _place(user, axis)
        if tensor is consumer or tensor in self.outputs:
            raise ScheduleError(
                f"cannot compute {tensor.name} at {axis.name} of {consumer.name}: an output is "
                f"made whole, and no stage inside itself"
            )
        return self._with(replace(stage, attach=(consumer, axis)))

    def compute_root(self, tensor: Tensor) -> "Schedule":
        """Make the whole tensor before its consumers."""
        return self._with(replace(self.stage(tensor), attach=None))

    def compute_inline(self, tensor: Tensor) -> "Schedule":
        """Never make the tensor: its readers compute the element they need.

        b[i] = a[i] + 1;  c[i] = b[i] * 2    →    c[i] = (a[i] + 1) * 2
        """
        stage = self.stage(tensor)
        if isinstance(stage.body, Reduce) or tensor in self.outputs:
            what = "an output" if tensor in self.outputs else "a reduction"
            raise ScheduleError(f"cannot inline {tensor.name}: it is {what}")

        def change(part: Expr) -> Expr | None:
            if isinstance(part, Read) and part.tensor is tensor:
                values = dict(zip(stage.tensor.axes, part.indices, strict=True))
                return substitute(stage.body, values)
            return None

        stages = [
            replace(other, body=rewrite(other.body, change))
            for other in self.stages
            if other is not stage
        ]
        return replace(self, stages=tuple(stages))

    def double_buffer(self, tensor: Tensor, copies: int = 2) -> "Schedule":
        """Let `copies` places take turns to hold a stage's tensor, each time it is made anew.

            for k: {L buf; C buf}    →    for k: {L buf[k % 2]; C buf[k % 2]}

        So that the next part can be loaded while this one is used.
        """
        if copies < 1:
            raise ScheduleError(f"{tensor.name} cannot have {copies} places; 1 or more would do")
        return self._with(replace(self.stage(tensor), copies=copies))

    # Helpers

    def _with(self, changed: Stage) -> "Schedule":
        stages = tuple(changed if s.tensor is changed.tensor else s for s in self.stages)
        return replace(self, stages=stages)

    def _marked(self, tensor: Tensor, axis: Axis, kind: LoopKind) -> "Schedule":
        stage = self.stage(tensor)
        _place(stage, axis)
        return self._with(replace(stage, kinds=(*stage.kinds, (axis, kind))))

    def _unattached(self, stage: Stage, axis: Axis, what: str) -> None:
        for other in self.stages:
            if other.attach == (stage.tensor, axis):
                raise ScheduleError(
                    f"cannot {what} {axis.name} of {stage.tensor.name}: {other.tensor.name} is "
                    f"computed at it; {what} first, then compute_at"
                )
        if any(marked is axis for marked, _ in stage.kinds):
            raise ScheduleError(
                f"cannot {what} {axis.name} of {stage.tensor.name}: it is already marked "
                f"{stage.kind(axis).value}"
            )


def _fresh(tensor: Tensor) -> tuple[Axis, ...]:
    if isinstance(tensor, Compute):
        return tuple(Axis(axis.name, axis.extent, AxisKind.SPATIAL) for axis in tensor.axes)
    return tuple(Axis(f"i{place}", extent) for place, extent in enumerate(tensor.shape))


def _place(stage: Stage, axis: Axis) -> int:
    if axis not in stage.loops:
        raise ScheduleError(
            f"{axis.name} is no loop of {stage.tensor.name} now; its loops are "
            f"{_names(stage.loops)}"
        )
    return stage.loops.index(axis)


def _names(axes: Sequence[Axis]) -> str:
    return ", ".join(axis.name for axis in axes)


def placeholders(schedule: Schedule) -> list[Placeholder]:
    """Return the placeholders that the stages read, each once."""
    found = dict.fromkeys(tensor for stage in schedule.stages for tensor in stage.sources)
    return [tensor for tensor in found if isinstance(tensor, Placeholder)]
