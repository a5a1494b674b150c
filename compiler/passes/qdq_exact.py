"""Steps that give what ONNX Runtime's kernel for a layer gives, for every sum that there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..ops.elementwise import Add, Mul
from ..ops.linear import Conv2d, Dense
from ..ops.pool import SumPool2d
from .exact_plane import plane
from .exact_search import difference, exact
from .exact_staircase import Function, Staircase, staircase
from .qdq_kernels import (
    Tensor,
    added,
    linear,
    linear_scale,
    mean_scale,
    multiplied,
    requantized,
)
from .qdq_qlinear import is_average
from .quantize_choose import half_even
from .quantize_emit import IntegerSum
from .quantize_groups import Group
from .quantize_numbers import Integers, Reals, Requantization, Step, Steps, Sum, Term, check

NEARLY = 0.25
"""How far a bias, divided by the scale of its sum, may be from the integer that it was."""


@dataclass(frozen=True)
class Agreement:
    """How the results of a layer compare with those of ONNX Runtime's kernel.

    Parameters
    ----------
    layer : str
    sums : int
        How many sums there are, of all channels together; of an addition, pairs of integers.
    differing : int or None
        For how many of them the result is another one; None where ONNX Runtime computes the layer
        in float and the results are only near its own.
    """

    layer: str
    sums: int
    differing: int | None


def requantization(
    group: Group, sums: IntegerSum, x: Sequence[Tensor], y: Tensor, total: Sum
) -> tuple[Requantization, Agreement] | None:
    """Return steps for a group of which ONNX Runtime makes one integer kernel; None of others.

    Parameters
    ----------
    group : Group
    sums : IntegerSum
        What its anchor gives.
    x : sequence of Tensor
        What it reads: its operands, then its addend.
    y : Tensor
        What it gives.
    total : Sum
        The same sums, with addends, as they are to be requantized.
    """
    if group.addend is not None:
        return _addition(group, x, y, total)
    kernel = _kernel(group, sums, x, y, total)
    if kernel is None:
        return None
    function, offset, slope = kernel
    rows = slope.size
    low, high = ((end + offset).reshape(rows, -1) for end in (sums.low, sums.high))
    stairs = staircase(function, low.min(axis=1), high.max(axis=1), total.low, total.high)
    way = _halves(stairs, y, total, offset)
    if way is None or way[1]:
        searched = exact(stairs, slope.reshape(-1))
        if searched is not None and (way is None or searched[1] < way[1]):
            way = searched[0].steps(slope.shape, offset), searched[1]
    found = None if way is None else check(total, way[0], None)
    if way is None or found is None:
        return None
    return found, Agreement(group.layer, stairs.sums, way[1])


def _halves(stairs: Staircase, y: Tensor, total: Sum, offset: Integers) -> tuple[Steps, int] | None:
    """Return the steps that send halves to even, and by how much they differ; None of other sums.

    The stairs are those of the sums plus an offset.
    """
    sums = Term(stairs.low.min(), stairs.high.max(), total.acc.factor)
    shifted = Sum(sums, (), np.asarray(float(y.zero_point)), total.low, total.high)
    found = half_even(shifted)
    if found is None:
        return None
    differing = difference(partial(_follow, found.steps), stairs)
    return [Step(Add(), offset), *found.steps], differing


def _follow(steps: Steps, sums: Integers) -> Integers:
    """Return what steps without addends make of sums, in 64 bits."""
    for step in steps:
        assert isinstance(step, Step)
        (sums,) = step.op.evaluate(sums, step.operand)
    return sums


def _kernel(
    group: Group, sums: IntegerSum, x: Sequence[Tensor], y: Tensor, total: Sum
) -> tuple[Function, Integers, Reals] | None:
    """Return what the kernel makes of sums plus an offset, that offset, and its slope.

    The slope has the shape of one number for each channel, or of one for all.
    """
    if not (group.factor == 1).all() and not isinstance(_op(group), SumPool2d):
        return None
    limits = {"y": y, "low": total.low, "high": total.high}
    offset = -sums.correction
    match _op(group):
        case Conv2d() | Dense():
            bias = group.offset / sums.scale
            if np.abs(bias - np.rint(bias)).max() > NEARLY:
                return None
            offset = offset + np.rint(bias).astype(np.int64)
            scale = linear_scale(sums.scale, y)
            function = partial(linear, scale=scale.reshape(-1, 1), **limits)
        case SumPool2d() as op if is_average(group):
            scale = mean_scale(x[0], op.window[0] * op.window[1], y)
            function = partial(linear, scale=scale, **limits)
        case Mul() if not group.offset.any():
            scale = linear_scale(sums.scale, y)
            function = partial(multiplied, scale=scale, **limits)
        case None if not group.offset.any():
            scale = x[0].unit / y.unit
            function = partial(requantized, scale=x[0].unit, **limits)
        case _:
            return None
    return function, np.asarray(offset), np.asarray(scale, np.float64)


def _op(group: Group) -> object:
    return group.anchor.op if group.anchor else None


def _addition(
    group: Group, x: Sequence[Tensor], y: Tensor, total: Sum
) -> tuple[Requantization, Agreement] | None:
    """Return the steps of QLinearAdd, tried on all pairs of integers."""
    assert group.addend is not None
    plain = group.addend.factor == 1 and (group.factor == 1).all() and not group.offset.any()
    if group.anchor is not None or not plain:
        return None
    terms = total.acc, *total.addends
    ranges = [np.arange(term.low.item(), term.high.item() + 1) for term in terms]
    a, b = (grid.ravel() for grid in np.meshgrid(*ranges, indexing="ij"))
    if group.nodes[0].inputs[0] is group.operands[0]:
        results = added(a, b, x[0], x[1], y)
    else:
        results = added(b, a, x[1], x[0], y)
    results = np.clip(results, total.low, total.high)
    slopes = x[0].scale / y.scale, x[1].scale / y.scale
    found = plane(a, b, results, slopes, total.low, total.high)
    done = check(total, found.steps, None)
    return None if done is None else (done, Agreement(group.layer, a.size, found.differing))
