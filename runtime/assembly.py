"""Recorded commands become a stream: micro-ops are placed, fields packed in columns, tokens set."""

import enum
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..isa.config import Config
from ..isa.instructions import Alu, AluOp, Finish, Gemm, Instruction, Load, Memory, Store
from ..isa.stream import pack
from .kernel import Kernel
from .residency import place
from .stream import Mark, Stream
from .tokens import TokenOrder
from .transfer import Transfer

_Columns: TypeAlias = Mapping[str, npt.NDArray[np.int64]]


class Move(NamedTuple):
    """A LOAD, or a STORE when the memory is OUT."""

    memory: Memory
    transfer: Transfer
    bank: int


class Step(NamedTuple):
    """A GEMM (`op` is None) or ALU, and the number of its list of micro-ops."""

    kernel: Kernel
    uops: int
    bank: int
    op: AluOp | None
    imm: int | None
    reset: bool


class Bare(enum.Enum):
    """An instruction that has nothing but its tokens."""

    RELAY = "a load of no micro-ops"
    FINISH = "the end of the program"


Record: TypeAlias = Move | Step | Bare


def assemble(
    records: Sequence[Record],
    marks: Sequence[Mark],
    order: TokenOrder,
    lists: Sequence[npt.NDArray[np.uint32]],
    config: Config,
) -> Stream:
    """Return the stream of all records, loads of micro-ops put in where they are missing.

    `marks` count records; those of the stream count instructions. A load of micro-ops needs no
    token: it belongs to the unit that uses them.
    """
    steps = [(i, record) for i, record in enumerate(records) if isinstance(record, Step)]
    where = np.array([i for i, _ in steps], np.int64)
    layers = np.searchsorted([mark.begin for mark in marks], where, "right")
    residency = place([step.uops for _, step in steps], lists, layers.tolist(), config.uop_depth)
    loads = np.array(residency.loads, np.int64).reshape(-1, 4)
    before = _in_front(where, layers, marks)[loads[:, 0]]

    words = np.zeros((len(records) + len(loads), 2), np.uint64)
    places = np.arange(len(records)) + np.searchsorted(before, np.arange(len(records)), "right")
    tokens = _tokens(order, len(records))

    def put(cls: type[Instruction], positions: npt.NDArray[np.int64], columns: _Columns) -> None:
        if positions.size:
            flags = {name: flag[positions] for name, flag in tokens.items()}
            words[places[positions]] = pack(cls, {**columns, **flags}, config)

    moves = [(i, record) for i, record in enumerate(records) if isinstance(record, Move)]
    for cls in (Load, Store):
        chosen = [(i, move) for i, move in moves if (move.memory is Memory.OUT) == (cls is Store)]
        put(cls, _positions(chosen), _move_columns([move for _, move in chosen], config))
    begun = [(i, step, begin) for (i, step), begin in zip(steps, residency.begins, strict=True)]
    for cls in (Gemm, Alu):
        chosen = [item for item in begun if (item[1].op is None) == (cls is Gemm)]
        columns = _step_columns([step for _, step, _ in chosen], cls)
        banks = np.array([step.bank for _, step, _ in chosen], np.int64)
        columns |= _bank_column(banks, config)
        begins = np.array([begin for _, _, begin in chosen], np.int64)
        counts = np.array([len(step.kernel.uops) for _, step, _ in chosen], np.int64)
        columns |= {"uop_begin": begins, "uop_end": begins + counts}
        put(cls, _positions(chosen), columns)
    bare = [(i, record) for i, record in enumerate(records) if isinstance(record, Bare)]
    relays = _positions([item for item in bare if item[1] is Bare.RELAY])
    put(Load, relays, {"memory": np.full(relays.size, Memory.UOP)})
    put(Finish, _positions([item for item in bare if item[1] is Bare.FINISH]), {})
    if len(loads):
        columns = {"sram_base": loads[:, 1], "dram_base": loads[:, 2], "x_size": loads[:, 3]}
        one = {"memory": np.array(Memory.UOP), "y_size": np.array(1), "x_stride": loads[:, 3]}
        words[before + np.arange(len(loads))] = pack(Load, {**columns, **one}, config)

    firsts = np.array([mark.begin for mark in marks], np.int64)
    firsts += np.searchsorted(before, firsts, "left")
    return Stream(
        config,
        words.view(np.uint8).reshape(-1, 16),
        residency.image.view(np.uint8),
        tuple(
            mark._replace(begin=first) for mark, first in zip(marks, firsts.tolist(), strict=True)
        ),
    )


def _in_front(
    where: npt.NDArray[np.int64], layers: npt.NDArray[np.int64], marks: Sequence[Mark]
) -> npt.NDArray[np.int64]:
    """Return the record in front of which each step's micro-ops are loaded.

    For the first step of a layer that is the layer's first record, so that micro-ops come while a
    relay or a load of accumulators waits.
    """
    begins = np.array([0, *(mark.begin for mark in marks)], np.int64)
    first = np.diff(layers, prepend=-1) != 0
    return np.where(first, begins[layers], where)


def _positions(items: Sequence[tuple[int, *tuple[object, ...]]]) -> npt.NDArray[np.int64]:
    return np.array([item[0] for item in items], np.int64)


def _tokens(order: TokenOrder, count: int) -> dict[str, npt.NDArray[np.int64]]:
    """Return the four token flags of each record."""
    names = ("pop_prev", "pop_next", "push_prev", "push_next")
    flags = {name: np.zeros(count, np.int64) for name in names}
    for (source, target), edge in order.edges.items():
        forward = source < target
        flags["push_next" if forward else "push_prev"][edge.pushes] = 1
        flags["pop_prev" if forward else "pop_next"][edge.pops] = 1
    return flags


def _move_columns(moves: Sequence[Move], config: Config) -> dict[str, npt.NDArray[np.int64]]:
    rows = np.array(
        [
            (memory, memory.element_bytes(config), *transfer[:5], *transfer.pads, bank)
            for memory, transfer, bank in moves
        ],
        np.int64,
    ).reshape(-1, 12)
    memory, element, sram, dram, y_size, x_size, x_stride, top, bottom, left, right, bank = rows.T
    return {
        **_bank_column(bank, config),
        "memory": memory,
        "sram_base": sram,
        "dram_base": dram // element,
        "y_size": y_size,
        "x_size": x_size,
        "x_stride": x_stride,
        "y_pad_0": top,
        "y_pad_1": bottom,
        "x_pad_0": left,
        "x_pad_1": right,
    }


def _bank_column(banks: npt.NDArray[np.int64], config: Config) -> _Columns:
    """Return the field that names a bank, which there is where there are several."""
    return {"bank": banks} if config.acc_banks > 1 else {}


def _step_columns(
    steps: Sequence[Step], cls: type[Gemm] | type[Alu]
) -> dict[str, npt.NDArray[np.int64]]:
    loops = (
        (k.iter_out, k.iter_in, *k.dst_factors, *k.src_factors, *k.wgt_factors)
        for k in (step.kernel for step in steps)
    )
    rows = np.array(list(loops), np.int64).reshape(-1, 8)
    names = ("iter_out", "iter_in", "dst_factor_out", "dst_factor_in")
    names += ("src_factor_out", "src_factor_in")
    if cls is Gemm:
        names += ("wgt_factor_out", "wgt_factor_in")
        own = {"reset": [step.reset for step in steps]}
    else:
        own = {
            "alu_opcode": [step.op or AluOp.MIN for step in steps],
            "use_imm": [step.imm is not None for step in steps],
            "imm": [step.imm or 0 for step in steps],
        }
    columns = dict(zip(names, rows.T, strict=False))
    return columns | {name: np.array(column, np.int64) for name, column in own.items()}
