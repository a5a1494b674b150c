"""What an object file defines and lacks, read with care: LLVM takes its tables on trust.

A file cut short is always refused, and so are tables that point outside it. Bytes that changed
inside are for the checksum of the file to find in which code is kept.

The format is ELF (System V ABI, chapters 4 and 5): 64 bits, little-endian, relocatable. Relocations
are those that LLVM writes, by the supplements for x86-64 (table 4.10) and AArch64 (section 5.7).
"""

import struct
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import NativeError

Table: TypeAlias = npt.NDArray[np.void]

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_MAGIC = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian, version 1
_RELOCATABLE = 1

_SECTION = np.dtype(
    [
        *(("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("addr", "<u8")),
        *(("offset", "<u8"), ("size", "<u8"), ("link", "<u4"), ("info", "<u4")),
        *(("align", "<u8"), ("entsize", "<u8")),
    ]
)
_SYMBOL = np.dtype(
    [
        *(("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2")),
        *(("value", "<u8"), ("size", "<u8")),
    ]
)
_RELOCATION = np.dtype([("offset", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<i8")])

_SYMTAB, _STRTAB, _RELA, _NOBITS, _REL = 2, 3, 4, 8, 9  # kinds of sections
_RESERVED = 0xFF00  # section numbers from here on mean something else,
_CONSTANT = 0xFFF1  # this one that a symbol is in none
_FUNCTION = 2  # kind of symbol
_LINKERS_OWN = "_GLOBAL_OFFSET_TABLE_"
_LARGEST_ALIGNMENT = 1 << 16

_X86_64, _AARCH64 = 62, 183
MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}
"""The number of each architecture that code is loaded for."""

_RELOCATED_BYTES = {
    _X86_64: {
        **dict.fromkeys([2, 4, 9, 10, 11, 26, 41, 42], 4),  # PC32, PLT32, GOTPCREL, 32, 32S, ...
        **dict.fromkeys([1, 24, 25], 8),  # 64, PC64, GOTOFF64
    },
    _AARCH64: {
        **dict.fromkeys([258, 261], 4),  # ABS32, PREL32
        **dict.fromkeys([257, 260], 8),  # ABS64, PREL64
        **dict.fromkeys([275, 277, 278, 282, 283, 284, 285, 286, 299, 311, 312], 4),  # in a word
    },
}


@dataclass(frozen=True)
class Symbols:
    """The names of an object file: functions that it defines for others, and what it lacks."""

    functions: frozenset[str]
    undefined: frozenset[str]


def symbols(data: bytes, architecture: str) -> Symbols:
    """Return the names of an object file, after a check of every place that its tables give.

    Parameters
    ----------
    data : bytes
        The file.
    architecture : str
        What it must be for; one of `MACHINES`.

    Raises
    ------
    NativeError
        When it is no object file, or part of one, is for another architecture, or damaged.
    """
    machine = MACHINES[architecture]
    sections = _sections(data, machine)
    found: Symbols | None = None
    for number in np.flatnonzero(sections["type"] == _SYMTAB):
        _require(found is None, "has two tables of symbols")
        found = _names(data, sections, int(number))
    _require(found is not None, "has no table of symbols")
    _require(not (sections["type"] == _REL).any(), "has relocations without addends")
    for number in np.flatnonzero(sections["type"] == _RELA):
        _check_relocations(data, sections, int(number), machine)
    assert found is not None
    return found


def _sections(data: bytes, machine: int) -> Table:
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise NativeError(
            f"{len(data)} bytes beginning {data[:8]!r} are no object code: that is ELF of 64 bits"
        )
    header = _HEADER.unpack_from(data)
    kind, made_for, offset, size, count, names = (header[k] for k in (1, 2, 6, 11, 12, 13))
    _require(kind == _RELOCATABLE, f"is of type {kind}, not relocatable")
    if made_for != machine:
        known = {number: name for name, number in MACHINES.items()}
        raise NativeError(
            f"object code is for {known.get(made_for, f'machine {made_for}')}; this process runs "
            f"{known[machine]}"
        )
    _require(size == _SECTION.itemsize and count > 0, f"has {count} sections in entries of {size}")
    end = offset + count * size
    if end > len(data):
        raise NativeError(f"object code is cut short: {len(data)} bytes of at least {end}")
    sections = np.frombuffer(data, _SECTION, count, offset)
    align = sections["align"][1:]  # the first section is empty
    powers = (align > 0) & (align & (align - np.uint64(1)) == 0) & (align <= _LARGEST_ALIGNMENT)
    _require(bool(powers.all()), "has a section whose alignment makes no sense")
    _require(bool((sections["link"] < count).all()), "links to a section that it has not")
    for number, section in enumerate(sections):
        if section["type"] not in (0, _NOBITS):
            end = int(section["offset"]) + int(section["size"])
            _require(
                end <= len(data), f"has {len(data)} bytes, and its section {number} ends at {end}"
            )
    _require(names < count, "names its sections in one that it has not")
    size = len(_strings(data, sections, names))
    _require(bool((sections["name"] < size).all()), "has the name of a section outside its table")
    return sections


def _strings(data: bytes, sections: Table, number: int) -> bytes:
    section = sections[number]
    begin, size = int(section["offset"]), int(section["size"])
    text = data[begin : begin + size]
    _require(
        section["type"] == _STRTAB and text.endswith(b"\0"), f"has no names in section {number}"
    )
    return text


def _table(data: bytes, sections: Table, number: int, entry: np.dtype[np.void]) -> Table:
    section = sections[number]
    size = int(section["size"])
    _require(
        int(section["entsize"]) == entry.itemsize and size % entry.itemsize == 0,
        f"has section {number} of {size} bytes in entries of {section['entsize']}",
    )
    return np.frombuffer(data, entry, size // entry.itemsize, int(section["offset"]))


def _names(data: bytes, sections: Table, number: int) -> Symbols:
    table = _table(data, sections, number, _SYMBOL)
    text = _strings(data, sections, int(sections[number]["link"]))
    functions: set[str] = set()
    undefined: set[str] = set()
    for place, symbol in enumerate(table[1:], 1):  # the first one is empty
        at, section = int(symbol["name"]), int(symbol["section"])
        _require(at < len(text), f"has the name of symbol {place} outside its table of names")
        name = text[at : text.index(b"\0", at)].decode("ascii", "backslashreplace")
        if section == 0:
            if name != _LINKERS_OWN:
                undefined.add(name)
        elif section < _RESERVED:
            _require(section < len(sections), f"has {name!r} in a section that it has not")
            end = int(symbol["value"]) + int(symbol["size"])
            _require(end <= int(sections[section]["size"]), f"has {name!r} outside its section")
            if symbol["info"] & 15 == _FUNCTION and symbol["info"] >> 4:  # not local
                functions.add(name)
        else:
            _require(section == _CONSTANT, f"has {name!r} in section {section:#x}")
    return Symbols(frozenset(functions), frozenset(undefined))


def _check_relocations(data: bytes, sections: Table, number: int, machine: int) -> None:
    table = _table(data, sections, number, _RELOCATION)
    section = sections[number]
    target = int(section["info"])
    _require(target < len(sections), f"relocates section {target}, which it has not")
    linked = sections[int(section["link"])]
    _require(linked["type"] == _SYMTAB, "has relocations without symbols")
    count = int(linked["size"]) // _SYMBOL.itemsize
    _require(bool((table["symbol"] < count).all()), "relocates by a symbol that it has not")
    known = _RELOCATED_BYTES[machine]
    for kind in np.unique(table["type"]):
        _require(int(kind) in known, f"has relocations of type {kind}, which are not supported")
        furthest = int(table["offset"][table["type"] == kind].max())
        _require(
            furthest + known[int(kind)] <= int(sections[target]["size"]),
            f"relocates byte {furthest} of section {target}, which is shorter",
        )


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NativeError(f"object code is damaged: it {otherwise}")
