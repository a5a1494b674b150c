"""Arithmetic on indices: sums of axes, least and greatest of several, and what they range over.

An index is kept as `Affine`, a constant plus whole multiples of atoms, where an atom is an axis or
something that is no sum (a quotient, a remainder, a minimum). A bound of a clipped tile is the
least or greatest of several of them: min(4*y_o + 4, 14). `simplify` brings any index into that
form and drops what can never be the least, for which it needs only the axes' extents.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import reduce
from math import gcd

from .expr import RANGES, Axis, Binary, BinaryOp, Cast, Const, Expr, Read, Select, Type
from .walk import rewrite, walk


@dataclass(frozen=True)
class Affine:
    """`constant` plus the sum of coefficient times atom. Coefficients are never 0."""

    constant: int
    terms: tuple[tuple[Expr, int], ...] = ()

    def __add__(self, other: "Affine") -> "Affine":
        if not other.terms:
            return Affine(self.constant + other.constant, self.terms)
        terms = dict(self.terms)
        for atom, coefficient in other.terms:
            terms[atom] = terms.get(atom, 0) + coefficient
        kept = tuple((atom, coefficient) for atom, coefficient in terms.items() if coefficient)
        return Affine(self.constant + other.constant, kept)

    def __sub__(self, other: "Affine") -> "Affine":
        return self + other.scaled(-1)

    def scaled(self, factor: int) -> "Affine":
        """Return it times `factor`."""
        if factor == 0:
            return Affine(0)
        terms = tuple((atom, coefficient * factor) for atom, coefficient in self.terms)
        return Affine(self.constant * factor, terms)

    def coefficient(self, atom: Expr) -> int:
        """Return what `atom` is multiplied by."""
        return dict(self.terms).get(atom, 0)

    def split(self, axes: Collection[Axis]) -> tuple["Affine", dict[Axis, int]] | None:
        """Return the rest and the coefficient of each of `axes`; None if one is inside an atom."""
        rest: list[tuple[Expr, int]] = []
        found: dict[Axis, int] = {}
        for atom, coefficient in self.terms:
            if isinstance(atom, Axis) and atom in axes:
                found[atom] = coefficient
            elif depends(atom, axes):
                return None
            else:
                rest.append((atom, coefficient))
        return Affine(self.constant, tuple(rest)), found

    def divided(self, divisor: int) -> "Affine | None":
        """Return it over `divisor`; None if that leaves a rest."""
        if self.constant % divisor or any(c % divisor for _, c in self.terms):
            return None
        terms = tuple((atom, coefficient // divisor) for atom, coefficient in self.terms)
        return Affine(self.constant // divisor, terms)

    def limits(self) -> tuple[int, int]:
        """Return numbers that it is never under and never over."""
        low = high = self.constant
        for atom, coefficient in self.terms:
            least, most = limits(atom)
            low += min(least * coefficient, most * coefficient)
            high += max(least * coefficient, most * coefficient)
        return low, high

    def compared(self, op: BinaryOp) -> Expr:
        """Return the condition `self op 0` with nothing negative on either side."""
        left = tuple((atom, c) for atom, c in self.terms if c > 0)
        right = tuple((atom, -c) for atom, c in self.terms if c < 0)
        a = Affine(max(self.constant, 0), left)
        return Binary(op, a.expr(), Affine(max(-self.constant, 0), right).expr())

    def expr(self) -> Expr:
        """Return it as an expression, what is added before what is subtracted."""
        value: Expr | None = None
        constant = self.constant
        for atom, coefficient in sorted(self.terms, key=lambda term: term[1] < 0):
            size = abs(coefficient)
            term = atom if size == 1 else Binary(BinaryOp.MUL, atom, Const(size))
            if value is None and coefficient < 0:
                value, constant = Const(constant), 0
            if value is None:
                value = term
            else:
                op = BinaryOp.ADD if coefficient > 0 else BinaryOp.SUB
                value = Binary(op, value, term)
        if value is None:
            return Const(constant)
        if constant == 0:
            return value
        op = BinaryOp.ADD if constant > 0 else BinaryOp.SUB
        return Binary(op, value, Const(abs(constant)))


def affine(expr: Expr) -> Affine:
    """Return the index as a sum; least and greatest stay atoms."""
    match expr:
        case Const(value):
            return Affine(value)
        case Binary(BinaryOp.ADD, a, b):
            return affine(a) + affine(b)
        case Binary(BinaryOp.SUB, a, b):
            return affine(a) - affine(b)
        case Binary(BinaryOp.MUL, a, Const(factor)) | Binary(BinaryOp.MUL, Const(factor), a):
            return affine(a).scaled(factor)
        case Axis():
            return Affine(0, ((expr, 1),)) if expr.extent > 1 else Affine(0)
        case Cast():  # a number out of a tensor
            return Affine(0, ((expr, 1),))
        case _:
            simple = simplify(expr)
            if isinstance(simple, Binary) and simple.op in _ATOMS:
                return Affine(0, ((simple, 1),))
            return affine(simple)


def depends(expr: Expr, axes: Collection[Axis]) -> bool:
    """Return whether one of the axes occurs in the expression."""
    if isinstance(expr, Axis):
        return expr in axes
    return any(isinstance(part, Axis) and part in axes for part in walk(expr))


def simplify(expr: Expr) -> Expr:
    """Return an equal index or condition: sums gathered, what never matters dropped.

    min(y_o*4 + 4, 14) - y_o*4    →    min(4, 14 - y_o*4)
    """
    match expr:
        case Const() | Axis():
            return expr
        case Binary(BinaryOp.AND, a, b):
            first, second = simplify(a), simplify(b)
            if first == _TRUE or second == _FALSE:
                return second
            if second == _TRUE or first == _FALSE:
                return first
            return Binary(BinaryOp.AND, first, second)
        case Binary(BinaryOp.LT | BinaryOp.LE | BinaryOp.EQ as op, a, b):
            if a.type is not Type.INDEX:  # numbers out of tensors
                return Binary(op, tidy(a), tidy(b))
            return _condition(op, a, b)
        case _ if expr.type is Type.BOOL:
            return expr
        case _:
            return _form(expr).expr()


def limits(expr: Expr) -> tuple[int, int]:
    """Return numbers that the index is never under and never over, axes being 0..extent - 1."""
    match expr:
        case Const(value):
            return value, value
        case Axis():
            return 0, expr.extent - 1
        case Binary(BinaryOp.DIV, a, Const(divisor)):
            low, high = limits(a)
            return low // divisor, high // divisor
        case Binary(BinaryOp.MOD, a, Const(divisor)):
            low, high = limits(a)
            return (low, high) if low >= 0 and high < divisor else (0, divisor - 1)
        case Cast(_, operand):
            return RANGES[operand.type]
        case _:
            return _form(expr).limits()


def extremes(expr: Expr, free: Collection[Axis]) -> tuple[Expr, Expr]:
    """Return the least and greatest value as the `free` axes take all of theirs.

    Both are indices of the other axes. They may lie further out than what is reached, never nearer.
    """
    form = _form(expr)
    low, high = zip(*(_ends(part, free) for part in form.parts), strict=True)
    return (
        _Form(form.op, tuple(low)).pruned().expr(),
        _Form(form.op, tuple(high)).pruned().expr(),
    )


def bind(expr: Expr, values: Mapping[Axis, Expr]) -> Expr:
    """Return the expression with axes replaced, its indices and conditions simplified again."""

    def change(part: Expr) -> Expr | None:
        return values.get(part) if isinstance(part, Axis) else None

    return tidy(rewrite(expr, change))


def tidy(expr: Expr) -> Expr:
    """Return the expression with every index in it gathered into a sum (minima left where they are)
    and every condition simplified."""
    if expr.type is Type.BOOL:
        return simplify(expr)
    if expr.type is Type.INDEX:
        return affine(expr).expr()
    return rewrite(expr, _tidy_part)


def _tidy_part(part: Expr) -> Expr | None:
    match part:
        case Read(tensor, indices):
            return Read(tensor, tuple(affine(index).expr() for index in indices))
        case Select(condition, a, b):
            simple = simplify(condition)
            return a if simple == _TRUE else b if simple == _FALSE else Select(simple, a, b)
        case _:
            return None


_ATOMS = (BinaryOp.MIN, BinaryOp.MAX, BinaryOp.DIV, BinaryOp.MOD)
_TRUE = Const(1, Type.BOOL)
_FALSE = Const(0, Type.BOOL)


def _condition(op: BinaryOp, a: Expr, b: Expr) -> Expr:
    form = _form(Binary(BinaryOp.SUB, a, b))
    if op is BinaryOp.EQ:
        low, high = form.limits()
        if low > 0 or high < 0 or low == high:
            return _TRUE if low == high == 0 else _FALSE
        return Binary(op, simplify(a), simplify(b))
    most = -1 if op is BinaryOp.LT else 0
    low, high = form.limits()
    if high <= most or low > most:
        return _TRUE if high <= most else _FALSE
    if form.op is BinaryOp.MIN and len(form.parts) > 1:
        return Binary(op, simplify(a), simplify(b))
    left = [part.compared(op) for part in form.parts if part.limits()[1] > most]
    return reduce(lambda first, second: Binary(BinaryOp.AND, first, second), left)


def _ends(part: Affine, free: Collection[Axis]) -> tuple[Affine, Affine]:
    low = high = Affine(part.constant)
    for atom, coefficient in part.terms:
        if depends(atom, free):
            least, most = (Affine(end) for end in limits(atom))
        else:
            least = most = Affine(0, ((atom, 1),))
        if coefficient < 0:
            least, most = most, least
        low, high = low + least.scaled(coefficient), high + most.scaled(coefficient)
    return low, high


@dataclass(frozen=True)
class _Form:
    """The MIN or the MAX of several sums, or one sum."""

    op: BinaryOp
    parts: tuple[Affine, ...]

    def as_one(self) -> "_Form":
        return self if len(self.parts) == 1 else _single(Affine(0, ((self.expr(), 1),)))

    def mapped(self, change: Callable[[Affine], Affine]) -> "_Form":
        return _Form(self.op, tuple(change(part) for part in self.parts))

    def negated(self) -> "_Form":
        op = BinaryOp.MAX if self.op is BinaryOp.MIN else BinaryOp.MIN
        return _Form(op, tuple(part.scaled(-1) for part in self.parts))

    def plus(self, other: "_Form") -> "_Form":
        if len(self.parts) > 1 and len(other.parts) > 1 and self.op is not other.op:
            other = other.as_one()
        op = other.op if len(self.parts) == 1 else self.op
        return _Form(op, tuple(a + b for a in self.parts for b in other.parts)).pruned()

    def minus(self, other: "_Form") -> "_Form":
        if self.op is other.op and len(self.parts) == len(other.parts):
            apart = {a - b for a, b in zip(self.parts, other.parts, strict=True)}
            if len(apart) == 1:  # min(a + d, b + d) - min(a, b)
                return _single(apart.pop())
        return self.plus(other.negated())

    def pruned(self) -> "_Form":
        if len(self.parts) == 1:
            return self
        sign = 1 if self.op is BinaryOp.MIN else -1
        kept: list[Affine] = []
        for part in dict.fromkeys(self.parts):
            if any((part - other).scaled(sign).limits()[0] >= 0 for other in kept):
                continue
            kept = [other for other in kept if (other - part).scaled(sign).limits()[0] < 0]
            kept.append(part)
        return _Form(self.op, tuple(kept))

    def limits(self) -> tuple[int, int]:
        choose = min if self.op is BinaryOp.MIN else max
        ends = [part.limits() for part in self.parts]
        return choose(low for low, _ in ends), choose(high for _, high in ends)

    def expr(self) -> Expr:
        value = self.parts[0].expr()
        for part in self.parts[1:]:
            value = Binary(self.op, value, part.expr())
        return value


def _single(part: Affine) -> _Form:
    return _Form(BinaryOp.MIN, (part,))


def _form(expr: Expr) -> _Form:
    match expr:
        case Const(value):
            return _single(Affine(value))
        case Axis():
            return _single(affine(expr))
        case Binary(BinaryOp.ADD, a, b):
            return _form(a).plus(_form(b))
        case Binary(BinaryOp.SUB, a, b):
            return _form(a).minus(_form(b))
        case Binary(BinaryOp.MUL, a, Const(factor)) | Binary(BinaryOp.MUL, Const(factor), a):
            form = _form(a) if factor >= 0 else _form(a).negated()
            return form.mapped(lambda part: part.scaled(abs(factor))).pruned()
        case Binary(BinaryOp.MIN | BinaryOp.MAX as op, a, b):
            forms = [_form(a), _form(b)]
            forms = [form if form.op is op else form.as_one() for form in forms]
            return _Form(op, tuple(part for form in forms for part in form.parts)).pruned()
        case Binary(BinaryOp.DIV, a, Const(divisor)):
            return _form(a).mapped(lambda part: _quotient(part, divisor)).pruned()
        case Binary(BinaryOp.MOD, a, Const(divisor)):
            form = _form(a).as_one()
            return form.mapped(lambda part: _remainder(part, divisor))
        case _:
            return _single(Affine(0, ((expr, 1),)))


def _whole(part: Affine, divisor: int) -> tuple[Affine, Affine]:
    """Cut a sum into what `divisor` divides and the rest."""
    whole = tuple((atom, c) for atom, c in part.terms if c % divisor == 0)
    rest = tuple((atom, c) for atom, c in part.terms if c % divisor)
    keep = part.constant % divisor
    return Affine(part.constant - keep, whole), Affine(keep, rest)


def _quotient(part: Affine, divisor: int) -> Affine:
    whole, rest = _whole(part, divisor)
    quotient = whole.divided(divisor)
    assert quotient is not None
    low, high = rest.limits()
    if low // divisor == high // divisor:
        return quotient + Affine(low // divisor)
    for factor in sorted({gcd(c, divisor) for _, c in rest.terms} - {1}, reverse=True):
        multiple, below = _whole(rest, factor)  # (2 a + b) // 6 is a // 3 where b is 0 or 1
        low, high = below.limits()
        if low >= 0 and high < factor:
            parts = multiple.divided(factor)
            assert parts is not None
            return quotient + _quotient(parts, divisor // factor)
    return quotient + Affine(0, ((Binary(BinaryOp.DIV, rest.expr(), Const(divisor)), 1),))


def _remainder(part: Affine, divisor: int) -> Affine:
    rest = _whole(part, divisor)[1]
    low, high = rest.limits()
    if low // divisor == high // divisor:
        return rest - Affine(low // divisor * divisor)
    return Affine(0, ((Binary(BinaryOp.MOD, rest.expr(), Const(divisor)), 1),))
