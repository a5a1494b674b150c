"""Operators that move data and compute nothing; they take any element type."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from ..graph import DType, GraphError, Op, TensorType
from .linear import broadcast_shapes


@dataclass(frozen=True)
class Reshape(Op):
    """Another shape of as many elements, in the same order."""

    kernel: ClassVar[str] = "reshape"
    shape: tuple[int, ...]

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        if prod(x.shape) != prod(self.shape):
            raise GraphError(f"cannot reshape {x} to {self.shape}: it has {prod(x.shape)} elements")
        return (TensorType(self.shape, x.dtype),)


@dataclass(frozen=True)
class Transpose(Op):
    """Axes in the order that `perm` lists them."""

    kernel: ClassVar[str] = "transpose"
    perm: tuple[int, ...]

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        if sorted(self.perm) != list(range(len(x.shape))):
            raise GraphError(f"cannot transpose {x} by {self.perm}")
        return (TensorType(tuple(x.shape[axis] for axis in self.perm), x.dtype),)


@dataclass(frozen=True)
class Concat(Op):
    """Tensors joined along an axis."""

    kernel: ClassVar[str] = "concat"
    axis: int

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        first = inputs[0]
        rank = len(first.shape)
        if not 0 <= self.axis < rank:
            raise GraphError(f"cannot concatenate {first} along axis {self.axis}")
        rests = {(*x.shape[: self.axis], -1, *x.shape[self.axis + 1 :]) for x in inputs}
        if len(rests) > 1 or len({x.dtype for x in inputs}) > 1:
            raise GraphError(
                f"cannot concatenate {', '.join(map(str, inputs))} along axis {self.axis}"
            )
        shape = list(first.shape)
        shape[self.axis] = sum(x.shape[self.axis] for x in inputs)
        return (TensorType(tuple(shape), first.dtype),)


@dataclass(frozen=True)
class Pad(Op):
    """`value` put around a tensor, `before` and `after` it on each axis."""

    kernel: ClassVar[str] = "pad"
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        if not len(self.before) == len(self.after) == len(x.shape):
            raise GraphError(f"cannot pad {x} by {self.before} and {self.after}")
        if min((*self.before, *self.after), default=0) < 0:
            raise GraphError(f"cannot pad by the negative {self.before} and {self.after}; slice")
        shape = (b + n + a for b, n, a in zip(self.before, x.shape, self.after, strict=True))
        return (TensorType(tuple(shape), x.dtype),)


@dataclass(frozen=True)
class Slice(Op):
    """On each axis `counts` elements from `starts` on, `steps` apart (which may be negative)."""

    kernel: ClassVar[str] = "slice"
    starts: tuple[int, ...]
    counts: tuple[int, ...]
    steps: tuple[int, ...]

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        for extent, start, count, step in zip(
            x.shape, self.starts, self.counts, self.steps, strict=True
        ):
            last = start + (count - 1) * step
            if count and not (0 <= start < extent and 0 <= last < extent):
                raise GraphError(f"cannot take {start} to {last} of an axis of {x}")
        return (TensorType(self.counts, x.dtype),)


@dataclass(frozen=True)
class Gather(Op):
    """The elements of x at indices (int32 or int64; negative from the end) along an axis."""

    kernel: ClassVar[str] = "gather"
    axis: int

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        x, indices = inputs
        if indices.dtype not in (DType.INT32, DType.INT64) or not 0 <= self.axis < len(x.shape):
            raise GraphError(f"cannot gather {indices} of {x} along axis {self.axis}")
        shape = (*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :])
        return (TensorType(shape, x.dtype),)


@dataclass(frozen=True)
class Broadcast(Op):
    """Axes of extent 1, and new ones in front, repeated to `shape`."""

    kernel: ClassVar[str] = "broadcast"
    shape: tuple[int, ...]

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        if broadcast_shapes("Broadcast", x.shape, self.shape) != self.shape:
            raise GraphError(f"cannot broadcast {x} to {self.shape}")
        return (TensorType(self.shape, x.dtype),)


@dataclass(frozen=True)
class Unfold(Op):
    """The windows of an image x (N, C, H, W) as channels: (N, C * window, OH, OW).

    Channel (c * KH + ky) * KW + kx of pixel (y, x) is pixel (y * stride + ky * dilation, ...) of
    channel c. So a convolution without pads is one by 1x1 of what this gives.
    """

    kernel: ClassVar[str] = "unfold"
    window: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        if len(x.shape) != 4:
            raise GraphError(f"Unfold takes an image of rank 4, not {x}")
        n, c, *extents = x.shape
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilations, self.window, strict=True)]
        if any(e < s for e, s in zip(extents, spans, strict=True)):
            raise GraphError(f"Unfold's window spans {spans}, more than {x}")
        out = [(e - s) // t + 1 for e, s, t in zip(extents, spans, self.strides, strict=True)]
        return (TensorType((n, c * prod(self.window), *out), x.dtype),)
