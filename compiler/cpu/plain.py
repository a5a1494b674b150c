"""Operators on what lies row by row as expressions."""

from collections.abc import Callable, Sequence
from math import floor, log, prod
from typing import Protocol, TypeAlias

import numpy as np

from ...runtime.host.qlinear import FLOAT32_MAX, ROOM
from ..affine import bind, limits, tidy
from ..expr import (
    RANGES,
    Axis,
    Binary,
    BinaryOp,
    Compute,
    Const,
    Expr,
    Function,
    Type,
    call,
    cast,
    compute,
    constant,
    largest,
    minimum,
    reduce_axis,
    select,
    smallest,
    total,
)
from ..expr import all_of as all_hold
from ..expr import product as product_of
from ..graph import Node
from ..ops.linear import MatMul
from ..ops.qlinear import QLinearSoftmax
from ..ops.reduce import ArgMax, Softmax
from ..ops.reduce import Reduce as ReduceOp
from ..ops.shape import Broadcast, Concat, Gather, Pad, Reshape, Slice, Transpose, Unfold
from .images import rounded
from .operands import Operands, biased
from .stored import TYPES, Stored

At: TypeAlias = Sequence[Expr]
Over: TypeAlias = tuple[Axis, ...]
Read: TypeAlias = Callable[[At], Expr]
"""The element of what an operator reads, at indices."""


Along: TypeAlias = Callable[[At, Sequence[int]], tuple[Expr, ...]]
Input: TypeAlias = Callable[[int, At], Expr]
"""The element of one of several inputs, at indices."""


class Folded(Protocol):
    """Makes a reduction of what `make` gives for the indices of x, along axes."""

    def __call__(
        self,
        name: str,
        axes: Sequence[int],
        make: Callable[[At, Over], Expr],
        *,
        keep: bool,
    ) -> Compute: ...


def computed(name: str, shape: Sequence[int], body: Callable[[tuple[Axis, ...]], Expr]) -> Compute:
    """Return the tensor whose element at indices, given as one tuple, is `body` of them."""

    def element(*at: Axis) -> Expr:
        return body(at)

    return compute(name, shape, element)


def plain(node: Node, operands: Operands) -> Compute:
    """Return an operator's result, of the value's own shape, from its inputs wherever they lie."""
    shape = node.output.shape

    def read(place: int, at: At) -> Expr:
        return operands.element(node.inputs[place], at)

    match node.op:
        case MatMul():
            return _matmul(node, operands)
        case Softmax() | QLinearSoftmax() | ArgMax() | ReduceOp():
            return _reduced(node, operands)
        case Reshape():
            source = node.inputs[0].shape
            return computed("out", shape, lambda at: read(0, _unravelled(_flat(at, shape), source)))
        case Transpose(perm):
            return computed(
                "out", shape, lambda at: read(0, [at[perm.index(a)] for a in range(len(perm))])
            )
        case Broadcast():
            return computed("out", shape, lambda at: read(0, at))
        case Slice(starts, _, steps):
            return computed(
                "out",
                shape,
                lambda at: read(
                    0, [i * step + start for i, start, step in zip(at, starts, steps, strict=True)]
                ),
            )
        case Pad(before, _, value):
            return computed("out", shape, lambda at: _padded(node, read, at, before, value))
        case Concat(axis):
            return computed("out", shape, lambda at: _joined(node, read, at, axis))
        case Gather(axis):
            return computed("out", shape, lambda at: _gathered(node, read, at, axis))
        case Unfold() as op:
            return computed("out", shape, lambda at: read(0, _in_window(op, at)))
        case op:
            raise AssertionError(f"{op} has no expression on a CPU")


def moved(node: Node, operands: Operands, result: Stored) -> Compute:
    """Return what an operator of `groups.MOVES` gives, as it lies in blocks of channels."""
    out = plain(node, operands)
    channels = node.output.shape[1]

    def element(*place: Expr) -> Expr:
        n, c, *rest = result.indices(place)
        if limits(c)[1] >= channels:
            c = minimum(c, channels - 1)
        found = bind(out.body, dict(zip(out.axes, (n, c, *rest), strict=True)))
        return biased(found) if result.biased else found

    return compute("out", result.inner, element)


def _flat(at: At, shape: Sequence[int]) -> Expr:
    """Return how many elements lie before the one at some indices."""
    flat: Expr = Const(0)
    for index, extent in zip(at, shape, strict=True):
        flat = flat * extent + index
    return flat


def _unravelled(flat: Expr, shape: Sequence[int]) -> list[Expr]:
    """Return the indices of the element before which as many lie; the first extent is any."""
    at: list[Expr] = []
    below = prod(shape[1:])
    for axis, extent in enumerate(shape):
        below = below // extent if axis else below
        at.append(tidy(flat // below % extent if at else flat // below))
    return at


def _padded(node: Node, read: Input, at: At, before: Sequence[int], value: float) -> Expr:
    source = node.inputs[0].shape
    conditions: list[Expr] = []
    inner: list[Expr] = []
    for index, first, extent, whole in zip(at, before, source, node.output.shape, strict=True):
        inner.append(index - first)
        if first:
            conditions.append(index >= first)
        if first + extent < whole:
            conditions.append(index < first + extent)
    found = read(0, inner)
    if not conditions:
        return found
    filling = np.asarray(value).astype(node.output.dtype.numpy).item()
    return select(all_hold(*conditions), found, constant(filling, found.type))


def _in_window(op: Unfold, at: At) -> list[Expr]:
    """Return where the element of an unfolded image is in the image."""
    n, channel, *place = at
    c, *offsets = _unravelled(channel, (-1, *op.window))
    steps = zip(place, op.strides, offsets, op.dilations, strict=True)
    return [n, c, *(index * stride + offset * apart for index, stride, offset, apart in steps)]


def _joined(node: Node, read: Input, at: At, axis: int) -> Expr:
    ends = np.cumsum([value.shape[axis] for value in node.inputs]).tolist()
    found: Expr | None = None
    for place in reversed(range(len(ends))):
        begin = ends[place - 1] if place else 0
        if ends[place] == begin:
            continue
        part = read(place, [*at[:axis], at[axis] - begin, *at[axis + 1 :]])
        found = part if found is None else select(at[axis] < ends[place], part, found)
    assert found is not None
    return found


def _gathered(node: Node, read: Input, at: At, axis: int) -> Expr:
    x, indices = node.inputs
    rank, extent = len(indices.shape), x.shape[axis]
    index = cast(read(1, at[axis : axis + rank]), Type.INT64)
    index = select(index < 0, index + extent, index)
    return read(0, [*at[:axis], cast(index, Type.INDEX), *at[axis + rank :]])


def _matmul(node: Node, operands: Operands) -> Compute:
    a, b = node.inputs
    k = reduce_axis(a.shape[-1], "k")

    def element(*at: Expr) -> Expr:
        lead, (row, col) = at[:-2], at[-2:]
        left = operands.element(a, [*lead[len(lead) - len(a.shape) + 2 :], row, k])
        right = operands.element(b, [*lead[len(lead) - len(b.shape) + 2 :], k, col])
        return total(left * right, over=(k,))

    return compute("out", node.output.shape, element)


def _reduced(node: Node, operands: Operands) -> Compute:
    x = node.inputs[0]

    def folded(
        name: str, axes: Sequence[int], make: Callable[[At, Over], Expr], *, keep: bool
    ) -> Compute:
        """A reduction of what `make` gives for the indices of x, along axes."""
        over = {axis: reduce_axis(x.shape[axis], f"r{axis}") for axis in axes}
        kept = [axis for axis in range(len(x.shape)) if keep or axis not in over]
        shape = [1 if axis in over else x.shape[axis] for axis in kept]

        def element(*at: Expr) -> Expr:
            place = dict(zip(kept, at, strict=True))
            full = [over.get(axis, place.get(axis, Const(0))) for axis in range(len(x.shape))]
            return make(full, tuple(over.values()))

        return compute(name, shape, element)

    def read(at: At) -> Expr:
        return operands.element(x, at)

    def along(at: At, axes: Sequence[int]) -> tuple[Expr, ...]:
        return tuple(Const(0) if axis in axes else index for axis, index in enumerate(at))

    match node.op:
        case ReduceOp(function, axes, keepdims):
            return _reduction(node, function, axes, keepdims, folded, read)
        case ArgMax(axis, keepdims):
            top = folded("top", [axis], lambda at, over: largest(read(at), over), keep=True)
            none = constant(RANGES[Type.INT64][1], Type.INT64)

            def first(at: At, over: Over) -> Expr:
                found = Binary(BinaryOp.EQ, read(at), top[along(at, [axis])])
                return smallest(select(found, cast(at[axis], Type.INT64), none), over)

            return folded("out", [axis], first, keep=keepdims)
        case Softmax(axis, log):
            top = folded("top", [axis], lambda at, over: largest(read(at), over), keep=True)
            shifted = computed("shifted", x.shape, lambda at: read(at) - top[along(at, [axis])])
            powers = computed("powers", x.shape, lambda at: call(Function.EXP, shifted[at]))
            sums = folded(
                "sums", [axis], lambda at, over: total(powers[tuple(at)], over), keep=True
            )

            def result(*at: Expr) -> Expr:
                whole = sums[along(at, [axis])]
                if log:
                    return shifted[at] - call(Function.LOG, whole)
                return Binary(BinaryOp.DIV, powers[at], whole)

            return compute("out", x.shape, result)
        case QLinearSoftmax() as op:
            return _quantized_softmax(op, node, folded, read, along)
        case op:
            raise AssertionError(str(op))


def _reduction(
    node: Node, function: str, axes: Sequence[int], keepdims: bool, folded: Folded, read: Read
) -> Compute:
    x = node.inputs[0]
    kind = TYPES[x.dtype]
    wide = Type.FLOAT32 if kind.is_float else Type.INT64
    if kind in (Type.FLOAT64, Type.UINT64):
        wide = kind
    count = prod(x.shape[axis] for axis in axes)

    def make(at: At, over: Over) -> Expr:
        match function:
            case "max":
                return largest(read(at), over)
            case "min":
                return smallest(read(at), over)
            case "prod":
                return product_of(cast(read(at), wide), over)
            case "mean" if not kind.is_float:
                return total(cast(read(at), Type.FLOAT64), over)
            case _:
                return total(cast(read(at), wide), over)

    sums = folded(
        "sums" if function in ("mean", "sum", "prod") else "out", axes, make, keep=keepdims
    )
    if function == "mean":
        divisor = constant(count, sums.element)
        return computed(
            "out",
            sums.shape,
            lambda at: _finished(Binary(BinaryOp.DIV, sums[at], divisor), kind),
        )
    if function in ("sum", "prod") and sums.element is not kind:
        return computed("out", sums.shape, lambda at: cast(sums[at], kind))
    return sums


def _finished(value: Expr, kind: Type) -> Expr:
    return value if value.type is kind else cast(value, kind)


def _quantized_softmax(
    op: QLinearSoftmax, node: Node, folded: Folded, read: Read, along: Along
) -> Compute:
    x = node.inputs[0]
    axis = op.axis
    greatest = max(0.0, log(FLOAT32_MAX / x.shape[axis]) - ROOM)
    top = folded("top", [axis], lambda at, over: largest(read(at), over), keep=True)

    def term(*at: Expr) -> Expr:
        below = cast(cast(read(at), Type.INT32) - cast(top[along(at, [axis])], Type.INT32),
                     Type.FLOAT64)  # fmt: skip
        scaled = below * constant(op.x_scale, Type.FLOAT64) + constant(greatest, Type.FLOAT64)
        return cast(call(Function.EXP, scaled), Type.FLOAT32)

    terms = compute("terms", x.shape, term)
    sums = folded(
        "sums",
        [axis],
        lambda at, over: total(cast(terms[tuple(at)], Type.FLOAT64), over),
        keep=True,
    )
    inverse = floor(np.float32(1) / np.float32(op.y_scale))

    def result(*at: Expr) -> Expr:
        whole = cast(sums[along(at, [axis])], Type.FLOAT32)
        one = constant(1, Type.FLOAT32)
        factor = Binary(BinaryOp.DIV, one, whole) * constant(float(inverse), Type.FLOAT32)
        offset = constant(float(op.y_zero + op.shift), Type.FLOAT32)
        return rounded(terms[at] * factor + offset, op.shift)

    return compute("out", x.shape, result)
