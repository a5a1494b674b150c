"""Maximum and sum over windows. An average is a sum that is multiplied afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..graph import DType, GraphError, Op, TensorType


def pooled(
    x: TensorType,
    dtype: DType,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int] = (1, 1),
) -> tuple[TensorType, ...]:
    """Return the type of what a window that moves over x (N, C, H, W) gives.

    `pads` are top, left, bottom, right. Raises GraphError where the window does not fit.
    """
    if len(x.shape) != 4:
        raise GraphError(f"pooling takes (N, C, H, W), not {x}")
    out: list[int] = []
    for axis in range(2):
        extent = x.shape[2 + axis] + pads[axis] + pads[axis + 2]
        span = dilations[axis] * (kernel[axis] - 1) + 1
        if span > extent:
            raise GraphError(f"pooling window spans {span}, more than the padded input {extent}")
        out.append((extent - span) // strides[axis] + 1)
    return (TensorType((*x.shape[:2], *out), dtype),)


@dataclass(frozen=True)
class MaxPool2d(Op):
    """Maximum of each window of x (N, C, H, W), in the type of x. Padding never wins.

    `pads` is top, left, bottom, right.
    """

    kernel: ClassVar[str] = "max_pool2d"
    window: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        return pooled(x, x.dtype, self.window, self.strides, self.pads, self.dilations)


@dataclass(frozen=True)
class SumPool2d(Op):
    """Sum of each window of x (N, C, H, W): int32, wrapping, of int8; float32 of float32.

    `pads` is top, left, bottom, right; what it adds holds `pad_value`: the zero point of x.
    """

    kernel: ClassVar[str] = "sum_pool2d"
    window: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    pad_value: int = 0

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.dtype not in (DType.INT8, DType.FLOAT32):
            raise GraphError(f"SumPool2d takes int8 or float32, not {x}")
        dtype = DType.INT32 if x.dtype is DType.INT8 else DType.FLOAT32
        return pooled(x, dtype, self.window, self.strides, self.pads)
