"""Operators on int8 that ONNX Runtime computes in float32 of its own kind; the CPU runs them.

Zero points are those of int8. `shift` is how much greater those are that ONNX Runtime's kernel
sees: 128 where that has uint8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..graph import DType, GraphError, Op, TensorType
from .pool import pooled


@dataclass(frozen=True)
class QLinearAveragePool(Op):
    """Mean of each window of x (N, C, H, W), int8 to int8."""

    kernel: ClassVar[str] = "qlinear_average_pool"
    window: tuple[int, int]
    strides: tuple[int, int]
    x_scale: float
    x_zero: int
    y_scale: float
    y_zero: int
    shift: int

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.dtype is not DType.INT8:
            raise GraphError(f"QLinearAveragePool takes int8, not {x}")
        return pooled(x, DType.INT8, self.window, self.strides, (0, 0, 0, 0))


@dataclass(frozen=True)
class QLinearSoftmax(Op):
    """exp(x) over its sum along an axis, int8 to int8."""

    kernel: ClassVar[str] = "qlinear_softmax"
    axis: int
    x_scale: float
    y_scale: float
    y_zero: int
    shift: int

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        if x.dtype is not DType.INT8 or not 0 <= self.axis < len(x.shape):
            raise GraphError(f"QLinearSoftmax along axis {self.axis} takes int8, not {x}")
        return (x,)
