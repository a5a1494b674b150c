"""Going through expressions: what they are made of, and the same with parts replaced."""

from collections.abc import Callable, Mapping

from .expr import Axis, Binary, Call, Cast, Expr, Read, Reduce, Select


def walk(expr: Expr) -> list[Expr]:
    """Return the expression and all that it is made of, outermost first."""
    found = [expr]
    for part in found:
        found.extend(part.parts)
    return found


def reads(expr: Expr) -> list[Read]:
    """Return every read in the expression."""
    return [part for part in walk(expr) if isinstance(part, Read)]


def rewrite(expr: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
    """Return the expression with each part replaced for which `change` gives something else.

    Parts are offered innermost first, with their own parts already replaced.
    """
    match expr:
        case Binary(op, a, b):
            a1, b1 = rewrite(a, change), rewrite(b, change)
            new: Expr = expr if a1 is a and b1 is b else Binary(op, a1, b1)
        case Select(condition, a, b):
            new = Select(rewrite(condition, change), rewrite(a, change), rewrite(b, change))
        case Cast(to, operand):
            new = Cast(to, rewrite(operand, change))
        case Call(function, operands):
            new = Call(function, tuple(rewrite(operand, change) for operand in operands))
        case Read(tensor, indices):
            new = Read(tensor, tuple(rewrite(index, change) for index in indices))
        case Reduce(op, body, axes, initial):
            new = Reduce(op, rewrite(body, change), axes, initial)
        case _:
            new = expr
    changed = change(new)
    return new if changed is None else changed


def substitute(expr: Expr, values: Mapping[Axis, Expr]) -> Expr:
    """Return the expression with axes replaced by what `values` has for them."""
    return rewrite(expr, lambda part: values.get(part) if isinstance(part, Axis) else None)
