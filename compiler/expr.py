"""What is computed: immutable expressions over integer axes, and the tensors they define.

A tensor is a `Placeholder`, which lies in memory, or a `Compute`, whose every element is an
expression of its axes. How it is computed (order, tiles, memories) is said apart, in `schedule`.
"""

import enum
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import inf
from typing import Protocol, TypeAlias


class ExpressionError(ValueError):
    """An expression that means nothing: types that differ, or indices that do not fit."""


class Type(enum.Enum):
    """What an expression's value is; `INDEX` is a whole number without limits."""

    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    INDEX = "index"
    BOOL = "bool"

    @property
    def is_float(self) -> bool:
        """Whether it has a fraction."""
        return self in (Type.FLOAT16, Type.FLOAT32, Type.FLOAT64)

    @property
    def is_unsigned(self) -> bool:
        """Whether it has no numbers below zero."""
        return self in (Type.UINT8, Type.UINT16, Type.UINT32, Type.UINT64, Type.BOOL)

    @property
    def is_byte(self) -> bool:
        """Whether it is an integer of 8 bits."""
        return self in (Type.INT8, Type.UINT8)

    @property
    def is_narrow(self) -> bool:
        """Whether it is only stored, compared and cast: of less than 32 bits."""
        return self.is_byte or self in (Type.INT16, Type.UINT16, Type.FLOAT16, Type.BOOL)


RANGES = {
    Type.INT8: (-(1 << 7), (1 << 7) - 1),
    Type.UINT8: (0, (1 << 8) - 1),
    Type.INT16: (-(1 << 15), (1 << 15) - 1),
    Type.UINT16: (0, (1 << 16) - 1),
    Type.INT32: (-(1 << 31), (1 << 31) - 1),
    Type.UINT32: (0, (1 << 32) - 1),
    Type.INT64: (-(1 << 63), (1 << 63) - 1),
    Type.UINT64: (0, (1 << 64) - 1),
    Type.BOOL: (0, 1),
}
"""The least and greatest value of each type of integer."""

BYTES = {
    Type.INT8: 1,
    Type.UINT8: 1,
    Type.BOOL: 1,
    Type.INT16: 2,
    Type.UINT16: 2,
    Type.INT32: 4,
    Type.UINT32: 4,
    Type.INT64: 8,
    Type.UINT64: 8,
    Type.FLOAT16: 2,
    Type.FLOAT32: 4,
    Type.FLOAT64: 8,
}
"""Of an element in memory."""


class AxisKind(enum.Enum):
    """Whether an axis runs over the elements of a tensor, or over what is folded into each."""

    SPATIAL = "spatial"
    REDUCE = "reduce"


class BinaryOp(enum.Enum):
    """An operation on two operands; its value is how it is written."""

    ADD = "+"
    SUB = "-"
    MUL = "*"
    DIV = "//"
    MOD = "%"
    MIN = "min"
    MAX = "max"
    SHR = ">>"
    LT = "<"
    LE = "<="
    EQ = "=="
    AND = "and"

    @property
    def is_condition(self) -> bool:
        """Whether its value is true or false."""
        return self in (BinaryOp.LT, BinaryOp.LE, BinaryOp.EQ, BinaryOp.AND)

    @property
    def is_commutative(self) -> bool:
        """Whether the operands may change places."""
        return self in (BinaryOp.ADD, BinaryOp.MUL, BinaryOp.MIN, BinaryOp.MAX)


class Function(enum.Enum):
    """A function of floats; `ROUND` is to the nearest whole number, halves to the even one."""

    ABS = "abs"
    ACOS = "acos"
    ACOSH = "acosh"
    ASIN = "asin"
    ASINH = "asinh"
    ATAN = "atan"
    ATANH = "atanh"
    CEIL = "ceil"
    COS = "cos"
    COSH = "cosh"
    ERF = "erf"
    EXP = "exp"
    FLOOR = "floor"
    LOG = "log"
    LOG1P = "log1p"
    POW = "pow"
    ROUND = "round"
    SIN = "sin"
    SINH = "sinh"
    SQRT = "sqrt"
    TAN = "tan"
    TANH = "tanh"


class Expr:
    """An expression. `==` compares structure; `<` and its like build a condition."""

    __slots__ = ()

    @property
    def type(self) -> Type:
        """What its value is."""
        raise NotImplementedError

    @property
    def parts(self) -> "tuple[Expr, ...]":
        """The expressions that it is made of."""
        return ()

    def __add__(self, other: "Operand") -> "Expr":
        return _binary(BinaryOp.ADD, self, other)

    def __radd__(self, other: int) -> "Expr":
        return _binary(BinaryOp.ADD, other, self)

    def __sub__(self, other: "Operand") -> "Expr":
        return _binary(BinaryOp.SUB, self, other)

    def __rsub__(self, other: int) -> "Expr":
        return _binary(BinaryOp.SUB, other, self)

    def __mul__(self, other: "Operand") -> "Expr":
        return _binary(BinaryOp.MUL, self, other)

    def __rmul__(self, other: int) -> "Expr":
        return _binary(BinaryOp.MUL, other, self)

    def __floordiv__(self, other: "Operand") -> "Expr":
        return _binary(BinaryOp.DIV, self, other)

    def __mod__(self, other: "Operand") -> "Expr":
        return _binary(BinaryOp.MOD, self, other)

    def __rshift__(self, other: "Operand") -> "Expr":
        return _binary(BinaryOp.SHR, self, other)

    def __lt__(self, other: "Operand") -> "Expr":
        return _binary(BinaryOp.LT, self, other)

    def __le__(self, other: "Operand") -> "Expr":
        return _binary(BinaryOp.LE, self, other)

    def __gt__(self, other: "Operand") -> "Expr":
        return _binary(BinaryOp.LT, other, self)

    def __ge__(self, other: "Operand") -> "Expr":
        return _binary(BinaryOp.LE, other, self)

    def __str__(self) -> str:
        from .text import text  # which knows all expressions, and so comes after them

        return text(self)


Operand: TypeAlias = Expr | int


@dataclass(frozen=True)
class Const(Expr):
    """A number known now."""

    value: int
    kind: Type = Type.INDEX

    @property
    def type(self) -> Type:
        """What its value is."""
        return self.kind

    __str__ = Expr.__str__


@dataclass(frozen=True)
class Real(Expr):
    """A number with a fraction, known now."""

    value: float
    kind: Type = Type.FLOAT32

    @property
    def type(self) -> Type:
        """What its value is."""
        return self.kind

    __str__ = Expr.__str__


@dataclass(frozen=True, eq=False)
class Axis(Expr):
    """An index that takes the values 0 to `extent` - 1. Identity is the object's."""

    name: str
    extent: int
    kind: AxisKind = AxisKind.SPATIAL

    @property
    def type(self) -> Type:
        """What its value is."""
        return Type.INDEX

    __str__ = Expr.__str__


@dataclass(frozen=True)
class Parameter(Expr):
    """A number that an intrinsic leaves open, from `low` to `high`: any constant matches it."""

    name: str
    kind: Type
    low: int = 0
    high: int = 1

    @property
    def type(self) -> Type:
        """What its value is."""
        return self.kind

    __str__ = Expr.__str__


@dataclass(frozen=True)
class Binary(Expr):
    """`a op b`. Arithmetic of INT32 and INT64 wraps; `>>` is arithmetic, by a negative count to the
    left. `//` of an INDEX rounds down, of other integers toward zero (by zero: 0); floats divide.
    """

    op: BinaryOp
    a: Expr
    b: Expr

    @property
    def type(self) -> Type:
        """What its value is."""
        return Type.BOOL if self.op.is_condition else self.a.type

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The expressions that it is made of."""
        return self.a, self.b

    __str__ = Expr.__str__


@dataclass(frozen=True)
class Select(Expr):
    """`a` where the condition holds, `b` elsewhere; what is not chosen need not exist."""

    condition: Expr
    a: Expr
    b: Expr

    @property
    def type(self) -> Type:
        """What its value is."""
        return self.a.type

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The expressions that it is made of."""
        return self.condition, self.a, self.b

    __str__ = Expr.__str__


@dataclass(frozen=True)
class Cast(Expr):
    """The operand as another type: integers keep their value or their low bits, floats lose their
    fraction, and what is not zero is true.
    """

    to: Type
    operand: Expr

    @property
    def type(self) -> Type:
        """What its value is."""
        return self.to

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The expressions that it is made of."""
        return (self.operand,)

    __str__ = Expr.__str__


@dataclass(frozen=True)
class Call(Expr):
    """A function of operands of one type, which is its own too."""

    function: Function
    operands: tuple[Expr, ...]

    @property
    def type(self) -> Type:
        """What its value is."""
        return self.operands[0].type

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The expressions that it is made of."""
        return self.operands

    __str__ = Expr.__str__


@dataclass(frozen=True)
class Read(Expr):
    """One element of a tensor."""

    tensor: "Tensor"
    indices: tuple[Expr, ...]

    @property
    def type(self) -> Type:
        """What its value is."""
        return self.tensor.element

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The expressions that it is made of."""
        return self.indices

    __str__ = Expr.__str__


@dataclass(frozen=True)
class Reduce(Expr):
    """`initial op body op body ...` over every value of `axes`; op is ADD, MUL, MAX or MIN.

    Integers are folded in any order; so are floats, which may round differently then.
    """

    op: BinaryOp
    body: Expr
    axes: tuple[Axis, ...]
    initial: float

    @property
    def type(self) -> Type:
        """What its value is."""
        return self.body.type

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The expressions that it is made of."""
        return (self.body,)

    __str__ = Expr.__str__


class Tensor:
    """An array. Identity is the object's; names are for people.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Extents, outermost first. On VTA the last two are a tile: (batch, block), or
        (block_out, block_in) of weights.
    element : Type
        INT8 or INT32 on VTA; on the CPU any but INDEX.
    """

    def __init__(self, name: str, shape: Sequence[int], element: Type) -> None:
        self.name = name
        self.shape = tuple(shape)
        self.element = element
        for extent in self.shape:
            if extent < 1:
                raise ExpressionError(f"{name} has shape {self.shape}; extents are at least 1")

    def __getitem__(self, indices: "Operand | tuple[Operand, ...]") -> Read:
        given = indices if isinstance(indices, tuple) else (indices,)
        if len(given) != len(self.shape):
            raise ExpressionError(
                f"{self.name} has {len(self.shape)} axes and is read with {len(given)} indices"
            )
        return Read(self, tuple(_operand(index, Type.INDEX) for index in given))

    def __str__(self) -> str:
        return f"{self.name}: {self.element.value}({', '.join(map(str, self.shape))})"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


class Placeholder(Tensor):
    """A tensor that is given: it lies in DRAM."""


class Compute(Tensor):
    """A tensor whose element at `axes` is `body`."""

    def __init__(
        self, name: str, shape: Sequence[int], element: Type, axes: tuple[Axis, ...], body: Expr
    ) -> None:
        super().__init__(name, shape, element)
        self.axes = axes
        self.body = body


def placeholder(name: str, shape: Sequence[int], element: Type) -> Placeholder:
    """Return a tensor that lies in DRAM."""
    return Placeholder(name, shape, element)


class _AnyRank(Protocol):
    def __call__(self, *axes: Axis) -> Expr: ...


Element: TypeAlias = (
    _AnyRank
    | Callable[[Axis], Expr]
    | Callable[[Axis, Axis], Expr]
    | Callable[[Axis, Axis, Axis], Expr]
    | Callable[[Axis, Axis, Axis, Axis], Expr]
    | Callable[[Axis, Axis, Axis, Axis, Axis], Expr]
    | Callable[[Axis, Axis, Axis, Axis, Axis, Axis], Expr]
)
"""An element as a function of the tensor's axes."""


def compute(name: str, shape: Sequence[int], body: Element) -> Compute:
    """Return the tensor whose element at (i, j, ...) is `body(i, j, ...)`.

    Raises
    ------
    ExpressionError
        When the body is an INDEX, or holds a reduction that is not all of it.
    """
    arguments = list(inspect.signature(body).parameters.values())
    if any(argument.kind is inspect.Parameter.VAR_POSITIONAL for argument in arguments):
        names = [f"i{number}" for number in range(len(shape))]
    else:
        names = [argument.name for argument in arguments]
    if len(names) != len(shape):
        raise ExpressionError(
            f"{name} has {len(shape)} axes and its body takes {len(names)}: {', '.join(names)}"
        )
    axes = tuple(Axis(axis, extent) for axis, extent in zip(names, shape, strict=True))
    function: Callable[..., Expr] = body
    return _defined(name, axes, function(*axes))


def _defined(name: str, axes: tuple[Axis, ...], value: Expr) -> Compute:
    if value.type is Type.INDEX:
        raise ExpressionError(f"{name} would hold indices; cast them to an int32 or int64")
    inner = value.body if isinstance(value, Reduce) else value
    if _reduces(inner):
        raise ExpressionError(
            f"{name} reduces inside a larger expression; give the reduction a tensor of its own"
        )
    return Compute(name, [axis.extent for axis in axes], value.type, axes, value)


def elementwise(name: str, like: Tensor, body: Callable[[tuple[Axis, ...]], Expr]) -> Compute:
    """Return the tensor of the shape of `like` whose element at `axes` is `body(axes)`."""
    named = like.axes if isinstance(like, Compute) else None
    names = [axis.name for axis in named] if named else [f"i{n}" for n in range(len(like.shape))]
    axes = tuple(Axis(axis, extent) for axis, extent in zip(names, like.shape, strict=True))
    return _defined(name, axes, body(axes))


def reduce_axis(extent: int, name: str) -> Axis:
    """Return an axis to reduce over."""
    return Axis(name, extent, AxisKind.REDUCE)


def constant(value: float, kind: Type) -> Expr:
    """Return a number as an expression."""
    return Real(float(value), kind) if kind.is_float else Const(int(value), kind)


def call(function: Function, *operands: Expr) -> Expr:
    """Return a function of floats of one type."""
    for operand in operands:
        if not operand.type.is_float or operand.type is not operands[0].type:
            kinds = ", ".join(operand.type.value for operand in operands)
            raise ExpressionError(f"{function.value} takes floats of one type, not {kinds}")
    return Call(function, operands)


def total(body: Expr, over: Sequence[Axis]) -> Reduce:
    """Return the sum of `body` over the axes."""
    return Reduce(BinaryOp.ADD, body, tuple(over), 0)


def product(body: Expr, over: Sequence[Axis]) -> Reduce:
    """Return the product of `body` over the axes."""
    return Reduce(BinaryOp.MUL, body, tuple(over), 1)


def largest(body: Expr, over: Sequence[Axis], initial: float | None = None) -> Reduce:
    """Return the largest of `initial` and `body` over the axes.

    `initial` is by default the least value that `body` can have: -128 for what was an INT8.
    """
    return Reduce(BinaryOp.MAX, body, tuple(over), _limits(body)[0] if initial is None else initial)


def smallest(body: Expr, over: Sequence[Axis], initial: float | None = None) -> Reduce:
    """Return the smallest of `initial` and `body` over the axes; see `largest`."""
    return Reduce(BinaryOp.MIN, body, tuple(over), _limits(body)[1] if initial is None else initial)


def maximum(a: Operand, b: Operand) -> Expr:
    """Return the larger of the two."""
    return _binary(BinaryOp.MAX, a, b)


def minimum(a: Operand, b: Operand) -> Expr:
    """Return the smaller of the two."""
    return _binary(BinaryOp.MIN, a, b)


def all_of(*conditions: Expr) -> Expr:
    """Return the condition that all of them hold."""
    return reduce(lambda a, b: Binary(BinaryOp.AND, a, b), conditions)


def select(condition: Expr, a: Operand, b: Operand) -> Expr:
    """Return `a` where the condition holds and `b` elsewhere."""
    first, second = _pair(a, b)
    if condition.type is not Type.BOOL:
        raise ExpressionError(f"{condition} is {condition.type.value}; a condition is wanted")
    return Select(condition, first, second)


def cast(operand: Expr, to: Type) -> Expr:
    """Return the operand as another type."""
    return operand if operand.type is to else Cast(to, operand)


def _operand(value: Operand, type_: Type) -> Expr:
    return value if isinstance(value, Expr) else constant(value, type_)


def _pair(a: Operand, b: Operand) -> tuple[Expr, Expr]:
    wanted = a.type if isinstance(a, Expr) else b.type if isinstance(b, Expr) else Type.INDEX
    first, second = _operand(a, wanted), _operand(b, wanted)
    if first.type is not second.type:
        raise ExpressionError(
            f"{first} is {first.type.value} and {second} {second.type.value}; cast one of them"
        )
    return first, second


def _binary(op: BinaryOp, a: Operand, b: Operand) -> Expr:
    first, second = _pair(a, b)
    orders = op.is_condition or op in (BinaryOp.MIN, BinaryOp.MAX)
    if first.type.is_byte and not orders:
        raise ExpressionError(f"{first} is {first.type.value}; cast it to int32 before arithmetic")
    if op is BinaryOp.MOD and first.type is not Type.INDEX:
        raise ExpressionError(f"{first} is {first.type.value}; only indices have a remainder")
    return Binary(op, first, second)


def _reduces(expr: Expr) -> bool:
    if isinstance(expr, Reduce):
        return True
    return any(_reduces(part) for part in expr.parts)


def _limits(expr: Expr) -> tuple[float, float]:
    if expr.type.is_float:
        return -inf, inf
    match expr:
        case Const(value):
            return value, value
        case Cast(_, operand) if operand.type.is_byte:
            return _limits(operand)
        case Select(_, a, b):
            (low, high), (low_b, high_b) = _limits(a), _limits(b)
            return min(low, low_b), max(high, high_b)
        case Read(Compute() as tensor) if not isinstance(tensor.body, Reduce):
            return _limits(tensor.body)
        case _:
            return RANGES[expr.type]
