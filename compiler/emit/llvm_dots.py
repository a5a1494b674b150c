"""The instructions of CPUs that tensorize matches, as LLVM IR."""
# pyright: basic
# (llvmlite has no types)

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ..affine import depends
from ..expr import Read, Type
from ..loops import Match
from .llvm_values import I8, I16, I32, POINTER, Values, intrinsic, splat

LANES = 16
"""Accumulators of one vector."""
AHEAD_BYTES = 2 << 10
"""From weights that are used to those that are asked for: a tenth of a microsecond."""

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
    _prefetch(values, match.operands[1], w)
    four = splat(b, b.load(x, align=1, typ=I32), LANES)
    rows = b.load(w, align=1, typ=_BYTES)
    held = b.load(acc, align=4, typ=_WIDE)
    callee = _declared(b, "llvm.x86.avx512.vpdpbusd.512", _WIDE, [_WIDE, _BYTES, _BYTES])
    b.store(b.call(callee, [held, b.bitcast(four, _BYTES), rows]), acc, align=4)


def _taps(values: Values, target: Read, match: Match) -> None:
    """acc[lane] += x[0, lane] * w[lane, 0] + ... + x[3, lane] * w[lane, 3], x of uint8."""
    b = values.builder
    x, w, acc = _pointers(values, target, match)
    row = b.load(x, align=1, typ=_BYTES)
    turned = [k * LANES + lane for lane in range(LANES) for k in range(4)]
    mask = ir.Constant(ir.VectorType(I32, 4 * LANES), turned)
    fours = b.shuffle_vector(row, ir.Constant(_BYTES, ir.Undefined), mask)
    rows = b.load(w, align=1, typ=_BYTES)
    held = b.load(acc, align=4, typ=_WIDE)
    callee = _declared(b, "llvm.x86.avx512.vpdpbusd.512", _WIDE, [_WIDE, _BYTES, _BYTES])
    b.store(b.call(callee, [held, fours, rows]), acc, align=4)


def _vpdpbusd256(values: Values, target: Read, match: Match) -> None:
    """The same by halves of 256 bits."""
    _by_parts(values, target, match, "llvm.x86.avx512.vpdpbusd.256", 8)


def _sdot(values: Values, target: Read, match: Match) -> None:
    """acc[lane] += x[0] * w[lane, 0] + ... + x[3] * w[lane, 3], of int8, by 128 bits."""
    _by_parts(values, target, match, "llvm.aarch64.neon.sdot.v4i32.v16i8", 4)


def _by_parts(values: Values, target: Read, match: Match, name: str, lanes: int) -> None:
    """Multiply and add with an instruction that has fewer lanes."""
    b = values.builder
    x, w, acc = _pointers(values, target, match)
    wide, narrow = ir.VectorType(I32, lanes), ir.VectorType(I8, 4 * lanes)
    four = b.bitcast(splat(b, b.load(x, align=1, typ=I32), lanes), narrow)
    callee = _declared(b, name, wide, [wide, narrow, narrow])
    for first in range(0, LANES, lanes):
        rows = b.load(b.gep(w, [I32(4 * first)], source_etype=I8), align=1, typ=narrow)
        place = b.gep(acc, [I32(first)], source_etype=I32)
        held = b.load(place, align=4, typ=wide)
        b.store(b.call(callee, [held, four, rows]), place, align=4)


_PMADDWD = {
    4: "llvm.x86.sse2.pmadd.wd",
    8: "llvm.x86.avx2.pmadd.wd",
    16: "llvm.x86.avx512.pmaddw.d.512",
}
"""By the sums that it gives: of two products of 16 bits each."""


def _pmaddwd(lanes: int) -> Callable[[Values, Read, Match], None]:
    """Return what does the same by pairs of 16 bits: bytes 0 and 2, then 1 and 3."""

    def write(values: Values, target: Read, match: Match) -> None:
        b = values.builder
        x, w, acc = _pointers(values, target, match)
        signed = match.operands[0].type is Type.INT8
        wide, narrow = ir.VectorType(I32, lanes), ir.VectorType(I16, 2 * lanes)
        callee = _declared(b, _PMADDWD[lanes], wide, [narrow, narrow])
        four = b.bitcast(splat(b, b.load(x, align=1, typ=I32), lanes), narrow)
        left = _halves(b, four, signed=signed)
        for first in range(0, LANES, lanes):
            rows = b.load(b.gep(w, [I32(4 * first)], source_etype=I8), align=1, typ=narrow)
            place = b.gep(acc, [I32(first)], source_etype=I32)
            held = b.load(place, align=4, typ=wide)
            for one, other in zip(left, _halves(b, rows, signed=True), strict=True):
                held = b.add(held, b.call(callee, [one, other]))
            b.store(held, place, align=4)

    return write


def _halves(b: Any, vector: Any, *, signed: bool) -> list[Any]:
    """Return the lower and the upper byte of each 16 bits, extended to 16 bits."""
    eight = ir.Constant(vector.type, [8] * vector.type.count)
    if signed:
        return [b.ashr(b.shl(vector, eight), eight), b.ashr(vector, eight)]
    return [b.lshr(b.shl(vector, eight), eight), b.lshr(vector, eight)]


def _bytewise(values: Values, target: Read, match: Match) -> None:
    """The same byte by byte, in steps that every CPU has."""
    b = values.builder
    x, w, acc = _pointers(values, target, match)
    signed = match.operands[0].type is Type.INT8
    four = b.load(x, align=1, typ=I32)
    rows = b.load(w, align=1, typ=_WIDE)
    held = b.load(acc, align=4, typ=_WIDE)
    high = ir.Constant(_WIDE, [24] * LANES)
    for byte in range(4):
        up = ir.Constant(_WIDE, [24 - 8 * byte] * LANES)
        weight = b.ashr(b.shl(rows, up), high)
        top = b.shl(four, I32(24 - 8 * byte))
        number = b.ashr(top, I32(24)) if signed else b.lshr(top, I32(24))
        held = b.add(held, b.mul(weight, splat(b, number, LANES)))
    b.store(held, acc, align=4)


def _multiply_add(values: Values, target: Read, match: Match) -> None:
    """acc[lane] += x * w[lane] in float32, rounded twice."""
    b = values.builder
    x, w, acc = _pointers(values, target, match)
    one = splat(b, values.load(x, Type.FLOAT32), LANES)
    row = values.load(w, Type.FLOAT32, LANES)
    held = values.load(acc, Type.FLOAT32, LANES)
    b.store(b.fadd(held, b.fmul(one, row)), acc, align=4)


def _declared(b: Any, name: str, result: Any, kinds: list[Any]) -> Any:
    known = b.module.globals.get(name)
    return known or ir.Function(b.module, ir.FunctionType(result, kinds), name)


def _prefetch(values: Values, read: Read, pointer: Any) -> None:
    """Ask for weights that are some steps ahead, once for each vector of an unrolled tile.

    A row of weights is read once, from beyond the second cache if a layer is large, and what
    fetches by itself stops at the end of each page.
    """
    for axis, place in values.env.items():
        if isinstance(place, int) and place and not any(depends(i, [axis]) for i in read.indices):
            return
    b = values.builder
    callee = _declared(b, "llvm.prefetch.p0", ir.VoidType(), [POINTER, I32, I32, I32])
    ahead = b.gep(pointer, [I32(AHEAD_BYTES)], source_etype=I8)
    b.call(callee, [ahead, I32(0), I32(3), I32(1)])  # to read, into all caches, data


def _pointers(values: Values, target: Read, match: Match) -> list[Any]:
    """Return the first elements of the operands' tiles and of the target's."""
    values.env |= dict.fromkeys(match.tile, 0)
    return [values.pointer(read)[0] for read in (*match.operands, target)]


ACTIONS: dict[str, Callable[[Values, Read, Match], None]] = {
    "fma": _fma,
    "multiply_add": _multiply_add,
    "vpdpbusd": _vpdpbusd,
    "vpdpbusd256": _vpdpbusd256,
    "taps": _taps,
    "pmaddwd": _pmaddwd(4),
    "pmaddwd256": _pmaddwd(8),
    "pmaddwd512": _pmaddwd(16),
    "sdot": _sdot,
    "bytewise": _bytewise,
}
"""What writes each instruction: for a target and what tensorize found."""
