"""Operators that multiply and accumulate: convolution, dense layer, matrix product."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..graph import DType, GraphError, Op, TensorType

_ACCUMULATOR = {DType.INT8: DType.INT32, DType.FLOAT32: DType.FLOAT32}


def _accumulator(name: str, x: TensorType, w: TensorType) -> DType:
    if x.dtype is not w.dtype or x.dtype not in _ACCUMULATOR:
        raise GraphError(f"{name} takes two int8 or two float32 tensors, not {x} and {w}")
    return _ACCUMULATOR[x.dtype]


@dataclass(frozen=True)
class Conv2d(Op):
    """Convolution of x (N, C, H, W) by w (O, C / groups, KH, KW) into (N, O, OH, OW).

    int8 gives int32, wrapping; float32 gives float32. `pads` is top, left, bottom, right; what it
    adds holds `pad_value`: the zero point of x.
    """

    kernel: ClassVar[str] = "conv2d"
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    pad_value: int = 0

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        x, w = inputs
        dtype = _accumulator("Conv2d", x, w)
        if len(x.shape) != 4 or len(w.shape) != 4:
            raise GraphError(f"Conv2d takes tensors of rank 4, not {x} and {w}")
        n, c, height, width = x.shape
        o, c_group, kh, kw = w.shape
        if self.groups < 1 or c != c_group * self.groups or o % self.groups:
            raise GraphError(
                f"Conv2d of {self.groups} groups cannot take {x} with weights {w}: channels are "
                f"(weight channels x groups), and a group's outputs are outputs / groups"
            )
        top, left, bottom, right = self.pads
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilations, (kh, kw), strict=True)]
        extents = (height + top + bottom, width + left + right)
        out = [(e - s) // t + 1 for e, s, t in zip(extents, spans, self.strides, strict=True)]
        if any(e < s for e, s in zip(extents, spans, strict=True)):
            raise GraphError(f"Conv2d kernel spans {spans}, more than the padded input {extents}")
        return (TensorType((n, o, *out), dtype),)


@dataclass(frozen=True)
class ConvTranspose2d(Op):
    """The transpose of a convolution: x (N, C, H, W) and w (C, O / groups, KH, KW), float32.

    Each pixel of x, times w, is added to a window of the result, `strides` from the next one's. Of
    that, `pads` (top, left, bottom, right) are cut off; negative ones add zeros.
    """

    kernel: ClassVar[str] = "conv_transpose2d"
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        x, w = inputs
        if x.dtype is not DType.FLOAT32 or w.dtype is not DType.FLOAT32:
            raise GraphError(f"ConvTranspose2d takes float32, not {x} and {w}")
        if len(x.shape) != 4 or len(w.shape) != 4:
            raise GraphError(f"ConvTranspose2d takes tensors of rank 4, not {x} and {w}")
        n, c, *extents = x.shape
        if self.groups < 1 or c % self.groups or w.shape[0] != c:
            raise GraphError(f"ConvTranspose2d of {self.groups} groups cannot take {x} with {w}")
        whole = [
            (extent - 1) * stride + (k - 1) * dilation + 1
            for extent, stride, k, dilation in zip(
                extents, self.strides, w.shape[2:], self.dilations, strict=True
            )
        ]
        top, left, bottom, right = self.pads
        out = whole[0] - top - bottom, whole[1] - left - right
        if min(out) < 1:
            raise GraphError(f"ConvTranspose2d leaves nothing of {whole} with pads {self.pads}")
        return (TensorType((n, w.shape[1] * self.groups, *out), DType.FLOAT32),)


@dataclass(frozen=True)
class Dense(Op):
    """x (N, K) times the transpose of w (O, K): (N, O). Types as for Conv2d."""

    kernel: ClassVar[str] = "dense"

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        x, w = inputs
        dtype = _accumulator("Dense", x, w)
        if len(x.shape) != 2 or len(w.shape) != 2 or x.shape[1] != w.shape[1]:
            raise GraphError(f"Dense takes (N, K) and (O, K), not {x} and {w}")
        return (TensorType((x.shape[0], w.shape[0]), dtype),)


@dataclass(frozen=True)
class MatMul(Op):
    """Product of stacks of float32 matrices, leading axes broadcast; both of rank 2 or more."""

    kernel: ClassVar[str] = "matmul"

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        a, b = inputs
        if a.dtype is not DType.FLOAT32 or b.dtype is not DType.FLOAT32:
            raise GraphError(f"MatMul takes float32, not {a} and {b}")
        if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] != b.shape[-2]:
            raise GraphError(f"MatMul takes (..., N, K) and (..., K, M), not {a} and {b}")
        lead = broadcast_shapes("MatMul", a.shape[:-2], b.shape[:-2])
        return (TensorType((*lead, a.shape[-2], b.shape[-1]), DType.FLOAT32),)


def broadcast_shapes(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that NumPy broadcasts `shapes` to; GraphError when they do not go."""
    rank = max(map(len, shapes))
    out: list[int] = []
    for extents in zip(*((1,) * (rank - len(s)) + s for s in shapes), strict=True):
        wide = {extent for extent in extents if extent != 1}
        if len(wide) > 1:
            raise GraphError(f"{name} cannot broadcast {' with '.join(map(str, shapes))}")
        out.append(wide.pop() if wide else 1)
    return tuple(out)
