"""The directives of program text: what a line that begins with a dot does."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .asm import AsmError, Token, number
from .config import PRESETS, Config, ConfigError, nearest
from .program import Bytes

MAX_IMAGE_BYTES = 1 << 28
"""The largest image that a text may ask for, so that a slip in an address is an error."""

_LABEL = re.compile(r"\s*([A-Za-z_]\w*):(?=\s|$)")
_CODE = re.compile(r"[^\s;]+")


@dataclass(frozen=True)
class Line:
    """One line of text: perhaps a label, and the words before its comment."""

    number: int
    text: str
    label: Token | None
    tokens: list[Token]

    @classmethod
    def parse(cls, number: int, text: str) -> "Line":
        """Cut a line into words."""
        match = _LABEL.match(text)
        label = Token(match[1], match.start(1) + 1) if match else None
        start = match.end() if match else 0
        end = text.find(";", start)
        words = _CODE.finditer(text, start, len(text) if end < 0 else end)
        return cls(number, text, label, [Token(word[0], word.start() + 1) for word in words])

    @property
    def head(self) -> Token:
        """The first word; its text is empty when there is none."""
        return self.tokens[0] if self.tokens else Token("", 0)

    def arguments(self, least: int, most: int | None = None) -> list[Token]:
        """Return the words after the first.

        Raises
        ------
        AsmError
            When there are fewer or more than that.
        """
        count = len(self.tokens) - 1
        if count < least or (most is not None and count > most):
            syntax = DIRECTIVES[self.head.text].syntax
            raise AsmError(f"{self.head.text} has {count} values; write {syntax}", self.head.column)
        return self.tokens[1:]

    def document(self, kind: type) -> Any:
        """Return the JSON value that follows the first word.

        Raises
        ------
        AsmError
            When it is none, or of another kind than `kind`.
        """
        start = self.head.column + len(self.head.text)
        blank = len(self.text[start:]) - len(self.text[start:].lstrip())
        try:
            value, end = json.JSONDecoder().raw_decode(self.text, start + blank)
        except json.JSONDecodeError as error:
            raise AsmError(f"{self.head.text} needs JSON: {error.msg}", error.pos + 1) from None
        except RecursionError:
            raise AsmError("JSON nested too deep", start + blank + 1) from None
        rest = self.text[end:].strip()
        if rest and not rest.startswith(";"):
            raise AsmError(f"{rest!r} follows the JSON value", end + 1)
        if not isinstance(value, kind):
            syntax = DIRECTIVES[self.head.text].syntax
            raise AsmError(f"{self.head.text} has {value!r}; write {syntax}", self.head.column)
        return value


@dataclass(frozen=True)
class Piece:
    """Bytes that one line puts into memory."""

    start: int
    data: Bytes
    line: int


@dataclass
class State:
    """What the lines read so far have said."""

    config: Config
    labels: dict[str, int] = field(default_factory=dict[str, int])
    before: list[Piece] = field(default_factory=list[Piece])
    expected: list[Piece] | None = None
    section: list[Piece] = field(default_factory=list[Piece])  # one of the two above
    here: int | None = None
    size: int = 0
    documents: dict[str, Any] = field(default_factory=dict[str, Any])

    def address(self, token: Token) -> int:
        """Return a byte address, given as a number or as the label of an earlier line."""
        if not token.text.startswith("@"):
            return read(token, 0, MAX_IMAGE_BYTES)
        name = token.text[1:]
        if name not in self.labels:
            raise AsmError(
                f"no line above has the label {name!r}{nearest(name, self.labels)}", token.column
            )
        return self.labels[name]

    def define(self, label: Token) -> None:
        """Give a label the present address."""
        if label.text in self.labels:
            raise AsmError(f"label {label.text!r} is there twice", label.column)
        self.labels[label.text] = self.require_address(label)

    def put(self, line: Line, data: Bytes) -> None:
        """Place bytes at the present address, which moves behind them."""
        here = self.require_address(line.head)
        if here + data.size > MAX_IMAGE_BYTES:
            raise AsmError(
                f"the image would reach byte {here + data.size:#x}; it may have "
                f"{MAX_IMAGE_BYTES:#x}",
                line.head.column,
            )
        self.section.append(Piece(here, data, line.number))
        self.here = here + data.size

    def require_address(self, token: Token) -> int:
        """Return the present address."""
        if self.here is None:
            raise AsmError(
                f"{token.text!r} stands before any .dram, so it has no address", token.column
            )
        return self.here


def read(token: Token, low: int, high: int) -> int:
    """Return the number that a word holds, from `low` to `high`."""
    try:
        value = number(token.text)
    except AsmError as error:
        raise AsmError(error.message, token.column) from None
    if not low <= value <= high:
        raise AsmError(f"{token.text} is not from {low} to {high}", token.column)
    return value


@dataclass(frozen=True)
class Directive:
    """How a directive is written, what it means, and what it does."""

    syntax: str
    meaning: str
    apply: Callable[[State, Line], None]

    @property
    def name(self) -> str:
        """The word it begins with."""
        return self.syntax.partition(" ")[0]


def _config(state: State, line: Line) -> None:
    if line.head.text in state.documents:
        raise AsmError(".config is given twice", line.head.column)
    words = line.arguments(1)
    if not words[0].text.startswith("{"):
        name = words[0].text
        if len(words) > 1 or name not in PRESETS:
            raise AsmError(
                f"{name!r} is neither a preset nor JSON{nearest(name, PRESETS)}",
                words[0].column,
            )
        state.config = PRESETS[name]
    else:
        try:
            state.config = Config.from_json(line.document(dict))
        except ConfigError as error:
            raise AsmError(str(error), words[0].column) from None
    state.documents[line.head.text] = state.config


def _dram(state: State, line: Line) -> None:
    (address,) = line.arguments(1, 1)
    state.section = state.before
    state.here = state.address(address)


def _expect(state: State, line: Line) -> None:
    (address,) = line.arguments(1, 1)
    if state.expected is None:
        state.expected = []
    state.section = state.expected
    state.here = state.address(address)


def _align(state: State, line: Line) -> None:
    (step,) = line.arguments(1, 1)
    here = state.require_address(line.head)
    state.here = here + -here % read(step, 1, MAX_IMAGE_BYTES)


def _size(state: State, line: Line) -> None:
    (size,) = line.arguments(1, 1)
    state.size = state.address(size)


def _integers(state: State, line: Line) -> None:
    dtype = np.dtype(line.head.text[1:]).newbyteorder("<")
    limits = np.iinfo(dtype)
    values = [read(word, int(limits.min), int(limits.max)) for word in line.arguments(1)]
    state.put(line, np.array(values, dtype).view(np.uint8))


def _hex(state: State, line: Line) -> None:
    data = bytearray()
    for word in line.arguments(1):
        try:
            data += bytes.fromhex(word.text)
        except ValueError:
            raise AsmError(
                f"{word.text!r} is no hexadecimal; write pairs of digits, as in 00ff 7f",
                word.column,
            ) from None
    state.put(line, np.frombuffer(bytes(data), np.uint8))


def _fill(state: State, line: Line) -> None:
    count, *value = line.arguments(1, 2)
    byte = read(value[0], -128, 255) & 0xFF if value else 0
    state.put(line, np.full(read(count, 0, MAX_IMAGE_BYTES), byte, np.uint8))


def _note(state: State, line: Line) -> None:
    state.documents[line.head.text] = line.document(str)


def _tags(state: State, line: Line) -> None:
    state.documents[line.head.text] = tuple(str(tag) for tag in line.document(list))


def _info(state: State, line: Line) -> None:
    state.documents[line.head.text] = line.document(dict)


def _counters(state: State, line: Line) -> None:
    counters = line.document(dict)
    for name, value in counters.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise AsmError(f"{name} is {value!r}; it must be a whole number", line.head.column)
    state.documents[line.head.text] = counters


DIRECTIVES: dict[str, Directive] = {
    directive.name: directive
    for directive in (
        Directive(".config PRESET or {JSON}", "the machine", _config),
        Directive(".dram ADDRESS", "what follows lies in DRAM, from this byte on", _dram),
        Directive(".expect ADDRESS", "the same, in DRAM after the run", _expect),
        Directive(".align BYTES", "go on at the next multiple", _align),
        Directive(".int8 VALUE ...", "signed bytes", _integers),
        Directive(".int32 VALUE ...", "signed words of four bytes, little-endian", _integers),
        Directive(".hex DIGITS ...", "bytes, two digits each", _hex),
        Directive(".fill COUNT [BYTE]", "so many equal bytes", _fill),
        Directive(".size BYTES", "the image has at least this size", _size),
        Directive('.note "TEXT"', "what the program is for", _note),
        Directive('.tags ["WORD", ...]', "words to find it by", _tags),
        Directive('.counters {"NAME": N, ...}', "the counters of its run", _counters),
        Directive(".info {JSON}", "facts about it", _info),
    )
}
"""Every directive by its name. An address is a number or the `@label` of an earlier line."""
