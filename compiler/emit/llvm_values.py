"""Expressions as LLVM IR: indices, elements in memory, and arithmetic on numbers and vectors.

One axis at a time may be *the lanes*: what depends on it is a vector, all else a number, which
is repeated where it meets a vector.
"""
# pyright: basic
# (llvmlite has no types)

from collections.abc import Collection, Sequence
from typing import Any

from llvmlite import ir

from ..affine import Affine, affine, depends, limits
from ..expr import (
    BYTES,
    Axis,
    Binary,
    BinaryOp,
    Call,
    Cast,
    Const,
    Expr,
    Function,
    Read,
    Real,
    Select,
    Tensor,
    Type,
)
from ..walk import walk

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
POINTER = ir.PointerType()
KINDS: dict[Type, Any] = {
    Type.INT8: I8,
    Type.UINT8: I8,
    Type.BOOL: I1,
    Type.INT16: I16,
    Type.UINT16: I16,
    Type.INT32: I32,
    Type.UINT32: I32,
    Type.INT64: I64,
    Type.UINT64: I64,
    Type.INDEX: I64,
    Type.FLOAT16: ir.HalfType(),
    Type.FLOAT32: ir.FloatType(),
    Type.FLOAT64: ir.DoubleType(),
}
_COMPARED = {BinaryOp.LT: "<", BinaryOp.LE: "<=", BinaryOp.EQ: "=="}
_INTRINSIC = {
    Function.ABS: "fabs",
    Function.ROUND: "rint",
}


class Values:
    """Writes the value of expressions where the builder stands.

    Attributes
    ----------
    builder : ir.IRBuilder
    env : dict of Axis to int or IR value
        Where the loops around are; integers where they are unrolled.
    lanes : Axis or None
    places : dict of Tensor to (IR pointer, tuple of int)
        The first element of each buffer, and the elements from one index to the next on each axis.
    """

    library = {  # noqa: RUF012 (never changed)
        Function.ACOS: "acos",
        Function.ACOSH: "acosh",
        Function.ASIN: "asin",
        Function.ASINH: "asinh",
        Function.ATAN: "atan",
        Function.ATANH: "atanh",
        Function.COS: "cos",  # of llvm.sin and llvm.cos together it makes sincos, a GNU extension
        Function.COSH: "cosh",
        Function.ERF: "erf",
        Function.LOG1P: "log1p",
        Function.SIN: "sin",
        Function.SINH: "sinh",
        Function.TAN: "tan",
    }
    """Functions that are no instructions, and what they are called for float64."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.env: dict[Axis, Any] = {}
        self.lanes: Axis | None = None
        self.places: dict[Tensor, tuple[Any, tuple[int, ...]]] = {}
        self._offsets: dict[int, tuple[Read, Affine]] = {}
        self._pointers: dict[Any, Any] = {}

    def moved(self) -> None:
        """Forget the pointers made so far, as the builder stands in another block."""
        self._pointers = {}

    # Indices

    def index(self, expr: Expr) -> Any:
        """Return an index: an integer where it is known now, else an IR value."""
        match expr:
            case Const(value):
                return value
            case Axis():  # a loop of one pass is none
                return 0 if expr.extent == 1 else self.env[expr]
            case Binary(op, a, b) if op.is_condition or expr.type is Type.BOOL:
                return self.value(expr)
            case Binary(BinaryOp.MIN | BinaryOp.MAX as op, a, b):
                return self._lesser(op, self.index(a), self.index(b))
            case Binary(BinaryOp.DIV | BinaryOp.MOD as op, a, Const(divisor)):
                return self._divided(op, self.index(a), divisor, limits(a)[0] >= 0)
            case Cast(_, operand):
                value = self.value(operand)
                if value.type == I64:
                    return value
                widen = self.builder.zext if operand.type.is_unsigned else self.builder.sext
                return widen(value, I64)
            case _:
                return self.total(affine(expr))

    def total(self, parts: Affine) -> Any:
        """Return the value of a sum."""
        constant, dynamic = self._parts(parts)
        if dynamic is None:
            return constant
        return self.builder.add(dynamic, I64(constant)) if constant else dynamic

    def _parts(self, parts: Affine) -> tuple[int, Any]:
        """Return what is known of a sum now, and the rest, or None."""
        constant, dynamic = parts.constant, None
        b = self.builder
        for atom, coefficient in parts.terms:
            value = self.index(atom)
            if isinstance(value, int):
                constant += value * coefficient
                continue
            term = value if coefficient == 1 else b.mul(value, I64(coefficient))
            dynamic = term if dynamic is None else b.add(dynamic, term)
        return constant, dynamic

    def _lesser(self, op: BinaryOp, a: Any, b: Any) -> Any:
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b) if op is BinaryOp.MIN else max(a, b)
        a, b = (I64(x) if isinstance(x, int) else x for x in (a, b))
        less = self.builder.icmp_signed("<" if op is BinaryOp.MIN else ">", a, b)
        return self.builder.select(less, a, b)

    def _divided(self, op: BinaryOp, a: Any, divisor: int, positive: bool) -> Any:
        if isinstance(a, int):
            return a // divisor if op is BinaryOp.DIV else a % divisor
        b, by = self.builder, I64(divisor)
        if positive:
            return b.udiv(a, by) if op is BinaryOp.DIV else b.urem(a, by)
        rest = b.srem(a, by)
        below = b.icmp_signed("<", rest, I64(0))
        if op is BinaryOp.MOD:
            return b.select(below, b.add(rest, by), rest)
        quotient = b.sdiv(a, by)
        return b.select(below, b.sub(quotient, I64(1)), quotient)

    # Memory

    def pointer(self, read: Read, lanes: Axis | None = None) -> tuple[Any, int | None]:
        """Return where an element is, and by how many elements the next lane's is further.

        With lanes the pointer is the first lane's; the step is None where it varies.
        """
        base, strides = self.places[read.tensor]
        known = self._offsets.get(id(read))
        if known is None:
            offset = Affine(0)
            for index, stride in zip(read.indices, strides, strict=True):
                offset += affine(index).scaled(stride)
            known = self._offsets[id(read)] = read, offset
        offset, step = known[1], 0
        if lanes is not None:
            parts = offset.split([lanes])
            if parts is None:
                return None, None
            offset, steps = parts
            step = steps.get(lanes, 0)
        constant, dynamic = self._parts(offset)
        kind = storage(read.tensor.element)
        return self._at(base, kind, dynamic, constant), step

    def _at(self, base: Any, kind: Any, dynamic: Any, constant: int) -> Any:
        key = (id(base), id(dynamic))
        if dynamic is not None:
            if key not in self._pointers:
                moved = self.builder.gep(base, [dynamic], source_etype=kind)
                self._pointers[key] = moved, dynamic
            base = self._pointers[key][0]
        if constant:
            base = self.builder.gep(base, [I64(constant)], source_etype=kind)
        return base

    def load(self, pointer: Any, element: Type, count: int = 1) -> Any:
        """Return one element, or several that follow each other as a vector."""
        kind = storage(element)
        kind = kind if count == 1 else ir.VectorType(kind, count)
        value = self.builder.load(pointer, align=BYTES[element], typ=kind)
        if element is Type.BOOL:
            value = self.builder.icmp_unsigned("!=", value, _zero(value.type))
        return value

    def store(self, value: Any, read: Read) -> None:
        """Put a value, which may be a vector, where `read` reads."""
        element = read.tensor.element
        if element is Type.BOOL:
            value = self.builder.zext(value, _like(I8, value))
        if self.lanes is None or not depends(read, [self.lanes]):
            self.builder.store(value, self.pointer(read)[0], align=BYTES[element])
            return
        pointer, step = self.pointer(read, self.lanes)
        value = self.wide(value)
        if step == 1:
            self.builder.store(value, pointer, align=BYTES[element])
            return
        for lane in range(self.lanes.extent):
            one = self.builder.extract_element(value, I32(lane))
            with _Lane(self, lane):
                self.builder.store(one, self.pointer(read)[0], align=BYTES[element])

    def _read(self, read: Read) -> Any:
        element = read.tensor.element
        if self.lanes is None or not depends(read, [self.lanes]):
            return self.load(self.pointer(read)[0], element)
        pointer, step = self.pointer(read, self.lanes)
        if step == 1:
            return self.load(pointer, element, self.lanes.extent)
        return self._lane_by_lane(read)

    def _lane_by_lane(self, expr: Expr) -> Any:
        assert self.lanes is not None
        count = self.lanes.extent
        vector = ir.Constant(ir.VectorType(KINDS[expr.type], count), ir.Undefined)
        for lane in range(count):
            with _Lane(self, lane):
                one = self.value(expr)
            vector = self.builder.insert_element(vector, one, I32(lane))
        return vector

    # Arithmetic

    def wide(self, value: Any) -> Any:
        """Return a value as a vector of the lanes, repeated if it is a number."""
        if self.lanes is None or isinstance(value.type, ir.VectorType):
            return value
        return splat(self.builder, value, self.lanes.extent)

    def value(self, expr: Expr) -> Any:
        """Return the value of an expression: a vector if it depends on the lanes."""
        b = self.builder
        match expr:
            case Const(value, kind):
                return KINDS[kind](value)
            case Real(value, kind):
                return ir.Constant(KINDS[kind], value)
            case Read():
                return self._read(expr)
            case Cast(to, operand):
                return self._cast(self.value(operand), operand.type, to)
            case Select(condition, x, y):
                return self._select(expr, condition, x, y)
            case Call(function, operands):
                return self._call(function, [self.value(operand) for operand in operands])
            case _ if expr.type is Type.INDEX:
                if self.lanes is not None and depends(expr, [self.lanes]):
                    return self._indices(expr)
                value = self.index(expr)
                return I64(value) if isinstance(value, int) else value
            case Binary(op, x, y):
                first, second = self.value(x), self.value(y)
                if isinstance(first.type, ir.VectorType) or isinstance(second.type, ir.VectorType):
                    first, second = self.wide(first), self.wide(second)
                if op is BinaryOp.SHR:
                    return self._shifted(first, second, limits_of(y))
                return binary(b, op, x.type, first, second)
            case _:
                raise AssertionError(f"{expr} has no value in LLVM IR")

    def _indices(self, expr: Expr) -> Any:
        """Return an index for each lane."""
        lanes = self.lanes
        assert lanes is not None
        parts = affine(expr).split([lanes])
        if parts is None:
            count = lanes.extent
            vector = ir.Constant(ir.VectorType(I64, count), ir.Undefined)
            for lane in range(count):
                with _Lane(self, lane):
                    one = self.index(expr)
                one = I64(one) if isinstance(one, int) else one
                vector = self.builder.insert_element(vector, one, I32(lane))
            return vector
        rest, steps = parts
        first = self.total(rest)
        first = I64(first) if isinstance(first, int) else first
        moves = [lane * steps.get(lanes, 0) for lane in range(lanes.extent)]
        row = ir.Constant(ir.VectorType(I64, lanes.extent), moves)
        return self.builder.add(self.wide(first), row)

    def _select(self, expr: Expr, condition: Expr, x: Expr, y: Expr) -> Any:
        b = self.builder
        known = set(walk(condition))  # computed anyhow
        reads = _reads_besides(x, known) or _reads_besides(y, known)
        if self.lanes is not None and depends(condition, [self.lanes]):
            if reads:
                return self._lane_by_lane(expr)
            return b.select(*(self.wide(self.value(part)) for part in (condition, x, y)))
        holds = self.value(condition)
        if not reads:
            first, second = self.value(x), self.value(y)
            if isinstance(first.type, ir.VectorType) or isinstance(second.type, ir.VectorType):
                first, second = self.wide(first), self.wide(second)
            return b.select(holds, first, second)
        wide = self.lanes is not None and depends(expr, [self.lanes])
        with b.if_else(holds) as (then, otherwise):
            with then:
                self.moved()
                first = self.value(x)
                first = self.wide(first) if wide else first
                first_block = b.block
            with otherwise:
                self.moved()
                second = self.value(y)
                second = self.wide(second) if wide else second
                second_block = b.block
        self.moved()
        phi = b.phi(first.type)
        phi.add_incoming(first, first_block)
        phi.add_incoming(second, second_block)
        return phi

    def _shifted(self, a: Any, count: Any, reach: tuple[int, int]) -> Any:
        b = self.builder
        zero = _zero(count.type)
        if reach[0] >= 0:
            return b.ashr(a, count)
        left = b.icmp_signed("<", count, zero)
        if reach[1] < 0:
            return b.shl(a, b.sub(zero, count))
        right = b.ashr(a, b.select(left, zero, count))
        return b.shl(right, b.select(left, b.sub(zero, count), zero))

    def _cast(self, value: Any, source: Type, to: Type) -> Any:
        b, kind = self.builder, _like(KINDS[to], value)
        if to is Type.BOOL:
            if source.is_float:
                return b.fcmp_unordered("!=", value, _zero(value.type))
            return b.icmp_unsigned("!=", value, _zero(value.type))
        signed = not source.is_unsigned
        if source is Type.FLOAT64 and to is Type.FLOAT16:
            return b.fptrunc(_to_odd(b, value), kind)
        if source.is_float and to.is_float:
            return (b.fpext if BYTES[to] > BYTES[source] else b.fptrunc)(value, kind)
        if to.is_float:
            return (b.sitofp if signed else b.uitofp)(value, kind)
        if source.is_float:
            if to is Type.UINT64:
                return b.fptoui(value, kind)
            wide = to in (Type.INT64, Type.UINT32)
            value = b.fptosi(value, _like(I64 if wide else I32, value))
        width = _bits(value.type)
        if _bits(kind) == width:
            return value
        if _bits(kind) < width:
            return b.trunc(value, kind)
        return (b.sext if signed else b.zext)(value, kind)

    def _call(self, function: Function, operands: Sequence[Any]) -> Any:
        if any(isinstance(operand.type, ir.VectorType) for operand in operands):
            operands = [self.wide(operand) for operand in operands]
        if function in self.library:
            return self._library(self.library[function], operands)
        name = f"llvm.{_INTRINSIC.get(function, function.value)}"
        return intrinsic(self.builder, name, operands)

    def _library(self, name: str, operands: Sequence[Any]) -> Any:
        """Call a function of the C library, lane by lane."""
        b, kind = self.builder, operands[0].type
        element = kind.element if isinstance(kind, ir.VectorType) else kind
        name = name if isinstance(element, ir.DoubleType) else f"{name}f"
        callee = b.module.globals.get(name) or ir.Function(
            b.module, _signature(element, operands), name
        )
        if not isinstance(kind, ir.VectorType):
            return b.call(callee, operands)
        vector = ir.Constant(kind, ir.Undefined)
        for lane in range(kind.count):
            ones = [b.extract_element(operand, I32(lane)) for operand in operands]
            vector = b.insert_element(vector, b.call(callee, ones), I32(lane))
        return vector


class _Lane:
    """Within it, the lanes stand still at one of them."""

    def __init__(self, values: Values, lane: int) -> None:
        self.values, self.lane = values, lane
        self.axis = values.lanes

    def __enter__(self) -> None:
        assert self.axis is not None
        self.values.env[self.axis] = self.lane
        self.values.lanes = None

    def __exit__(self, *_: object) -> None:
        assert self.axis is not None
        del self.values.env[self.axis]
        self.values.lanes = self.axis


def storage(element: Type) -> Any:
    """Return the IR type of an element in memory."""
    return I8 if element is Type.BOOL else KINDS[element]


def intrinsic(b: Any, name: str, operands: Sequence[Any]) -> Any:
    """Call a function of LLVM's that exists for every type of its operands, which is one."""
    kind = operands[0].type
    suffix = f"v{kind.count}f" if isinstance(kind, ir.VectorType) else "f"
    element = kind.element if isinstance(kind, ir.VectorType) else kind
    name = f"{name}.{suffix}{64 if isinstance(element, ir.DoubleType) else 32}"
    callee = b.module.globals.get(name) or ir.Function(b.module, _signature(kind, operands), name)
    return b.call(callee, operands)


def _reads_besides(expr: Expr, known: Collection[Expr]) -> bool:
    """Return whether an expression reads memory outside of those of its parts that are known."""
    if expr in known:
        return False
    return isinstance(expr, Read) or any(_reads_besides(part, known) for part in expr.parts)


def splat(builder: Any, value: Any, count: int) -> Any:
    """Return a vector of `count` times a number."""
    kind = ir.VectorType(value.type, count)
    if isinstance(value, ir.Constant):
        return ir.Constant(kind, [value.constant] * count)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, I32(0))
    zeros = ir.Constant(ir.VectorType(I32, count), [0] * count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def binary(b: Any, op: BinaryOp, kind: Type, x: Any, y: Any) -> Any:
    """Return `x op y` of operands of one type; see `expr.Binary`."""
    if kind.is_float:
        return _float_binary(b, op, x, y)
    unsigned = kind.is_unsigned
    match op:
        case BinaryOp.ADD:
            return b.add(x, y)
        case BinaryOp.SUB:
            return b.sub(x, y)
        case BinaryOp.MUL:
            return b.mul(x, y)
        case BinaryOp.DIV:
            return _quotient(b, x, y, unsigned)
        case BinaryOp.AND:
            return b.and_(x, y)
        case BinaryOp.MIN | BinaryOp.MAX:
            sign = "<" if op is BinaryOp.MIN else ">"
            less = (b.icmp_unsigned if unsigned else b.icmp_signed)(sign, x, y)
            return b.select(less, x, y)
        case _:
            return (b.icmp_unsigned if unsigned else b.icmp_signed)(_COMPARED[op], x, y)


def _float_binary(b: Any, op: BinaryOp, x: Any, y: Any) -> Any:
    match op:
        case BinaryOp.ADD:
            return b.fadd(x, y)
        case BinaryOp.SUB:
            return b.fsub(x, y)
        case BinaryOp.MUL:
            return b.fmul(x, y)
        case BinaryOp.DIV:
            return b.fdiv(x, y)
        case BinaryOp.MIN | BinaryOp.MAX:
            if isinstance(x, ir.Constant):
                x, y = y, x
            # What is not a number stays one if it is x: only that may be none where y is constant.
            less = b.fcmp_ordered("<" if op is BinaryOp.MIN else ">", y, x)
            chosen = b.select(less, y, x)
            if isinstance(y, ir.Constant):
                return chosen
            return b.select(b.fcmp_unordered("uno", y, y), y, chosen)
        case _:
            return b.fcmp_ordered(_COMPARED[op], x, y)


def _quotient(b: Any, x: Any, y: Any, unsigned: bool) -> Any:
    """Return x / y toward zero; by zero 0, and by -1 the negative, which may wrap."""
    zero = _zero(y.type)
    if unsigned:
        none = b.icmp_unsigned("==", y, zero)
        one = b.sub(zero, b.not_(zero))
        return b.select(none, zero, b.udiv(x, b.select(none, one, y)))
    minus = b.icmp_signed("==", y, b.not_(zero))
    none = b.icmp_signed("==", y, zero)
    one = b.sub(zero, b.not_(zero))
    quotient = b.sdiv(x, b.select(b.or_(minus, none), one, y))
    return b.select(none, zero, b.select(minus, b.sub(zero, x), quotient))


def _to_odd(b: Any, value: Any) -> Any:
    """Return float64 as float32, whose last bit says whether anything was lost.

    So that another rounding, to float16, is as if there had been one. CPUs have no instruction.
    """
    narrow, whole = ir.FloatType(), _like(I32, value)
    nearest = b.fptrunc(value, _like(narrow, value))
    back = b.fpext(nearest, value.type)
    sizes = [b.select(b.fcmp_ordered("<", x, _zero(x.type)), b.fneg(x), x) for x in (back, value)]
    above = b.zext(b.fcmp_ordered(">", *sizes), whole)
    lost = b.zext(b.fcmp_unordered("!=", back, value), whole)
    bits = b.or_(b.sub(b.bitcast(nearest, whole), above), lost)
    return b.bitcast(bits, _like(narrow, value))


def limits_of(count: Expr) -> tuple[int, int]:
    """Return what a number of bits is never under and never over."""
    match count:
        case Const(value):
            return value, value
        case Cast(_, operand) if operand.type is Type.UINT8:
            return 0, 255
        case _:
            return -32, 32


def _signature(kind: Any, operands: Sequence[Any]) -> Any:
    return ir.FunctionType(kind, [kind] * len(operands))


def _zero(kind: Any) -> Any:
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [_number(kind.element)] * kind.count)
    return ir.Constant(kind, _number(kind))


def _number(kind: Any) -> float:
    return 0 if isinstance(kind, ir.IntType) else 0.0


def _like(kind: Any, value: Any) -> Any:
    """Return a type in the shape of a value's."""
    if isinstance(value.type, ir.VectorType):
        return ir.VectorType(kind, value.type.count)
    return kind


def _bits(kind: Any) -> int:
    return (kind.element if isinstance(kind, ir.VectorType) else kind).width
