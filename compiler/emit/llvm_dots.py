"""The instructions of CPUs that tensorize matches, as LLVM IR."""
# pyright: basic
# (llvmlite has no types)

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ..expr import Read, Type
from ..loops import Match
from .llvm_values import I8, I32, Values, intrinsic, splat

LANES = 16
"""Accumulators of one vector."""

_WIDE = ir.VectorType(I32, LANES)
_BYTES = ir.VectorType(I8, 4 * LANES)


def _fma(values: Values, target: Read, match: Match) -> None:
    """acc[lane] += x * w[lane] in float32, rounded once."""
    b = values.builder
    x, w, acc = _pointers(values, target, match)
    one = splat(b, values.load(x, Type.FLOAT32), LANES)
    row = values.load(w, Type.FLOAT32, LANES)
    held = values.load(acc, Type.FLOAT32, LANES)
    b.store(intrinsic(b, "llvm.fma", [one, row, held]), acc, align=4)


def _vpdpbusd(values: Values, target: Read, match: Match) -> None:
    """acc[lane] += x[0] * w[lane, 0] + ... + x[3] * w[lane, 3], x of uint8 and w of int8."""
    b = values.builder
    x, w, acc = _pointers(values, target, match)
    four = splat(b, b.load(x, align=1, typ=I32), LANES)
    rows = b.load(w, align=1, typ=_BYTES)
    held = b.load(acc, align=4, typ=_WIDE)
    name = "llvm.x86.avx512.vpdpbusd.512"
    callee = b.module.globals.get(name) or ir.Function(
        b.module, ir.FunctionType(_WIDE, [_WIDE, _BYTES, _BYTES]), name
    )
    b.store(b.call(callee, [held, b.bitcast(four, _BYTES), rows]), acc, align=4)


def _pairs(values: Values, target: Read, match: Match) -> None:
    """The same in steps that every CPU has; x86 multiplies pairs of 16 bits and adds them."""
    b = values.builder
    x, w, acc = _pointers(values, target, match)
    four = b.load(x, align=1, typ=I32)
    wide = ir.VectorType(ir.IntType(16), 4 * LANES)
    left = b.zext(b.bitcast(splat(b, four, LANES), _BYTES), wide)
    right = b.sext(b.load(w, align=1, typ=_BYTES), wide)
    long = ir.VectorType(I32, 4 * LANES)
    products = b.mul(b.sext(left, long), b.sext(right, long))
    held = b.load(acc, align=4, typ=_WIDE)
    pairs = b.add(_every(b, products, 2, 0), _every(b, products, 2, 1))
    fours = b.add(_every(b, pairs, 2, 0), _every(b, pairs, 2, 1))
    b.store(b.add(held, fours), acc, align=4)


def _pointers(values: Values, target: Read, match: Match) -> list[Any]:
    """Return the first elements of the operands' tiles and of the target's."""
    values.env |= dict.fromkeys(match.tile, 0)
    return [values.pointer(read)[0] for read in (*match.operands, target)]


def _every(b: Any, vector: Any, step: int, first: int) -> Any:
    """Return every `step`-th element."""
    places = range(first, vector.type.count, step)
    return b.shuffle_vector(
        vector,
        ir.Constant(vector.type, ir.Undefined),
        ir.Constant(ir.VectorType(I32, len(places)), list(places)),
    )


ACTIONS: dict[str, Callable[[Values, Read, Match], None]] = {
    "fma": _fma,
    "vpdpbusd": _vpdpbusd,
    "pairs": _pairs,
}
"""What writes each instruction: for a target and what tensorize found."""
