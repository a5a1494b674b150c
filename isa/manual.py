"""The manual's tables, in Markdown, from the declarations."""

import enum
from collections.abc import Iterable, Iterator, Sequence
from textwrap import dedent

from . import asm, source
from .config import Config
from .directives import DIRECTIVES
from .fields import Format, slots
from .instructions import AluOp, Memory, Opcode
from .program import COUNTERS
from .registers import REGISTERS, Count, ErrorCode, Number


def manual(config: Config) -> str:
    """Return the assembly language and then `tables`, in Markdown."""
    parts = ["# Program text", "## Whole programs", _prose(source), "## Instructions", _prose(asm)]
    parts += ["## Directives", _table(("directive", "meaning"), _directives())]
    return "\n\n".join([*parts, tables(config)])


def tables(config: Config) -> str:
    """Return every format, enum and register of a machine, in Markdown."""
    parts = ["# Instructions"]
    for cls in asm.MNEMONICS.values():
        parts += [f"## {asm.mnemonic(cls)}", (cls.__doc__ or "").strip(), _fields(cls, config)]
    parts += [
        "## Opcodes",
        _table(("value", "opcode"), ((str(op.value), op.name) for op in Opcode)),
        "## Memories",
        _table(
            ("value", "memory", "elements", "bytes of an element in DRAM", "meaning"),
            (
                (
                    str(memory.value),
                    memory.name,
                    str(memory.depth(config)),
                    str(memory.element_bytes(config)),
                    memory.meaning,
                )
                for memory in Memory
            ),
        ),
        "## ALU operations",
        "x is the accumulator, y the immediate or the accumulator at the source index.",
        _table(
            ("value", "operation", "result"), ((str(op.value), op.name, op.meaning) for op in AluOp)
        ),
        "# Counters",
        _table(("counter", "meaning"), COUNTERS.items()),
        "# Registers",
        _table(
            ("offset", "register", "bytes", "access", "meaning"),
            (
                (f"{r.offset:#05x}", r.name, str(r.size_bytes), r.access.value, r.meaning)
                for r in REGISTERS.values()
            ),
        ),
    ]
    for register in REGISTERS.values():
        if register.format not in (Number, Count):
            parts += [f"## {register.name}", _fields(register.format, config)]
    parts += [
        "## Error codes",
        _table(("value", "code"), ((str(code.value), code.name) for code in ErrorCode)),
    ]
    return "\n\n".join(parts) + "\n"


def _prose(module: object) -> str:
    first, _, rest = (module.__doc__ or "").partition("\n")
    return f"{first}\n{dedent(rest)}".strip()


def _directives() -> Iterator[tuple[str, str]]:
    for directive in DIRECTIVES.values():
        yield f"`{directive.syntax}`", directive.meaning


def _fields(cls: type[Format], config: Config) -> str:
    def rows() -> Iterator[tuple[str, str, str, str]]:
        for slot in slots(cls, config):
            last = slot.offset + slot.width - 1
            position = str(slot.offset) if slot.width == 1 else f"{last}:{slot.offset}"
            kind = slot.kind.__name__ if issubclass(slot.kind, enum.Enum) else ""
            yield position, slot.name, kind or ("signed" if slot.signed else ""), slot.meaning

    return _table(("bits", "field", "type", "meaning"), rows())


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
