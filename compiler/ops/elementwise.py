"""Operators element by element, with NumPy broadcasting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ...runtime.host.elementwise import COMPARISONS, FUNCTIONS
from ..graph import DType, GraphError, Op, TensorType
from .linear import broadcast_shapes


@dataclass(frozen=True)
class Binary(Op):
    """Two tensors of one type in, one out. Integers wrap at their width."""

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        a, b = inputs
        name = type(self).__name__
        if a.dtype is not b.dtype:
            raise GraphError(f"{name} takes two tensors of one type, not {a} and {b}")
        return (TensorType(broadcast_shapes(name, a.shape, b.shape), a.dtype),)


@dataclass(frozen=True)
class Add(Binary):
    """a + b."""

    kernel: ClassVar[str] = "add"


@dataclass(frozen=True)
class Sub(Binary):
    """a - b."""

    kernel: ClassVar[str] = "subtract"


@dataclass(frozen=True)
class Mul(Binary):
    """a * b; of int32 the low 32 bits."""

    kernel: ClassVar[str] = "multiply"


@dataclass(frozen=True)
class Div(Binary):
    """a / b; of integers, toward zero."""

    kernel: ClassVar[str] = "divide"


@dataclass(frozen=True)
class Pow(Binary):
    """a to the power of b."""

    kernel: ClassVar[str] = "power"


@dataclass(frozen=True)
class Maximum(Binary):
    """The greater of a and b; Relu is Maximum(x, 0)."""

    kernel: ClassVar[str] = "maximum"


@dataclass(frozen=True)
class Minimum(Binary):
    """The lesser of a and b."""

    kernel: ClassVar[str] = "minimum"


@dataclass(frozen=True)
class ShiftRight(Binary):
    """a shifted right by b bits, arithmetically; left where b is negative. int32, |b| < 32."""

    kernel: ClassVar[str] = "shift_right"

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        if inputs[0].dtype is not DType.INT32:
            raise GraphError(f"ShiftRight takes int32, not {inputs[0]}")
        return super().infer(inputs)


@dataclass(frozen=True)
class Compare(Op):
    """Whether a and b are "equal", or a is "less" or "less_equal" than b: bool."""

    kernel: ClassVar[str] = "compare"
    function: str

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        a, b = inputs
        if self.function not in COMPARISONS:
            raise GraphError(f"no comparison {self.function}; there are {', '.join(COMPARISONS)}")
        if a.dtype is not b.dtype:
            raise GraphError(f"Compare takes two tensors of one type, not {a} and {b}")
        return (TensorType(broadcast_shapes("Compare", a.shape, b.shape), DType.BOOL),)


@dataclass(frozen=True)
class Where(Op):
    """An element of a where a condition, bool, holds, else of b."""

    kernel: ClassVar[str] = "where"

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        condition, a, b = inputs
        if condition.dtype is not DType.BOOL or a.dtype is not b.dtype:
            raise GraphError(f"Where takes bool and two of one type, not {condition}, {a}, {b}")
        return (TensorType(broadcast_shapes("Where", condition.shape, a.shape, b.shape), a.dtype),)


@dataclass(frozen=True)
class Cast(Op):
    """Another element type: integers keep their low bits, floats lose their fraction."""

    kernel: ClassVar[str] = "cast"
    dtype: DType

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        return (TensorType(x.shape, self.dtype),)


@dataclass(frozen=True)
class Unary(Op):
    """A function of one variable, by its name in `runtime.host.elementwise.FUNCTIONS`."""

    kernel: ClassVar[str] = "unary"
    function: str

    def infer(self, inputs: Sequence[TensorType]) -> tuple[TensorType, ...]:
        (x,) = inputs
        if self.function not in FUNCTIONS:
            raise GraphError(f"no function {self.function}; there are {', '.join(FUNCTIONS)}")
        return (x,)
