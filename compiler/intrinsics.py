"""What one instruction does to one tile, declared as tensor expressions.

An `Intrinsic` is a `compute` over tiles and the memory that each of its tensors must be in; that is
all that `tensorize` looks at. The `action` is what is emitted for a block that matches.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from ..isa.config import Config
from ..isa.instructions import AluOp, Memory, Unit
from .expr import (
    Binary,
    BinaryOp,
    Compute,
    Const,
    Expr,
    Parameter,
    Placeholder,
    Select,
    Type,
    cast,
    compute,
    placeholder,
    reduce_axis,
    total,
)
from .schedule import Scope

IMMEDIATE = Parameter("imm", Type.INT32, -(1 << 15), (1 << 15) - 1)
"""The ALU's immediate operand."""

INSIDE = Parameter("inside", Type.BOOL)
"""Where a load reads; elsewhere it writes zeros."""


@dataclass(frozen=True)
class GemmAction:
    """GEMM, or with `reset` zeros."""

    reset: bool


@dataclass(frozen=True)
class AluAction:
    """ALU, with a tile or an immediate as second operand."""

    op: AluOp
    immediate: bool


@dataclass(frozen=True)
class LoadAction:
    """LOAD of a memory."""

    memory: Memory


@dataclass(frozen=True)
class StoreAction:
    """STORE."""


@dataclass(frozen=True)
class VectorAction:
    """An instruction of a CPU or GPU, by its name in `emit.llvm_dots` or `emit.cuda_dots`."""

    name: str


Action: TypeAlias = GemmAction | AluAction | LoadAction | StoreAction | VectorAction


@dataclass(frozen=True)
class Intrinsic:
    """One instruction's work on one tile.

    Parameters
    ----------
    name : str
        For people.
    tensor : Compute
        What the target holds after.
    target : Scope
        Where the target is.
    operands : mapping of Placeholder to Scope
        Where each operand is, in the order in which a match lists them.
    unit : Unit
        Who executes it.
    action : Action
    in_place : Placeholder or None
        The operand that is the target itself, as it was before.
    anywhere : bool
        Whether a tile's elements may lie anywhere, those along its last axis beside each other.
    """

    name: str
    tensor: Compute
    target: Scope
    operands: Mapping[Placeholder, Scope] = field(hash=False)
    unit: Unit
    action: Action
    in_place: Placeholder | None = None
    anywhere: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.tensor.name} = {self.tensor.body}"


def gemm(config: Config) -> Intrinsic:
    """GEMM: acc[b, o] = acc[b, o] + sum of inp[b, i] * wgt[o, i] over i."""
    inp = placeholder("inp", (config.batch, config.block_in), Type.INT8)
    wgt = placeholder("wgt", (config.block_out, config.block_in), Type.INT8)
    i = reduce_axis(config.block_in, "i")

    def body(b: Expr, o: Expr) -> Expr:
        product = cast(inp[b, i], Type.INT32) * cast(wgt[o, i], Type.INT32)
        return total(product, over=(i,))

    acc = compute("acc", (config.batch, config.block_out), body)
    scopes = {inp: Scope.INP, wgt: Scope.WGT}
    return Intrinsic("GEMM", acc, Scope.ACC, scopes, Unit.COMPUTE, GemmAction(reset=False))


def reset(config: Config) -> Intrinsic:
    """GEMM with its reset bit: acc[b, o] = 0."""
    zeros = compute("acc", _tile(config), lambda b, o: Const(0, Type.INT32))
    return Intrinsic("RESET", zeros, Scope.ACC, {}, Unit.COMPUTE, GemmAction(reset=True))


_ALU_OPS: dict[BinaryOp, AluOp] = {
    BinaryOp.ADD: AluOp.ADD,
    BinaryOp.MUL: AluOp.MUL,
    BinaryOp.MIN: AluOp.MIN,
    BinaryOp.MAX: AluOp.MAX,
    BinaryOp.SHR: AluOp.SHR,
}


def alu(config: Config, op: BinaryOp) -> Intrinsic:
    """ALU with two tiles: acc[b, o] = acc[b, o] op src[b, o]."""
    acc = placeholder("acc", _tile(config), Type.INT32)
    src = placeholder("src", _tile(config), Type.INT32)
    result = compute("acc", _tile(config), lambda b, o: Binary(op, acc[b, o], src[b, o]))
    action = AluAction(_ALU_OPS[op], immediate=False)
    scopes = {src: Scope.ACC}
    name = f"ALU {action.op.name}"
    return Intrinsic(name, result, Scope.ACC, scopes, Unit.COMPUTE, action, in_place=acc)


def alu_immediate(config: Config, op: BinaryOp) -> Intrinsic:
    """ALU with an immediate: acc[b, o] = acc[b, o] op imm."""
    acc = placeholder("acc", _tile(config), Type.INT32)
    result = compute("acc", _tile(config), lambda b, o: Binary(op, acc[b, o], IMMEDIATE))
    action = AluAction(_ALU_OPS[op], immediate=True)
    name = f"ALU {action.op.name} imm"
    return Intrinsic(name, result, Scope.ACC, {}, Unit.COMPUTE, action, in_place=acc)


def load(config: Config, memory: Memory, *, padded: bool) -> Intrinsic:
    """LOAD: dst[b, i] = src[b, i], widened for ACC_8BIT; or zero where not `inside`."""
    shape = {
        Memory.INP: (config.batch, config.block_in),
        Memory.WGT: (config.block_out, config.block_in),
    }.get(memory, _tile(config))
    src = placeholder("src", shape, Type.INT32 if memory is Memory.ACC else Type.INT8)
    wide = Type.INT8 if memory in (Memory.INP, Memory.WGT) else Type.INT32

    def body(b: Expr, i: Expr) -> Expr:
        value = cast(src[b, i], wide)
        return Select(INSIDE, value, Const(0, wide)) if padded else value

    scope = {Memory.INP: Scope.INP, Memory.WGT: Scope.WGT}.get(memory, Scope.ACC)
    unit = Unit.COMPUTE if scope is Scope.ACC else Unit.LOAD
    name = f"LOAD {memory.name}{' padded' if padded else ''}"
    dst = compute("dst", shape, body)
    return Intrinsic(name, dst, scope, {src: Scope.DRAM}, unit, LoadAction(memory))


def store(config: Config) -> Intrinsic:
    """STORE: the low 8 bits of acc[b, o], to DRAM."""
    acc = placeholder("acc", _tile(config), Type.INT32)
    out = compute("out", _tile(config), lambda b, o: cast(acc[b, o], Type.INT8))
    return Intrinsic("STORE", out, Scope.DRAM, {acc: Scope.ACC}, Unit.STORE, StoreAction())


@lru_cache(maxsize=16)
def intrinsics(config: Config) -> tuple[Intrinsic, ...]:
    """Return every instruction of a machine."""
    memories = (Memory.INP, Memory.WGT, Memory.ACC, Memory.ACC_8BIT)
    return (
        gemm(config),
        reset(config),
        *(alu(config, op) for op in _ALU_OPS),
        *(alu_immediate(config, op) for op in _ALU_OPS),
        *(load(config, memory, padded=padded) for memory in memories for padded in (False, True)),
        store(config),
    )


def _tile(config: Config) -> tuple[int, int]:
    return config.batch, config.block_out
