"""The registers that a host sees: a window of 32-bit words, as AXI4-Lite has them.

A register's word is a `Format`, so its fields are declared, encoded and decoded as an
instruction's are. A host writes `INSN_ADDRESS` and `INSN_COUNT`, then `CONTROL` with `start`, and
reads `STATUS` until `done`. When `error` is set as well, `ERROR` says what was wrong with which
instruction; the machine then waits for `CONTROL` with `reset`. Counters hold 64 bits, the low word
first, and stand still while the machine is not busy.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from .config import Config
from .fields import Format, bits
from .instructions import Unit
from .program import COUNTERS

IDENTITY = 0x5654
VERSION = 2


class Access(enum.Enum):
    """What a host may do with a register."""

    READ = "read"
    WRITE = "write"
    READ_WRITE = "read, write"


class ErrorCode(enum.IntEnum):
    """What stopped the machine; all but `BUS` are the program's doing."""

    NONE = 0
    UNKNOWN_OPCODE = 1
    UNKNOWN_MEMORY = 2
    UNKNOWN_ALU_OPCODE = 3
    AFTER_FINISH = 4
    MISSING_FINISH = 5
    NO_NEIGHBOUR = 6
    NOT_LOADED = 7
    NOT_STORED = 8
    STORE_PADS = 9
    SRAM_RANGE = 10
    DRAM_RANGE = 11
    UOP_RANGE = 12
    DST_RANGE = 13
    SRC_RANGE = 14
    WGT_RANGE = 15
    DEADLOCK = 16
    BUS = 17

    @property
    def meaning(self) -> str:
        """It as a sentence about the instruction."""
        return _ERRORS[self]


_ERRORS = {
    ErrorCode.NONE: "nothing is wrong",
    ErrorCode.UNKNOWN_OPCODE: "there is no such opcode",
    ErrorCode.UNKNOWN_MEMORY: "there is no such memory",
    ErrorCode.UNKNOWN_ALU_OPCODE: "there is no such ALU operation",
    ErrorCode.AFTER_FINISH: "it stands after FINISH, which ends a program",
    ErrorCode.MISSING_FINISH: "it is the last instruction; a program must end with FINISH",
    ErrorCode.NO_NEIGHBOUR: "its unit has no neighbour to pop a token from, or push one to",
    ErrorCode.NOT_LOADED: "LOAD fills UOP, WGT, INP, ACC or ACC_8BIT, not OUT",
    ErrorCode.NOT_STORED: "STORE writes OUT only",
    ErrorCode.STORE_PADS: "STORE has no pads, so they must be 0",
    ErrorCode.SRAM_RANGE: "its rows, with their pads, end outside the buffer",
    ErrorCode.DRAM_RANGE: "its rows lie outside memory",
    ErrorCode.UOP_RANGE: "its micro-ops end outside the micro-op buffer",
    ErrorCode.DST_RANGE: "a micro-op's dst, with the loops' factors, lies outside its buffer",
    ErrorCode.SRC_RANGE: "a micro-op's src, with the loops' factors, lies outside its buffer",
    ErrorCode.WGT_RANGE: "a micro-op's wgt, with the loops' factors, lies outside its buffer",
    ErrorCode.DEADLOCK: "every unit waits, for a token that nobody will give or take",
    ErrorCode.BUS: "memory has no such bytes, or bytes under 0x1000 were asked for",
}


class Activity(enum.IntEnum):
    """What a unit does in one cycle; each cycle of a run counts as one of them."""

    BUSY = 0
    NO_INSTRUCTION = 1
    TOKEN_PREV = 2
    TOKEN_NEXT = 3
    MEMORY = 4
    PIPELINE = 5
    TOKEN_FULL = 6
    ORDER = 7

    @property
    def meaning(self) -> str:
        """It as a clause, for the manual."""
        match self:
            case Activity.BUSY:
                return "worked on an instruction"
            case Activity.NO_INSTRUCTION:
                return "had an empty command queue"
            case Activity.TOKEN_PREV:
                return "waited for a token of the previous unit"
            case Activity.TOKEN_NEXT:
                return "waited for a token of the next unit"
            case Activity.MEMORY:
                return "waited for memory to finish an earlier LOAD or STORE"
            case Activity.PIPELINE:
                return "waited for the last results of an earlier GEMM or ALU"
            case Activity.TOKEN_FULL:
                return "waited for room in a token queue"
            case Activity.ORDER:
                return "waited for the end of an earlier instruction of compute or matrix"


class Word(Format):
    """A register's word of 32 bits."""

    WORD_BITS = 32


class Identity(Word):
    """Which machine answers, and which set of registers it has."""

    version: int = bits(16, "of this table", default=VERSION)
    identity: int = bits(16, f"{IDENTITY:#x}, `VT` in ASCII", default=IDENTITY)


class Shape(Word):
    """The matrix unit and the memory port."""

    log2_batch: int = bits(4, "logarithm of batch")
    log2_block_in: int = bits(4, "logarithm of block_in")
    log2_block_out: int = bits(4, "logarithm of block_out")
    log2_bus_bits: int = bits(4, "logarithm of bus_bits")
    acc_read_ports: int = bits(2, "read ports of the accumulator buffer")
    acc_banks: int = bits(2, "banks of the accumulator buffer")


class Buffers(Word):
    """The bits that address each buffer."""

    uop_index_bits: int = bits(5, "of the micro-op buffer")
    inp_index_bits: int = bits(5, "of the input buffer")
    wgt_index_bits: int = bits(5, "of the weight buffer")
    acc_index_bits: int = bits(5, "of a bank of the accumulator buffer")


class Control(Word):
    """Orders; a bit written as 1 acts once."""

    start: bool = bits(1, "run the program; ignored while busy", default=False)
    reset: bool = bits(1, "stop, forget tokens and errors; memory stays", default=False)
    clear: bool = bits(1, "set all counters to 0", default=False)


class Status(Word):
    """What the machine is doing."""

    busy: bool = bits(1, "from start until done", default=False)
    done: bool = bits(1, "the last program has ended, well or not", default=False)
    error: bool = bits(1, "it ended with an error", default=False)


class Error(Word):
    """What was wrong."""

    code: ErrorCode = bits(8, "the error", default=ErrorCode.NONE)


class Number(Word):
    """A number."""

    value: int = bits(32, "the number")


class Count(Format):
    """A counter, in two words."""

    WORD_BITS = 64

    value: int = bits(64, "the count")


@dataclass(frozen=True)
class Register:
    """One register: where it is, what a host may do with it, and how its word is made up.

    `offset` counts bytes from the start of the window.
    """

    name: str
    offset: int
    access: Access
    format: type[Format]
    meaning: str

    @property
    def size_bytes(self) -> int:
        """4, or 8 for a counter."""
        return self.format.WORD_BITS // 8


def _registers() -> Iterator[Register]:
    read, write, both = Access.READ, Access.WRITE, Access.READ_WRITE
    yield Register("IDENTITY", 0x00, read, Identity, "which machine this is")
    yield Register("SHAPE", 0x04, read, Shape, "its matrix unit and memory port")
    yield Register("BUFFERS", 0x08, read, Buffers, "its buffers")
    yield Register("COMMAND_QUEUE", 0x0C, read, Number, "instructions a command queue holds")
    yield Register("TOKEN_QUEUE", 0x10, read, Number, "tokens a token queue holds")
    yield Register("CONTROL", 0x20, write, Control, "start, reset, clear")
    yield Register("STATUS", 0x24, read, Status, "busy, done, error")
    yield Register("ERROR", 0x28, read, Error, "what was wrong")
    yield Register("ERROR_INSN", 0x2C, read, Number, "index of the instruction it was wrong with")
    yield Register("INSN_ADDRESS", 0x30, both, Number, "address of the program, a multiple of 256")
    yield Register("INSN_COUNT", 0x34, both, Number, "instructions in it")
    offset = _TOKENS_OFFSET
    for sender, receiver in _NEIGHBOURS:
        name = f"TOKENS_{sender.name}_{receiver.name}"
        meaning = f"tokens from {sender.name.lower()} that {receiver.name.lower()} has not taken"
        yield Register(name, offset, read, Number, meaning)
        offset += 4
    offset = _COUNTERS_OFFSET
    for name, meaning in _counters():
        yield Register(name, offset, read, Count, meaning)
        offset += 8


_TOKENS_OFFSET = 0x40
_COUNTERS_OFFSET = 0x80
_NEIGHBOURS = (
    (Unit.LOAD, Unit.COMPUTE),
    (Unit.COMPUTE, Unit.LOAD),
    (Unit.COMPUTE, Unit.STORE),
    (Unit.STORE, Unit.COMPUTE),
)


def _counters() -> Iterator[tuple[str, str]]:
    yield "CYCLES", "cycles from start to done"
    for unit in Unit:
        for activity in activities(unit):
            clause = f"cycles in which {unit.name.lower()} {activity.meaning}"
            yield f"{unit.name}_{activity.name}", clause
    yield "GEMM_CYCLES", "cycles in which a micro-op of GEMM was issued"
    yield "ALU_CYCLES", "cycles in which a micro-op of ALU was issued"
    yield "OPERAND_HITS", "tensor micro-ops of ALU whose source the operand register held"
    for reader in ("fetch", "load", "compute"):
        yield f"{reader.upper()}_WORDS", f"bus words that {reader} read"
    yield "STORE_WORDS", "bus words that store wrote"
    for name, meaning in COUNTERS.items():
        yield name.upper(), meaning


def activities(unit: Unit) -> tuple[Activity, ...]:
    """Return what a unit can be found at: load has no previous unit and store no next one, only
    compute and matrix have pipelines and each other to wait for, and matrix no memory.
    """
    never = {
        Unit.LOAD: (Activity.TOKEN_PREV, Activity.PIPELINE, Activity.ORDER),
        Unit.COMPUTE: (),
        Unit.STORE: (Activity.TOKEN_NEXT, Activity.PIPELINE, Activity.ORDER),
        Unit.MATRIX: (Activity.MEMORY,),
    }[unit]
    return tuple(activity for activity in Activity if activity not in never)


REGISTERS: dict[str, Register] = {register.name: register for register in _registers()}
"""Every register by its name, in the order of their offsets."""


def constants(config: Config) -> dict[str, int]:
    """Return the words of the registers that tell a host which configuration this is."""

    def log2(value: int) -> int:
        return value.bit_length() - 1

    words = {
        "IDENTITY": Identity(),
        "SHAPE": Shape(
            log2_batch=log2(config.batch),
            log2_block_in=log2(config.block_in),
            log2_block_out=log2(config.block_out),
            log2_bus_bits=log2(config.bus_bits),
            acc_read_ports=config.acc_read_ports,
            acc_banks=config.acc_banks,
        ),
        "BUFFERS": Buffers(
            uop_index_bits=config.uop_index_bits,
            inp_index_bits=config.inp_index_bits,
            wgt_index_bits=config.wgt_index_bits,
            acc_index_bits=config.acc_index_bits,
        ),
        "COMMAND_QUEUE": Number(value=config.command_queue_depth),
        "TOKEN_QUEUE": Number(value=config.token_queue_depth),
    }
    return {name: word.encode(config) for name, word in words.items()}
