"""From a group of operators to a kernel: expressions, a schedule, and where its tensors lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...runtime.native.jit import Cpu
from ..expr import (
    Compute,
    Tensor,
    compute,
    constant,
)
from ..graph import Value
from ..loops import Program
from ..lower import lower
from ..schedule import Schedule
from ..tensorize import tensorize
from .bodies import on_blocks, row_by_row
from .groups import Group, Plan
from .images import anchored
from .intrinsics import has_taps
from .operands import Array, Operands, View
from .plain import computed, moved
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
    """Return what computes a group: first the halo around its result, then the result.

    Nothing, where the result has no elements.
    """
    (result,) = group.results
    if not result.value.size:
        return []
    operands = Operands(made.before(group), constants)
    out, schedule = _scheduled(group, made, operands, result, cpu)
    operands.out(out, result)
    return [*halo(result), _kernel(schedule, operands)]


def _kernel(schedule: Schedule, operands: Operands) -> Kernel:
    program = tensorize(lower(schedule), [], required=False)
    placed = {**operands.views, **operands.arrays}
    scratch = [b.tensor for b in program.tensors if b.tensor not in placed]
    return Kernel(program, operands.views, operands.arrays, scratch)


def _scheduled(
    group: Group, made: Plan, operands: Operands, result: Stored, cpu: Cpu
) -> tuple[Compute, Schedule]:
    if not result.block:
        out = row_by_row(group, operands)
        return out, rows(out)
    anchor = None
    if group in made.data and group.anchor is not None:
        data = made.data[group]
        anchor = anchored(group.anchor, data, operands, result.inner, taps=has_taps(cpu))
    if anchor is None and group.anchor is not None:
        out = moved(group.anchor, operands, result)
        return out, elements(out, across=False)
    out = compute("out", result.inner, on_blocks(group, anchor, operands, result))
    if anchor is None:
        rows_read = any(not view.stored.block for view in operands.views.values())
        across = rows_read and group.output.shape[1] > result.block // 4
        return out, elements(out, across=across)
    if anchor.kind == "dot":
        return out, dots(out, anchor.acc, cpu)
    return out, windows(out, anchor.acc, cpu, taps=anchor.kind == "taps")


def halo(result: Stored) -> list[Kernel]:
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
