"""Operators that reduce along axes; the CPU runs them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...runtime.host.reduce import REDUCTIONS
from ..graph import DType, GraphError, Op, TensorType


def _check_axes(name: str, x: TensorType, axes: Sequence[int]) -> None:
    if any(not 0 <= axis < len(x.shape) for axis in axes):
        raise GraphError(f"{name} cannot reduce {x} along axes {tuple(axes)}")


def _reduced(x: TensorType, axes: Sequence[int], keepdims: bool) -> tuple[int, ...]:
    kept = [(1 if axis in axes else extent) for axis, extent in enumerate(x.shape)]
    return tuple(kept if keepdims else [e for a, e in enumerate(x.shape) if a not in axes])


@dataclass(frozen=True)
class Reduce(Op):
    """A reduction over axes, by its name in `runtime.host.reduce.REDUCTIONS`."""

    kernel: ClassVar[str] = "reduce"
    function: str
    axes: tuple[int, ...]
    keepdims: bool

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        if self.function not in REDUCTIONS:
            raise GraphError(f"no reduction {self.function}; there are {', '.join(REDUCTIONS)}")
        _check_axes("Reduce", x, self.axes)
        return (TensorType(_reduced(x, self.axes, self.keepdims), x.dtype),)


@dataclass(frozen=True)
class Softmax(Op):
    """exp(x) over its sum along an axis, float32; with `log`, the logarithm of that."""

    kernel: ClassVar[str] = "softmax"
    axis: int
    log: bool = False

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        _check_axes("Softmax", x, (self.axis,))
        if x.dtype is not DType.FLOAT32:
            raise GraphError(f"Softmax takes float32, not {x}")
        return (x,)


@dataclass(frozen=True)
class ArgMax(Op):
    """Index, int64, of the greatest element along an axis; of equal ones the first."""

    kernel: ClassVar[str] = "argmax"
    axis: int
    keepdims: bool

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        _check_axes("ArgMax", x, (self.axis,))
        return (TensorType(_reduced(x, (self.axis,), self.keepdims), DType.INT64),)
