"""A whole instruction stream, or all its micro-ops, to columns of fields and back, in NumPy."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .config import Config
from .fields import FieldError, Format, slots
from .instructions import FORMATS, Instruction, Memory, Opcode, Unit, Uop

Columns: TypeAlias = dict[str, npt.NDArray[np.int64]]


def words(insns: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """View instructions, uint8 (n, 16), as their two little-endian halves, uint64 (n, 2)."""
    if insns.dtype != np.uint8 or insns.ndim != 2 or insns.shape[1] != 16:
        raise FieldError(
            f"instructions are {insns.dtype} {insns.shape}; they must be uint8 of shape (n, 16)"
        )
    return np.ascontiguousarray(insns).view("<u8")


def unpack(cls: type[Format], halves: npt.NDArray[np.uint64], config: Config) -> Columns:
    """Return every field of `cls` as a column, int64 (n), from words as uint64 (n, 1 or 2)."""
    columns: Columns = {}
    for slot in slots(cls, config):
        mask = np.uint64((1 << slot.width) - 1)
        column = (halves[:, slot.offset // 64] >> np.uint64(slot.offset % 64)) & mask
        value = column.astype(np.int64)
        if slot.signed:
            value -= (value > slot.high).astype(np.int64) << slot.width
        columns[slot.name] = value
    return columns


def pack(
    cls: type[Format], columns: Mapping[str, npt.ArrayLike], config: Config
) -> npt.NDArray[np.uint64]:
    """Return words, uint64 (n, 1 or 2), from columns of fields; one left out is its default.

    Raises
    ------
    FieldError
        For a value that does not fit its field, naming the word's index, the value and the limits.
    """
    layout = slots(cls, config)
    unknown = set(columns) - {slot.name for slot in layout}
    if unknown:
        raise FieldError(f"{cls.__name__} has no field {', '.join(sorted(unknown))}")
    given = {name: np.atleast_1d(np.asarray(column)) for name, column in columns.items()}
    count = max((column.size for column in given.values()), default=1)
    halves = np.zeros((count, (cls.WORD_BITS + 63) // 64), np.uint64)
    defaults = cls()
    for slot in layout:
        column = given.get(slot.name, np.array([int(getattr(defaults, slot.name))]))
        value = np.broadcast_to(column.astype(np.int64), count)
        wrong = np.flatnonzero((value < slot.low) | (value > slot.high))
        if wrong.size:
            raise FieldError(
                f"{cls.__name__} {wrong[0]}: {slot.name} is {value[wrong[0]]}; its {slot.width} "
                f"bits hold {slot.low} to {slot.high}"
            )
        mask = np.int64((1 << slot.width) - 1)
        halves[:, slot.offset // 64] |= (value & mask).astype(np.uint64) << np.uint64(
            slot.offset % 64
        )
    return halves


def encode_stream(instructions: Iterable[Instruction], config: Config) -> npt.NDArray[np.uint8]:
    """Return the instructions as uint8 (n, 16)."""
    data = b"".join(insn.encode(config).to_bytes(16, "little") for insn in instructions)
    return np.frombuffer(data, np.uint8).reshape(-1, 16).copy()


def opcodes(insns: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the opcode of each instruction, which need not exist, uint8 (n)."""
    return insns[:, 0] & np.uint8(0b111)


def decode_stream(insns: npt.NDArray[np.uint8], config: Config) -> Columns:
    """Return every field of every instruction as a column, int64 (n).

    A column is 0 where an instruction has no such field. Opcodes, memories and ALU operations are
    numbers here and may be ones that do not exist: who executes them says which and where.
    """
    halves = words(insns)
    kinds = opcodes(insns)
    names = dict.fromkeys(slot.name for cls in FORMATS.values() for slot in slots(cls, config))
    columns: Columns = {name: np.zeros(len(insns), np.int64) for name in names}
    columns["opcode"] = kinds.astype(np.int64)
    for opcode, cls in FORMATS.items():
        rows = np.flatnonzero(kinds == int(opcode))
        if rows.size:
            for name, column in unpack(cls, halves[rows], config).items():
                columns[name][rows] = column
    return columns


def unit_numbers(columns: Columns, config: Config) -> npt.NDArray[np.int64]:
    """Return the unit of each instruction of a decoded stream, int64 (n)."""
    opcode, memory = columns["opcode"], columns["memory"]
    loads = (opcode == Opcode.LOAD) & ((memory == Memory.INP) | (memory == Memory.WGT))
    stores = opcode == Opcode.STORE
    multiplies = (opcode == Opcode.GEMM) & (config.acc_banks == 2)
    units = [Unit.LOAD, Unit.STORE, Unit.MATRIX]
    return np.select([loads, stores, multiplies], units, Unit.COMPUTE).astype(np.int64)


def uop_words(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return the words of micro-ops, uint64 (n, 1), from their bytes, uint8 (4 n)."""
    if data.dtype != np.uint8 or data.ndim != 1 or data.size % 4:
        raise FieldError(f"micro-ops are {data.dtype} {data.shape}; they must be uint8 (4 n)")
    return np.ascontiguousarray(data).view("<u4").astype(np.uint64).reshape(-1, 1)


def decode_uops(data: npt.NDArray[np.uint8], config: Config) -> Columns:
    """Return dst, src and wgt of each micro-op from their bytes, uint8 (4 n)."""
    return unpack(Uop, uop_words(data), config)


def encode_uops(
    dst: npt.ArrayLike, src: npt.ArrayLike, wgt: npt.ArrayLike, config: Config
) -> npt.NDArray[np.uint32]:
    """Return micro-ops as uint32 (n)."""
    halves = pack(Uop, {"dst": dst, "src": src, "wgt": wgt}, config)
    return halves[:, 0].astype(np.uint32)
