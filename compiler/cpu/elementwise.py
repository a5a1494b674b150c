"""Operators element by element as expressions."""

from collections.abc import Callable, Sequence

from ..expr import (
    RANGES,
    Binary,
    BinaryOp,
    Call,
    Const,
    Expr,
    Function,
    Type,
    call,
    cast,
    constant,
    maximum,
    minimum,
    select,
)
from ..graph import Node, Value
from ..ops import elementwise as ops
from ..ops import logic
from ..ops.quantize import DequantizeLinear, QuantizeLinear
from .operands import widened
from .stored import TYPES

ELEMENTWISE = (
    ops.Binary,
    ops.Cast,
    ops.Unary,
    logic.Comparison,
    logic.Where,
    QuantizeLinear,
    DequantizeLinear,
)
"""What is computed element by element."""

Element = Callable[[Value, Sequence[Expr]], Expr]
"""A value's element at indices that it broadcasts to."""

_BINARY: dict[type[ops.Binary], BinaryOp] = {
    ops.Add: BinaryOp.ADD,
    ops.Sub: BinaryOp.SUB,
    ops.Mul: BinaryOp.MUL,
    ops.Div: BinaryOp.DIV,
    ops.Maximum: BinaryOp.MAX,
    ops.Minimum: BinaryOp.MIN,
    ops.ShiftRight: BinaryOp.SHR,
}
_COMPARED: dict[type[logic.Comparison], BinaryOp] = {
    logic.Equal: BinaryOp.EQ,
    logic.Less: BinaryOp.LT,
    logic.LessOrEqual: BinaryOp.LE,
}
_CALLS = {
    "abs": Function.ABS,
    "acos": Function.ACOS,
    "acosh": Function.ACOSH,
    "asin": Function.ASIN,
    "asinh": Function.ASINH,
    "atan": Function.ATAN,
    "atanh": Function.ATANH,
    "ceil": Function.CEIL,
    "cos": Function.COS,
    "cosh": Function.COSH,
    "erf": Function.ERF,
    "exp": Function.EXP,
    "floor": Function.FLOOR,
    "log": Function.LOG,
    "round": Function.ROUND,
    "sin": Function.SIN,
    "sinh": Function.SINH,
    "sqrt": Function.SQRT,
    "tan": Function.TAN,
    "tanh": Function.TANH,
}


def express(node: Node, at: Sequence[Expr], element: Element) -> Expr:
    """Return the element of a node's result at some indices."""
    kind = TYPES[node.output.dtype]
    match node.op:
        case ops.Pow():
            a, b = (element(value, at) for value in node.inputs)
            return _power(a, b, kind)
        case ops.Binary() as op:
            a, b = (element(value, at) for value in node.inputs)
            return arithmetic(_BINARY[type(op)], a, b)
        case logic.Comparison() as op:
            a, b = (element(value, at) for value in node.inputs)
            return Binary(_COMPARED[type(op)], a, b)
        case logic.Where():
            condition, a, b = (element(value, at) for value in node.inputs)
            return select(condition, a, b)
        case ops.Cast():
            return convert(element(node.inputs[0], at), kind)
        case ops.Unary(function):
            return _unary(function, element(node.inputs[0], at))
        case QuantizeLinear(axis):
            return _quantized(node, at, element, axis)
        case DequantizeLinear(axis):
            x, scale, zero = _parameters(node, at, element, axis)
            return _difference(x, zero) * scale
        case op:
            raise AssertionError(f"{op} is not element by element")


def convert(value: Expr, to: Type) -> Expr:
    """Return a value as another type."""
    if value.type is Type.INT8 and to is Type.INT32:
        return widened(value)
    return cast(value, to)


def arithmetic(op: BinaryOp, a: Expr, b: Expr) -> Expr:
    """Return `a op b`, which of bytes wraps like all else."""
    ordered = op in (BinaryOp.MIN, BinaryOp.MAX)
    if a.type is Type.BOOL or (a.type.is_narrow and not ordered):
        wide = Type.FLOAT32 if a.type.is_float else Type.INT32
        return cast(Binary(op, convert(a, wide), convert(b, wide)), a.type)
    return Binary(op, a, b)


def _power(a: Expr, b: Expr, kind: Type) -> Expr:
    """Return a to the power of b, which may be of another type."""
    wide = kind if kind.is_float and not kind.is_narrow else Type.FLOAT64
    raised = call(Function.POW, convert(a, wide), convert(b, wide))
    if kind.is_float:
        return convert(raised, kind)
    return cast(cast(raised, Type.INT64), kind)


def _unary(function: str, x: Expr) -> Expr:
    if x.type is Type.FLOAT16:
        return cast(_unary(function, cast(x, Type.FLOAT32)), x.type)
    if not x.type.is_float:
        if function == "abs":
            if x.type.is_unsigned:
                return x
            wide = x if x.type is Type.INT64 else convert(x, Type.INT32)
            return cast(maximum(wide, constant(0, wide.type) - wide), x.type)
        if function in ("ceil", "floor", "round"):
            return x
        return cast(_unary(function, cast(x, Type.FLOAT64)), x.type)
    zero, one = constant(0, x.type), constant(1, x.type)
    small = Call(Function.EXP, (zero - call(Function.ABS, x),))
    match function:
        case "sigmoid":
            return select(zero <= x, _over(one, one + small), _over(small, one + small))
        case "sign":
            minus = constant(-1, x.type)
            return select(x < zero, minus, select(zero < x, one, x))
        case "softplus":
            return maximum(x, zero) + call(Function.LOG1P, small)
        case _:
            return call(_CALLS[function], x)


def _parameters(
    node: Node, at: Sequence[Expr], element: Element, axis: int
) -> tuple[Expr, Expr, Expr]:
    """Return x, scale and zero point, which may be numbers along an axis."""
    x, scale, zero = node.inputs
    along: list[Expr] = []
    if scale.shape:
        along = [Const(0), at[1]] if axis == 1 else [at[axis]]
    return element(x, at), element(scale, along), element(zero, along)


def _over(a: Expr, b: Expr) -> Expr:
    return Binary(BinaryOp.DIV, a, b)


def _difference(x: Expr, zero: Expr) -> Expr:
    wide = Type.INT32 if x.type.is_byte else Type.INT64
    return cast(convert(x, wide) - convert(zero, wide), Type.FLOAT32)


def _quantized(node: Node, at: Sequence[Expr], element: Element, axis: int) -> Expr:
    x, scale, zero = _parameters(node, at, element, axis)
    to = zero.type
    wide = Type.FLOAT32 if to.is_byte else Type.FLOAT64
    scaled = cast(call(Function.ROUND, _over(x, scale)), wide)
    if zero != Const(0, to):
        scaled = scaled + cast(zero, wide)
    low, high = RANGES[to]
    # What is not a number is not under the least value; the greater of both is the second then.
    clipped = minimum(maximum(constant(low, wide), scaled), constant(high, wide))
    number = select(Binary(BinaryOp.EQ, x, x), clipped, constant(low, wide))
    return cast(cast(number, Type.INT32 if to.is_byte else Type.INT64), to)
