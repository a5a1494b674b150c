"""From a group of operators to a kernel: expressions, a schedule, and where its tensors lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...runtime.native.jit import Cpu
from ..expr import (
    Binary,
    BinaryOp,
    Compute,
    Expr,
    Tensor,
    compute,
    constant,
)
from ..graph import Value
from ..loops import Program
from ..lower import lower
from ..ops.elementwise import Add, ShiftRight
from ..passes.fold import along_channels
from ..schedule import Schedule
from ..tensorize import tensorize
from .elementwise import express
from .groups import Group, Plan
from .images import Anchor, anchored
from .operands import Array, Operands, View, biased, inside
from .plain import computed, moved, plain
from .stored import Stored
from .templates import dots, elements, rows, windows


@dataclass(frozen=True, eq=False)
class Kernel:
    """A loop program, and where its tensors lie.

    Parameters
    ----------
    program : Program
    views : dict of Tensor to View
        Its tensors that are values.
    arrays : dict of Tensor to array
        Its tensors that are constants.
    scratch : list of Tensor
        Those that only it uses.
    """

    program: Program
    views: Mapping[Tensor, View]
    arrays: Mapping[Tensor, Array]
    scratch: Sequence[Tensor]


def kernels(group: Group, made: Plan, constants: dict[Value, Array], cpu: Cpu) -> list[Kernel]:
    """Return what computes a group: first the halo around its result, then the result."""
    (result,) = group.results
    operands = Operands(made.before(group), constants)
    out, schedule = _scheduled(group, made, operands, result, cpu)
    operands.out(out, result)
    return [*_halo(result), _kernel(schedule, operands)]


def _kernel(schedule: Schedule, operands: Operands) -> Kernel:
    program = tensorize(lower(schedule), [], required=False)
    placed = {**operands.views, **operands.arrays}
    scratch = [b.tensor for b in program.tensors if b.tensor not in placed]
    return Kernel(program, operands.views, operands.arrays, scratch)


def _scheduled(
    group: Group, made: Plan, operands: Operands, result: Stored, cpu: Cpu
) -> tuple[Compute, Schedule]:
    if not result.block:
        out = _row_by_row(group, operands)
        return out, rows(out)
    anchor = None
    if group in made.data and group.anchor is not None:
        anchor = anchored(group.anchor, made.data[group], operands, result.inner)
    if anchor is None and group.anchor is not None:
        out = moved(group.anchor, operands, result)
        return out, elements(out, across=False)
    out = _on_blocks(group, anchor, operands, result)
    if anchor is None:
        rows_read = any(not view.stored.block for view in operands.views.values())
        across = rows_read and group.output.shape[1] > result.block // 4
        return out, elements(out, across=across)
    if anchor.kind == "dot":
        return out, dots(out, anchor.acc, cpu)
    return out, windows(out, anchor.acc, cpu)


def _row_by_row(group: Group, operands: Operands) -> Compute:
    """Return the result of a group that lies row by row."""
    anchor = group.anchor
    if anchor is not None:
        return plain(anchor, operands)
    shape = group.output.shape

    def element(*at: Expr) -> Expr:
        return _chain(group, at, operands, {}, block=0)

    return compute("out", shape, element)


def _on_blocks(group: Group, anchor: Anchor | None, operands: Operands, result: Stored) -> Compute:
    """Return the result of a group that lies in blocks of channels, (N, CB, H, W, block)."""
    block = result.block

    def element(*place: Expr) -> Expr:
        at = result.indices(place)
        known: dict[Value, Expr] = {}
        if anchor is not None:
            _, c, _, _, lane = place
            found = anchor.result(place)
            value, more = _corrected(group, anchor, operands)
            if more is not None:
                padded = np.zeros(result.inner[1] * block, np.int32)
                padded[: more.size] = more
                tensor = operands.array(padded.reshape(-1, block), "b")
                found = Binary(BinaryOp.ADD, found, tensor[c, lane])
            known[value] = found
        last = _chain(group, at, operands, known, block=block)
        if result.element.is_float:  # what pads the last block is multiplied by zeros later
            last = inside(at, group.output.shape[1:2], last)
        return biased(last) if result.biased else last

    return compute("out", result.inner, element)


def _corrected(group: Group, anchor: Anchor, operands: Operands) -> tuple[Value, Array | None]:
    """Return what is to be added to an anchor's result, and the value that it is then.

    A constant that the next node adds to each channel goes into the correction.
    """
    first, correction = group.nodes[0].output, anchor.correction
    following = group.nodes[1] if len(group.nodes) > 1 else None
    if correction is None or following is None or not isinstance(following.op, Add):
        return first, correction
    more = operands.constants.get(following.inputs[1])
    along = None if more is None else along_channels(more, first)
    if along is None or following.inputs[0] is not first:
        return first, correction
    return following.output, np.add(correction, along, dtype=np.int32)


def _chain(
    group: Group, at: Sequence[Expr], operands: Operands, known: dict[Value, Expr], *, block: int
) -> Expr:
    """Return the element of a group's result, its nodes' expressions put into each other."""
    source = group.source
    if source is not None:
        if source.value in operands.constants:
            return operands.element(source.value, at, block=block)
        return operands.read(source, operands.whole(source), at)
    for node in group.nodes:
        if node.output in known or node is group.anchor:
            continue
        shift = isinstance(node.op, ShiftRight)

        def element(
            value: Value,
            indices: Sequence[Expr],
            shift: bool = shift,
            second: Value = node.inputs[-1],
        ) -> Expr:
            if value in known:
                return known[value]
            counts = shift and value is second
            return operands.element(value, indices, block=block, shift=counts)

        known[node.output] = express(node, at, element)
    return known[group.output]


def _halo(result: Stored) -> list[Kernel]:
    """Return what fills the halo around an image; in an accelerator's memory it is there."""
    if not any(result.halo) or result.place is not None:
        return []
    top, left, bottom, right = result.halo
    n, blocks, high, wide, block = result.shape
    inner = high - top - bottom
    row, step = result.strides[2], result.strides[3]
    parts = [
        (top, wide, 0),
        (bottom, wide, (high - bottom) * row),
        (inner, left, top * row),
        (inner, right, top * row + (wide - right) * step),
    ]
    filling = int(result.fill) + 128 if result.biased else result.fill
    made: list[Kernel] = []
    for rows_, cols, begin in parts:
        if rows_ and cols:
            shape = n, blocks, rows_, cols, block
            out = computed("halo", shape, lambda at: constant(filling, result.element))
            s = Schedule.of(out, tiled=False)
            s = s.parallel(out, out.axes[0]).parallel(out, out.axes[1]).vectorize(out, out.axes[4])
            view = View(result, begin, result.strides)
            made.append(Kernel(lower(s), {out: view}, {}, ()))
    return made
