"""The instructions of NVIDIA GPUs as tensor expressions."""

from functools import lru_cache

from ...isa.instructions import Unit
from ..expr import Axis, Expr, Type, cast, compute, placeholder, reduce_axis, total
from ..intrinsics import Intrinsic, VectorAction
from ..schedule import Scope

PIXELS, CHANNELS, STEP = 8, 16, 16
"""Of the tile that a warp multiplies: columns, rows, and products in each sum."""
DOT = 4
"""Bytes that one thread multiplies and adds at a time."""


@lru_cache(maxsize=2)
def dp4a(weights: Scope) -> Intrinsic:
    """acc += sum of x[k] * w[k] over 4 k, of int8; `weights` says where w is."""
    x = placeholder("x", (DOT,), Type.INT8)
    w = placeholder("w", (DOT,), Type.INT8)
    k = reduce_axis(DOT, "k")
    product = cast(x[k], Type.INT32) * cast(w[k], Type.INT32)

    def element(*_: Axis) -> Expr:
        return total(product, over=(k,))

    acc = compute("acc", (), element)
    scopes = {x: Scope.DRAM, w: weights}
    action = VectorAction("dp4a")
    return Intrinsic("dp4a", acc, Scope.REGISTERS, scopes, Unit.COMPUTE, action, anywhere=True)


@lru_cache(maxsize=1)
def mma() -> Intrinsic:
    """acc[p, o] += sum of x[p, k] * w[o, k] over 16 k: a tensor core, fed by a warp.

    `mma.m16n8k16` of int8, whose rows are output channels and whose columns are pixels: the GEMM
    of a VTA of block 16 for eight pixels at once.
    """
    x = placeholder("x", (PIXELS, STEP), Type.INT8)
    w = placeholder("w", (CHANNELS, STEP), Type.INT8)
    k = reduce_axis(STEP, "k")
    acc = compute(
        "acc",
        (PIXELS, CHANNELS),
        lambda p, o: total(cast(x[p, k], Type.INT32) * cast(w[o, k], Type.INT32), over=(k,)),
    )
    scopes = {x: Scope.DRAM, w: Scope.DRAM}
    action = VectorAction("mma")
    return Intrinsic("mma", acc, Scope.FRAGMENT, scopes, Unit.COMPUTE, action, anywhere=True)
