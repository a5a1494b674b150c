"""A whole program from text.

    ; Adds 1 to four tiles.                 A comment runs from ; to the end of its line.
    .config tiny                          ; a preset's name, or {"block_in": 8, ...} as JSON

    LOAD UOP dram_base=@kernel y_size=1 x_size=1 x_stride=1
    LOAD ACC dram_base=@x y_size=1 x_size=4 x_stride=4
    ALU ADD uop_end=1 iter_out=4 iter_in=1 dst_factor_out=1 use_imm imm=1 push_next
    STORE OUT dram_base=@y y_size=1 x_size=4 x_stride=4 pop_prev push_prev
    FINISH pop_next

    .dram 0x1000                          ; what follows lies in DRAM from this byte on
    kernel: UOP                           ; a label, and a micro-op (4 bytes)
    .align 16
    x:  .int32 1 2 3 4                    ; also .int8, .hex 00ff 7f, .fill COUNT BYTE
        .fill 48
    y:  .fill 16
    .expect @y                            ; the same, in DRAM after the run
        .int8 2 3 4 5
        .fill 12 1

Instructions make the stream in the order they stand in, wherever that is; `asm` describes their
fields and `directives` the lines that begin with a dot. `@label` is the byte address of a label;
as a `dram_base` it becomes the number of elements (`@label+3` is three elements on), and it is an
error when the label lies inside one. Memory that no line fills is zero before the run, and
unchanged after it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .asm import AsmError, assemble_line, number
from .config import PRESETS, Config, nearest
from .directives import DIRECTIVES, Line, Piece, State
from .instructions import Memory
from .program import Bytes, Program


def assemble(text: str, *, config: Config | None = None, source: str = "") -> Program:
    """Return the program that a text describes.

    Parameters
    ----------
    config
        The machine where the text has no `.config`; the default one where that is None too.
    source
        The text's name in errors.

    Raises
    ------
    AsmError
        With the line and column of what is wrong, and what would do.
    """
    state = State(config or PRESETS["default"])
    lines = [Line.parse(number, line) for number, line in enumerate(text.splitlines(), 1)]
    insns: list[bytes] = []
    line = Line(0, "", None, [])
    try:
        for line in lines:
            if line.head.text == ".config":
                DIRECTIVES[".config"].apply(state, line)
        for line in lines:
            _place(state, line)
        for line in lines:
            if line.tokens and not _is_data(line):
                insns.append(_assemble_instruction(state, line))
        return _program(state, insns)
    except AsmError as error:
        raise AsmError(
            error.message, error.column, line=error.line or line.number, source=source
        ) from None


def _is_data(line: Line) -> bool:
    return line.head.text.startswith(".") or line.head.text.upper() == "UOP"


def _place(state: State, line: Line) -> None:
    """Take the label and the data of a line."""
    if line.label:
        state.define(line.label)
    name = line.head.text
    if name.upper() == "UOP":
        word = assemble_line(line.tokens, state.config)
        state.put(line, np.frombuffer(word.to_bytes(4, "little"), np.uint8))
    elif name.startswith("."):
        if name not in DIRECTIVES:
            raise AsmError(f"{name!r} is no directive{nearest(name, DIRECTIVES)}", line.head.column)
        if name != ".config":
            DIRECTIVES[name].apply(state, line)


def _assemble_instruction(state: State, line: Line) -> bytes:
    def value(text: str, name: str, fields: Mapping[str, int]) -> int:
        if not text.startswith("@"):
            return number(text)
        if name != "dram_base":
            raise AsmError(f"{name} is {text}; only dram_base takes a label")
        return _elements(state, text[1:], Memory(fields["memory"]))

    return assemble_line(line.tokens, state.config, value).to_bytes(16, "little")


def _elements(state: State, text: str, memory: Memory) -> int:
    """Return a label's address, with what follows a `+`, in elements of a memory."""
    label, plus, offset = text.partition("+")
    if label not in state.labels:
        raise AsmError(f"there is no label {label!r}{nearest(label, state.labels)}")
    size = memory.element_bytes(state.config)
    if state.labels[label] % size:
        raise AsmError(
            f"label {label!r} is byte {state.labels[label]:#x}, inside an element of {memory.name} "
            f"({size} bytes); put .align {size} before it"
        )
    return state.labels[label] // size + (number(offset) if plus else 0)


def _program(state: State, insns: Sequence[bytes]) -> Program:
    pieces = [*state.before, *(state.expected or [])]
    size = max([state.size, *(piece.start + piece.data.size for piece in pieces)])
    before = _overlay(np.zeros(size, np.uint8), state.before)
    return Program(
        config=state.config,
        insns=np.frombuffer(b"".join(insns), np.uint8).reshape(-1, 16).copy(),
        dram_before=before,
        dram_after=None if state.expected is None else _overlay(before.copy(), state.expected),
        counters=state.documents.get(".counters"),
        note=state.documents.get(".note", ""),
        tags=state.documents.get(".tags", ()),
        info=state.documents.get(".info", {}),
    )


def _overlay(image: Bytes, pieces: Sequence[Piece]) -> Bytes:
    end = 0
    last = 0
    for piece in sorted(pieces, key=lambda piece: piece.start):
        if piece.data.size and piece.start < end:
            raise AsmError(
                f"byte {piece.start:#x} is filled here and by line {last}", line=piece.line
            )
        image[piece.start : piece.start + piece.data.size] = piece.data
        end, last = max(end, piece.start + piece.data.size), piece.line
    return image
