"""Expressions as text, with no more brackets than needed."""

from .expr import (
    Axis,
    Binary,
    BinaryOp,
    Call,
    Cast,
    Const,
    Expr,
    Parameter,
    Read,
    Real,
    Reduce,
    Select,
)

_STRENGTH = {
    BinaryOp.AND: 1,
    BinaryOp.LT: 2,
    BinaryOp.LE: 2,
    BinaryOp.EQ: 2,
    BinaryOp.SHR: 3,
    BinaryOp.ADD: 4,
    BinaryOp.SUB: 4,
    BinaryOp.MUL: 5,
    BinaryOp.DIV: 5,
    BinaryOp.MOD: 5,
}


def text(expr: Expr, around: int = 0) -> str:
    """Return the expression as it would be written, in brackets if it binds less than `around`."""
    match expr:
        case Const(value) | Real(value):
            return str(value)
        case Axis() | Parameter():
            return expr.name
        case Binary(BinaryOp.MIN | BinaryOp.MAX as op, a, b):
            return f"{op.value}({text(a)}, {text(b)})"
        case Binary(op, a, b):
            strength = _STRENGTH[op]
            written = f"{text(a, strength)} {op.value} {text(b, strength + 1)}"
            return f"({written})" if strength < around else written
        case Select(condition, a, b):
            return f"select({text(condition)}, {text(a)}, {text(b)})"
        case Cast(to, operand):
            return f"{to.value}({text(operand)})"
        case Call(function, operands):
            return f"{function.value}({', '.join(text(operand) for operand in operands)})"
        case Read(tensor, indices):
            return f"{tensor.name}[{', '.join(text(index) for index in indices)}]"
        case Reduce(op, body, axes, _):
            over = ", ".join(axis.name for axis in axes)
            return f"reduce {op.value} over {over} of {text(body)}"
        case _:
            raise AssertionError(type(expr))
