"""Instructions and micro-ops as lines of text, both ways.

A line is a mnemonic and its fields. Numbers are `name=value`, in decimal or with 0x, 0b; a field
left out has its default. What is an enum or a flag in the declaration is a bare word:

    LOAD INP sram_base=4 dram_base=0x120 y_size=2 x_size=4 x_stride=8 pop_next push_next
    GEMM uop_end=1 iter_out=4 iter_in=2 dst_factor_out=2 dst_factor_in=1 src_factor_out=1
    ALU MAX uop_end=1 iter_out=8 iter_in=1 dst_factor_out=1 use_imm imm=-128
    FINISH pop_next
    UOP dst=4 wgt=1

`unused=0x...` gives the bits that belong to no field, where they stand in the word. `WORD 0x...`
is an instruction given as its 128 bits, and the only way to write one that has an opcode, memory or
operation that does not exist.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from .config import INSTRUCTION_BITS, Config, nearest
from .fields import Format, Slot, slots
from .instructions import FORMATS, Opcode, Uop
from .stream import opcodes, unpack, uop_words, words

WORD = "WORD"
UNUSED = "unused"
_TOKENS = ("pop_prev", "pop_next", "push_prev", "push_next")
_HEX = ("dram_base",)

Number = Callable[[str, str, Mapping[str, int]], int]
"""Reads a field's value from its text, the field's name and the fields read so far."""


class AsmError(ValueError):
    """Text that is no program.

    `line` and `column` count from 1 and are 0 where there is none.
    """

    def __init__(self, message: str, column: int = 0, *, line: int = 0, source: str = "") -> None:
        self.message = message
        self.line = line
        self.column = column
        self.source = source
        where = ":".join([*filter(None, [source]), *(str(n) for n in (line, column) if n)])
        super().__init__(f"{where}: {message}" if where else message)


@dataclass(frozen=True)
class Token:
    """A word of a line and the column it starts in, from 1."""

    text: str
    column: int


def disassemble_instruction(word: int | npt.NDArray[np.uint8], config: Config) -> str:
    """Return one line for an instruction, given as its 128 bits or as uint8 (16).

    What has no meaning is shown as `WORD` with a comment that says why; nothing is raised.
    """
    if isinstance(word, int):
        data = (word & ((1 << INSTRUCTION_BITS) - 1)).to_bytes(16, "little")
        row = np.frombuffer(data, np.uint8)
    else:
        row = word
    return disassemble_instructions(row.reshape(1, 16), config)[0]


def disassemble_instructions(insns: npt.NDArray[np.uint8], config: Config) -> list[str]:
    """Return a line for each instruction, uint8 (n, 16), as `disassemble_instruction` does."""
    lines = [""] * len(insns)
    halves = words(insns)
    kinds = opcodes(insns)
    for opcode in np.unique(kinds).tolist():
        rows = np.flatnonzero(kinds == opcode)
        if opcode in FORMATS:
            texts = _format(FORMATS[Opcode(opcode)], halves[rows], config)
        else:
            texts = [_word(row, f"unknown opcode {opcode}") for row in halves[rows].tolist()]
        for row, text in zip(rows.tolist(), texts, strict=True):
            lines[row] = text
    return lines


def disassemble_uops(data: npt.NDArray[np.uint8], config: Config) -> list[str]:
    """Return a line for each micro-op of uint8 (4 n)."""
    return _format(Uop, uop_words(data), config)


def _word(halves: Sequence[int], why: str) -> str:
    return f"{WORD} {halves[0] | halves[1] << 64:#034x} ; {why}"


def mnemonic(cls: type[Format]) -> str:
    """Return the word that a line of this format begins with."""
    return cls.__name__.upper()


@dataclass(frozen=True)
class _Syntax:
    """What a line of one format may hold."""

    slots: dict[str, Slot]
    defaults: dict[str, int]
    members: dict[str, tuple[str, int]]  # bare word to the enum field it gives, and its value
    used: int  # mask of the bits that belong to a field


@cache
def _syntax(cls: type[Format], config: Config) -> _Syntax:
    layout = {slot.name: slot for slot in slots(cls, config)}
    defaults = cls()
    return _Syntax(
        slots=layout,
        defaults={name: int(getattr(defaults, name)) for name in layout},
        members={
            member.name: (slot.name, member.value)
            for slot in layout.values()
            if issubclass(slot.kind, enum.IntEnum) and slot.name != "opcode"
            for member in slot.kind
        },
        used=sum(((1 << slot.width) - 1) << slot.offset for slot in layout.values()),
    )


def _format(cls: type[Format], halves: npt.NDArray[np.uint64], config: Config) -> list[str]:
    syntax = _syntax(cls, config)
    columns = {name: column.tolist() for name, column in unpack(cls, halves, config).items()}
    unused = _unused(halves, syntax.used)
    enums = {name for name, _ in syntax.members.values()}
    shown = [name for name in syntax.slots if name not in ("opcode", *_TOKENS)]
    shown.sort(key=lambda name: name not in enums)
    shown += [name for name in _TOKENS if name in syntax.slots]
    lines: list[str] = []
    for row in range(len(halves)):
        parts = [mnemonic(cls)]
        for name in shown:
            value = columns[name][row]
            kind = syntax.slots[name].kind
            if issubclass(kind, enum.IntEnum):
                try:
                    parts.append(kind(value).name)
                except ValueError:
                    why = f"{mnemonic(cls)} with unknown {name} {value}"
                    parts = [_word(halves[row].tolist(), why)]
                    break
            elif value != syntax.defaults[name]:
                if kind is bool:
                    parts.append(name)
                else:
                    parts.append(f"{name}={value:#x}" if name in _HEX else f"{name}={value}")
        else:
            if unused[row]:
                parts.append(f"{UNUSED}={unused[row]:#x}")
        lines.append(" ".join(parts))
    return lines


def _unused(halves: npt.NDArray[np.uint64], used: int) -> list[int]:
    out = [0] * len(halves)
    for half in range(halves.shape[1]):
        mask = np.uint64(~(used >> (64 * half)) & ((1 << 64) - 1))
        column = halves[:, half] & mask
        for row in np.flatnonzero(column).tolist():
            out[row] |= int(column[row]) << (64 * half)
    return out


def number(text: str) -> int:
    """Read a whole number: decimal, 0x, 0o or 0b, with a sign.

    Raises
    ------
    AsmError
        For anything else.
    """
    try:
        return int(text, 0)
    except ValueError:
        raise AsmError(f"{text!r} is no whole number; write 12, -3 or 0x1f") from None


def _plain(text: str, name: str, values: Mapping[str, int]) -> int:
    return number(text)


def assemble_line(tokens: Sequence[Token], config: Config, read: Number = _plain) -> int:
    """Return the word of a line that begins with a format's mnemonic, or with `WORD`.

    Parameters
    ----------
    read
        Reads numbers; it gets the text, the field's name and the fields read before it, bare words
        always among them.

    Raises
    ------
    AsmError
        With the column and, for a name that is not known, the nearest that is.
    """
    head = tokens[0]
    if head.text.upper() == WORD:
        return _assemble_word(tokens)
    cls = MNEMONICS.get(head.text.upper())
    if cls is None:
        known = [*MNEMONICS, WORD]
        raise AsmError(
            f"{head.text!r} is no instruction{nearest(head.text.upper(), known)}",
            head.column,
        )
    syntax = _syntax(cls, config)
    values = dict(syntax.defaults)
    given: set[str] = set()
    unused = 0
    for token in sorted(tokens[1:], key=lambda token: "=" in token.text):
        try:
            name, value = _assemble_field(cls, syntax, token.text, values, read)
            if name in given:
                raise AsmError(f"{name} is given twice")
        except AsmError as error:
            raise AsmError(error.message, token.column) from None
        given.add(name)
        if name == UNUSED:
            unused = value
        else:
            values[name] = value
    word = unused
    for name, slot in syntax.slots.items():
        word |= (values[name] & ((1 << slot.width) - 1)) << slot.offset
    return word


def _assemble_word(tokens: Sequence[Token]) -> int:
    if len(tokens) != 2:
        raise AsmError(f"{WORD} takes one number", tokens[0].column)
    try:
        value = number(tokens[1].text)
        if not 0 <= value < 1 << INSTRUCTION_BITS:
            raise AsmError(f"{tokens[1].text} does not fit {INSTRUCTION_BITS} bits")
    except AsmError as error:
        raise AsmError(error.message, tokens[1].column) from None
    return value


def _assemble_field(
    cls: type[Format], syntax: _Syntax, text: str, values: dict[str, int], read: Number
) -> tuple[str, int]:
    name, equals, written = text.partition("=")
    if not equals:
        if name.upper() in syntax.members:
            return syntax.members[name.upper()]
        slot = syntax.slots.get(name)
        if slot is not None and slot.kind is bool:
            return name, 1
        if slot is not None:
            raise AsmError(f"{name} needs a value: {name}=...")
        raise AsmError(_unknown(cls, syntax, name))
    if name == UNUSED:
        value = number(written)
        if value < 0 or value & syntax.used or value >> cls.WORD_BITS:
            free = ~syntax.used & ((1 << cls.WORD_BITS) - 1)
            raise AsmError(f"{UNUSED} is {written}; the bits that belong to no field are {free:#x}")
        return name, value
    slot = syntax.slots.get(name)
    if slot is None or name == "opcode":
        raise AsmError(_unknown(cls, syntax, name))
    if issubclass(slot.kind, enum.IntEnum):
        known = ", ".join(member.name for member in slot.kind)
        raise AsmError(f"{name} is given by a word alone, one of {known}")
    value = read(written, name, values)
    if not slot.low <= value <= slot.high:
        raise AsmError(
            f"{name} is {value}; its {slot.width} bit{'s' * (slot.width > 1)} hold {slot.low} to "
            f"{slot.high}"
        )
    return name, value


def _unknown(cls: type[Format], syntax: _Syntax, name: str) -> str:
    known = [*syntax.members, *(slot for slot in syntax.slots if slot != "opcode"), UNUSED]
    return f"{mnemonic(cls)} has no field {name!r}{nearest(name, known)}"


MNEMONICS: dict[str, type[Format]] = {mnemonic(cls): cls for cls in (*FORMATS.values(), Uop)}
"""What a line may begin with, besides `WORD`."""
