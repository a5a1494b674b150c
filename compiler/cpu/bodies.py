"""What a group of operators computes, as one expression for each element of its result."""

from collections.abc import Callable, Sequence

import numpy as np

from ..expr import Binary, BinaryOp, Compute, Expr, compute
from ..graph import Value
from ..ops.elementwise import Add, ShiftRight
from ..passes.fold import along_channels
from .elementwise import express
from .groups import Group
from .images import Anchor
from .operands import Array, Operands, biased, inside
from .plain import plain
from .stored import Stored


def row_by_row(group: Group, operands: Operands) -> Compute:
    """Return the result of a group that lies row by row."""
    anchor = group.anchor
    if anchor is not None:
        return plain(anchor, operands)
    shape = group.output.shape

    def element(*at: Expr) -> Expr:
        return _chain(group, at, operands, {}, block=0)

    return compute("out", shape, element)


def on_blocks(
    group: Group, anchor: Anchor | None, operands: Operands, result: Stored
) -> Callable[..., Expr]:
    """Return the element of a group's result in blocks of channels, (N, CB, H, W, block)."""
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

    return element


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
