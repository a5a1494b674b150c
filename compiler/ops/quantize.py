"""Between float32 and integers, as ONNX defines it; the CPU runs them.

Inputs are x, scale (float32) and zero_point: scalars, or one element for each index of `axis`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..graph import DType, GraphError, Op, TensorType


def _check_parameters(
    name: str, x: TensorType, scale: TensorType, zero_point: TensorType, axis: int
) -> None:
    scalar = scale.shape == ()
    if scale.dtype is not DType.FLOAT32 or zero_point.shape != scale.shape:
        raise GraphError(f"{name} takes scale and zero point of one shape, not {scale}, "
                         f"{zero_point}")  # fmt: skip
    if not scalar and not (0 <= axis < len(x.shape) and scale.shape == (x.shape[axis],)):
        raise GraphError(f"{name} of {x} along axis {axis} cannot take {scale}")


@dataclass(frozen=True)
class QuantizeLinear(Op):
    """round(x / scale) + zero_point, half to even, saturated to the type of zero_point."""

    kernel: ClassVar[str] = "quantize_linear"
    axis: int = 1

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        x, scale, zero_point = inputs
        _check_parameters("QuantizeLinear", x, scale, zero_point, self.axis)
        if x.dtype is not DType.FLOAT32 or zero_point.dtype in (DType.FLOAT32, DType.BOOL):
            raise GraphError(f"QuantizeLinear takes float32 to integers, not {x} to {zero_point}")
        return (TensorType(x.shape, zero_point.dtype),)


@dataclass(frozen=True)
class DequantizeLinear(Op):
    """(x - zero_point) * scale, float32."""

    kernel: ClassVar[str] = "dequantize_linear"
    axis: int = 1

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        x, scale, zero_point = inputs
        _check_parameters("DequantizeLinear", x, scale, zero_point, self.axis)
        if x.dtype is not zero_point.dtype:
            raise GraphError(f"DequantizeLinear takes {x} and a zero point {zero_point}")
        return (TensorType(x.shape, DType.FLOAT32),)
