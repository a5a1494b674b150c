"""The instructions of NVIDIA GPUs that tensorize matches, as LLVM IR."""
# pyright: basic
# (llvmlite has no types)

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ..expr import Read
from ..loops import Match
from .cuda_blocks import LANES
from .llvm_values import I32, I64, Values

FRAGMENT = 4
"""Sums of a tile of 8 x 16 that each thread of a warp has."""

_TILE = ir.LiteralStructType([I32] * FRAGMENT)


def special(b: Any, name: str) -> Any:
    """Return a register that says which thread this is."""
    return b.call(declared(b, f"llvm.nvvm.read.ptx.sreg.{name}", I32, []), [])


def declared(b: Any, name: str, result: Any, kinds: list[Any]) -> Any:
    """Return a function of LLVM's, declared once in a module."""
    known = b.module.globals.get(name)
    return known or ir.Function(b.module, ir.FunctionType(result, kinds), name)


def _dp4a(values: Values, target: Read, match: Match) -> None:
    """acc += x[0] * w[0] + ... + x[3] * w[3], of int8."""
    b = values.builder
    values.env |= dict.fromkeys(match.tile, 0)
    x, w, acc = (values.pointer(read)[0] for read in (*match.operands, target))
    four = [b.load(pointer, align=4, typ=I32) for pointer in (x, w)]
    held = b.load(acc, align=4, typ=I32)
    callee = declared(b, "llvm.nvvm.idp4a.s.s", I32, [I32] * 3)
    b.store(b.call(callee, [*four, held]), acc, align=4)


def _mma(values: Values, target: Read, match: Match) -> None:
    """acc[p, o] += sum of x[p, k] * w[o, k]: `mma.m16n8k16`, rows o and columns p."""
    b = values.builder
    p, o, k = match.tile
    lane = b.and_(special(b, "tid.x"), I32(LANES - 1))
    group = b.zext(b.lshr(lane, I32(2)), I64)
    within = b.zext(b.shl(b.and_(lane, I32(3)), I32(2)), I64)
    x_read, w_read = match.operands
    values.env |= {p: group, o: group, k: within}
    operands = [b.load(values.pointer(w_read)[0], align=4, typ=I32)]
    values.env[o] = b.add(group, I64(8))
    operands.append(b.load(values.pointer(w_read)[0], align=4, typ=I32))
    operands.append(b.load(values.pointer(x_read)[0], align=4, typ=I32))
    values.env |= {p: 0, o: 0}
    first = values.pointer(target)[0]
    places = [b.gep(first, [I64(n)], source_etype=I32) for n in range(FRAGMENT)]
    operands.extend(b.load(place, align=4, typ=I32) for place in places)
    name = "llvm.nvvm.mma.m16n8k16.row.col.s8"
    found = b.call(declared(b, name, _TILE, [I32] * 7), operands)
    for number, place in enumerate(places):
        b.store(b.extract_value(found, number), place, align=4)


ACTIONS: dict[str, Callable[[Values, Read, Match], None]] = {"dp4a": _dp4a, "mma": _mma}
"""What writes each instruction: for a target and what tensorize found."""
