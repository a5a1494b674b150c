"""Operators that compare element by element, and choose, with NumPy broadcasting.

What is true or false has the type bool, of which Minimum is "and", Maximum is "or", and Equal to
false is "not".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..graph import DType, GraphError, Op, TensorType
from .linear import broadcast_shapes


@dataclass(frozen=True)
class Comparison(Op):
    """Two tensors of one type in, a bool out. What is not a number is none of all three."""

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        a, b = inputs
        name = type(self).__name__
        if a.dtype is not b.dtype:
            raise GraphError(f"{name} takes two tensors of one type, not {a} and {b}")
        return (TensorType(broadcast_shapes(name, a.shape, b.shape), DType.BOOL),)


@dataclass(frozen=True)
class Equal(Comparison):
    """Whether a is b."""

    kernel: ClassVar[str] = "equal"


@dataclass(frozen=True)
class Less(Comparison):
    """Whether a is less than b."""

    kernel: ClassVar[str] = "less"


@dataclass(frozen=True)
class LessOrEqual(Comparison):
    """Whether a is less than b, or is b."""

    kernel: ClassVar[str] = "less_or_equal"


@dataclass(frozen=True)
class Where(Op):
    """a where the condition (bool) holds, b elsewhere; a and b are of one type."""

    kernel: ClassVar[str] = "where"

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        condition, a, b = inputs
        if condition.dtype is not DType.BOOL or a.dtype is not b.dtype:
            raise GraphError(
                f"Where takes a bool and two tensors of one type, not {condition}, {a} and {b}"
            )
        shape = broadcast_shapes("Where", condition.shape, a.shape, b.shape)
        return (TensorType(shape, a.dtype),)
