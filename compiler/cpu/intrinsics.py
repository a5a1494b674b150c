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
    """acc[lane] += sum of x[k] * w[lane, k] over 4 k, w of int8 and x of what the CPU wants."""
    x = placeholder("x", (DOT,), Type.INT8 if is_signed(cpu) else Type.UINT8)
    w = placeholder("w", (BLOCK, DOT), Type.INT8)
    k = reduce_axis(DOT, "k")
    acc = compute(
        "acc",
        (BLOCK,),
        lambda lane: total(cast(x[k], Type.INT32) * cast(w[lane, k], Type.INT32), over=(k,)),
    )
    name = _dot_name(cpu)
    scopes = {x: Scope.DRAM, w: Scope.DRAM}
    return Intrinsic(name, acc, Scope.REGISTERS, scopes, Unit.COMPUTE, VectorAction(name))


@lru_cache(maxsize=1)
def taps() -> Intrinsic:
    """acc[lane] += sum of x[k, lane] * w[lane, k] over 4 k: neighbours of a row, lane by lane."""
    x = placeholder("x", (DOT, BLOCK), Type.UINT8)
    w = placeholder("w", (BLOCK, DOT), Type.INT8)
    k = reduce_axis(DOT, "k")
    acc = compute(
        "acc",
        (BLOCK,),
        lambda lane: total(cast(x[k, lane], Type.INT32) * cast(w[lane, k], Type.INT32), over=(k,)),
    )
    scopes = {x: Scope.DRAM, w: Scope.DRAM}
    action = VectorAction("taps")
    return Intrinsic("taps", acc, Scope.REGISTERS, scopes, Unit.COMPUTE, action, anywhere=True)


def has_taps(cpu: Cpu) -> bool:
    """Return whether a CPU brings bytes into another order and multiplies them at once."""
    return has(cpu, "avx512vnni") and has(cpu, "avx512vbmi")


def _dot_name(cpu: Cpu) -> str:
    if cpu.architecture == "aarch64":
        return "sdot" if has(cpu, "dotprod") else "bytewise"
    if cpu.architecture != "x86_64":
        return "bytewise"
    if has(cpu, "avx512vnni"):
        return "vpdpbusd"
    if has(cpu, "avxvnni"):
        return "vpdpbusd256"
    if has(cpu, "avx512bw"):
        return "pmaddwd512"
    return "pmaddwd256" if has(cpu, "avx2") else "pmaddwd"


def is_signed(cpu: Cpu) -> bool:
    """Return whether a CPU multiplies int8 by int8, not uint8 by int8."""
    return cpu.architecture == "aarch64"


@lru_cache(maxsize=8)
def fma(cpu: Cpu) -> Intrinsic:
    """acc[lane] += x * w[lane] in float32, rounded once if the CPU can."""
    x = placeholder("x", (), Type.FLOAT32)
    w = placeholder("w", (BLOCK,), Type.FLOAT32)
    k = reduce_axis(1, "k")
    acc = compute("acc", (BLOCK,), lambda lane: total(x[()] * w[lane], over=(k,)))
    scopes = {x: Scope.DRAM, w: Scope.DRAM}
    name = "fma" if has(cpu, "fma") or cpu.architecture == "aarch64" else "multiply_add"
    return Intrinsic(name, acc, Scope.REGISTERS, scopes, Unit.COMPUTE, VectorAction(name))


def has(cpu: Cpu, feature: str) -> bool:
    """Return whether a CPU has a feature, by LLVM's name."""
    return f"+{feature}" in cpu.features.split(",")


def registers(cpu: Cpu) -> int:
    """Return how many vectors of `BLOCK` accumulators a CPU holds at once, and what feeds them."""
    if has(cpu, "avx512f"):
        return 32  # registers of 512 bits
    if has(cpu, "avx2") or cpu.architecture == "aarch64":
        return 8  # 4 for sums, of 2 registers of 256 bits, or 4 of 128, each
    return 6  # of 4 registers of 128 bits, of which there are 16
