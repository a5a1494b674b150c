"""The instructions of CPUs as tensor expressions, and which CPU has which."""

from functools import lru_cache

from ...isa.instructions import Unit
from ...runtime.native.jit import Cpu
from ..expr import Type, cast, compute, placeholder, reduce_axis, total
from ..intrinsics import Intrinsic, VectorAction
from ..schedule import Scope
from .stored import BLOCK

DOT = 4
"""Bytes that are multiplied and added into each accumulator."""


@lru_cache(maxsize=8)
def dot(cpu: Cpu) -> Intrinsic:
    """acc[lane] += sum of x[k] * w[lane, k] over 4 k, x of uint8 and w of int8."""
    x = placeholder("x", (DOT,), Type.UINT8)
    w = placeholder("w", (BLOCK, DOT), Type.INT8)
    k = reduce_axis(DOT, "k")
    acc = compute(
        "acc",
        (BLOCK,),
        lambda lane: total(cast(x[k], Type.INT32) * cast(w[lane, k], Type.INT32), over=(k,)),
    )
    name = "vpdpbusd" if has(cpu, "avx512vnni") else "pairs"
    scopes = {x: Scope.DRAM, w: Scope.DRAM}
    return Intrinsic(name, acc, Scope.REGISTERS, scopes, Unit.COMPUTE, VectorAction(name))


@lru_cache(maxsize=1)
def fma() -> Intrinsic:
    """acc[lane] += x * w[lane] in float32, rounded once."""
    x = placeholder("x", (), Type.FLOAT32)
    w = placeholder("w", (BLOCK,), Type.FLOAT32)
    k = reduce_axis(1, "k")
    acc = compute("acc", (BLOCK,), lambda lane: total(x[()] * w[lane], over=(k,)))
    scopes = {x: Scope.DRAM, w: Scope.DRAM}
    return Intrinsic("fma", acc, Scope.REGISTERS, scopes, Unit.COMPUTE, VectorAction("fma"))


def has(cpu: Cpu, feature: str) -> bool:
    """Return whether a CPU has a feature, by LLVM's name."""
    return f"+{feature}" in cpu.features.split(",")


def registers(cpu: Cpu) -> int:
    """Return how many vectors of `BLOCK` accumulators a CPU holds at once."""
    if has(cpu, "avx512f"):
        return 32
    return 8 if cpu.architecture in ("x86_64", "aarch64") else 4
