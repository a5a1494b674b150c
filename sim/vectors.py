"""Steps on vectors, as LLVM IR: what the hot loops are made of.

The IR is plain vector arithmetic that every target of LLVM has code for, so nothing here depends on
the processor. Where it has better instructions LLVM finds them: the products of pairs in `dot`
become `vpmaddwd` on x86, in the widest registers there are.

Each step works at pointers, on vectors whose length is known when it is compiled. Elements are
aligned as elements, not as vectors.
"""
# pyright: basic
# (llvmlite and Numba have no types)

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic as numba_intrinsic

from ..isa.instructions import AluOp
from .columns import COLUMNS

intrinsic: Any = numba_intrinsic  # what it makes of a function has another signature

_I32, _I64 = ir.IntType(32), ir.IntType(64)


def _step(emit: Callable[..., None], pointers: Sequence[Any], numbers: Sequence[Any] = ()) -> Any:
    """Return signature and code generator of a step, which `emit` writes.

    `emit` gets the builder, the pointers, and the numbers: as Python integers where they are
    literals, else as IR values.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = [
            kind.literal_value if isinstance(kind, types.IntegerLiteral) else value
            for kind, value in zip(numbers, values[len(pointers) :], strict=True)
        ]
        emit(builder, *values[: len(pointers)], *given)
        return context.get_dummy_value()

    return types.void(*pointers, *numbers), generate


def _vector(element: Any, length: int) -> Any:
    return ir.VectorType(element, length)


def _shuffle(b: Any, x: Any, y: Any, indices: Sequence[int]) -> Any:
    return b.shuffle_vector(x, y, ir.Constant(_vector(_I32, len(indices)), list(indices)))


def _load(b: Any, pointer: Any, bits: int, length: int) -> Any:
    kind = _vector(ir.IntType(bits), length)
    return b.load(b.bitcast(pointer, kind.as_pointer()), align=min(bits // 8, 4))


def _store(b: Any, value: Any, pointer: Any, align: int) -> None:
    b.store(value, b.bitcast(pointer, value.type.as_pointer()), align=align)


@intrinsic(prefer_literal=True)
def unpack(context: Any, row: Any, words: Any, table: Any) -> Any:
    """Fill a row, int32 (COLUMNS), from an instruction, int64 (2), by `columns.field_table`.

    `table` is the part for its opcode.
    """
    return _step(_emit_unpack, (row, words, table))


def _emit_unpack(b: Any, row: Any, words: Any, table: Any) -> None:
    first, second = _load(b, words, 64, 1), _load(b, b.gep(words, [_I64(1)]), 64, 1)
    first, second = (_shuffle(b, half, half, [0] * COLUMNS) for half in (first, second))
    half, shift, mask, sign = (
        _load(b, b.gep(table, [_I64(k * COLUMNS)]), 64, COLUMNS) for k in range(4)
    )
    word = b.or_(b.and_(second, half), b.and_(first, b.not_(half)))
    value = b.and_(b.lshr(word, shift), mask)
    value = b.sub(b.xor(value, sign), sign)
    _store(b, b.trunc(value, _vector(_I32, COLUMNS)), row, 4)


@intrinsic(prefer_literal=True)
def dot(
    context: Any,
    acc: Any,
    inp: Any,
    wgt: Any,
    pairs: Any,
    acc_step: Any,
    inp_step: Any,
    rows: Any,
    outs: Any,
    block: Any,
) -> Any:
    """acc[r, o] += sum over i of inp[r, i] * wgt[i, o], for r under `rows` and o under `outs`.

    i is under 2 * `pairs`. acc is int32 and inp int16, with `acc_step` and `inp_step` elements from
    row to row. wgt is int16 in the order [i / 2][o][i % 2], with 2 * `block` elements from one pair
    of i to the next. The last three are literals. Rows of acc may be the same one.
    """
    return _step(_emit_dot, (acc, inp, wgt), (pairs, acc_step, inp_step, rows, outs, block))


def _emit_dot(
    b: Any, acc: Any, inp: Any, wgt: Any, pairs: Any, acc_step: Any, inp_step: Any, rows: int,
    outs: int, block: int,
) -> None:  # fmt: skip
    # A loop whose count LLVM does not know: unrolled, it would be one block of hundreds of loads,
    # which LLVM puts first, for want of registers on the stack.
    inps = [b.gep(inp, [b.mul(inp_step, _I64(r))]) for r in range(rows)]
    before, loop = b.basic_block, b.append_basic_block("pairs")
    b.branch(loop)
    b.position_at_end(loop)
    pair, zeros = b.phi(_I64), ir.Constant(_vector(_I32, outs), [0] * outs)
    pair.add_incoming(_I64(0), before)
    sums = [b.phi(zeros.type) for _ in range(rows)]
    wide, narrow = _vector(_I32, 2 * outs), _vector(ir.IntType(16), 2 * outs)
    w = b.sext(_load(b, b.gep(wgt, [b.mul(pair, _I64(2 * block))]), 16, 2 * outs), wide)
    for start, inp in zip(sums, inps, strict=True):
        start.add_incoming(zeros, before)
        both = _load(b, b.gep(inp, [b.mul(pair, _I64(2))]), 32, 1)  # two inputs, as one number
        x = b.sext(b.bitcast(_shuffle(b, both, both, [0] * outs), narrow), wide)
        products = b.mul(x, w)
        even = _shuffle(b, products, products, range(0, 2 * outs, 2))
        odd = _shuffle(b, products, products, range(1, 2 * outs, 2))
        start.add_incoming(b.add(start, b.add(even, odd)), loop)
    following = b.add(pair, _I64(1))
    pair.add_incoming(following, loop)
    after = b.append_basic_block("sums")
    b.cbranch(b.icmp_signed("<", following, pairs), loop, after)
    b.position_at_end(after)
    for r, total in enumerate(sums):
        at = b.gep(acc, [b.mul(acc_step, _I64(r))])
        _store(b, b.add(_load(b, at, 32, outs), total.incomings[1][0]), at, 4)


@intrinsic(prefer_literal=True)
def transpose_pairs(context: Any, wgt: Any, dram: Any, block: Any) -> Any:
    """wgt[2 * block * p + 2 * o + k] = dram[block * o + 2 * p + k], for o and p under 8, k under 2.

    wgt is int16, dram int8; `block` is a literal.
    """
    return _step(_emit_transpose_pairs, (wgt, dram), (block,))


def _emit_transpose_pairs(b: Any, wgt: Any, dram: Any, block: int) -> None:
    rows = [_load(b, b.gep(dram, [_I64(block * o)]), 16, 8) for o in range(8)]
    low, high = (0, 8, 1, 9, 2, 10, 3, 11), (4, 12, 5, 13, 6, 14, 7, 15)
    for _ in range(3):  # each time the bits of (row, place in the row) rotate by one
        rows = [_shuffle(b, rows[k], rows[k + 4], half) for k in range(4) for half in (low, high)]
    for p, row in enumerate(rows):
        wide = b.sext(b.bitcast(row, _vector(ir.IntType(8), 16)), _vector(ir.IntType(16), 16))
        _store(b, wide, b.gep(wgt, [_I64(2 * block * p)]), 2)


@intrinsic(prefer_literal=True)
def convert(context: Any, to: Any, source: Any, length: Any) -> Any:
    """to[k] = source[k], for k under `length`, a literal.

    Where the elements differ in width, a wider one gets the sign, a narrower one the low bits.
    """
    bits = (to.dtype.bitwidth, source.dtype.bitwidth)

    def emit(b: Any, to: Any, source: Any, length: int) -> None:
        value = _load(b, source, bits[1], length)
        kind = _vector(ir.IntType(bits[0]), length)
        if bits[0] > bits[1]:
            value = b.sext(value, kind)
        elif bits[0] < bits[1]:
            value = b.trunc(value, kind)
        _store(b, value, to, bits[0] // 8)

    return _step(emit, (to, source), (length,))


def _shift_right(b: Any, x: Any, count: Any, constant: Callable[[int], Any]) -> Any:
    """floor(x / 2**count), for counts of either sign and any size."""
    left = b.neg(count)
    far = b.icmp_unsigned(">", count, constant(31))
    right_by = b.select(far, constant(31), count)
    too_far = b.icmp_unsigned(">", left, constant(31))
    shifted_left = b.select(too_far, constant(0), b.shl(x, b.select(too_far, constant(0), left)))
    negative = b.icmp_signed("<", count, constant(0))
    return b.select(negative, shifted_left, b.ashr(x, right_by))


_OPERATIONS: dict[AluOp, Callable[..., Any]] = {
    AluOp.MIN: lambda b, x, y, _: b.select(b.icmp_signed("<", x, y), x, y),
    AluOp.MAX: lambda b, x, y, _: b.select(b.icmp_signed(">", x, y), x, y),
    AluOp.ADD: lambda b, x, y, _: b.add(x, y),
    AluOp.SHR: _shift_right,
    AluOp.MUL: lambda b, x, y, _: b.mul(x, y),
}


@intrinsic(prefer_literal=True)
def operate(context: Any, acc: Any, operand: Any, operation: Any, length: Any) -> Any:
    """acc[k] = acc[k] op operand[k], for k under `length`.

    Both are int32; `operation` is an `AluOp`, it and `length` are literals.
    """

    def emit(b: Any, acc: Any, operand: Any, operation: int, length: int) -> None:
        def constant(value: int) -> Any:
            return ir.Constant(_vector(_I32, length), [value] * length)

        x, y = _load(b, acc, 32, length), _load(b, operand, 32, length)
        _store(b, _OPERATIONS[AluOp(operation)](b, x, y, constant), acc, 4)

    return _step(emit, (acc, operand), (operation, length))
