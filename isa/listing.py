"""A whole program to text, from which `source` makes the identical program."""

import json
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .asm import disassemble_instructions, disassemble_uops
from .config import PRESETS, Config
from .instructions import Memory, Opcode, Uop
from .program import Bytes, Program
from .stream import decode_stream

_ROW_BYTES = 32
_UOP_BYTES = Uop.WORD_BITS // 8


def disassemble(program: Program) -> str:
    """Return the program as text: its instructions, numbered, and its memory.

    What LOAD UOP reads is shown as micro-ops. Nothing is lost: `assemble` gives back an equal
    program, bits that belong to no field and instructions that do not exist included.
    """
    return "\n".join(_lines(program)) + "\n"


def _lines(program: Program) -> Iterator[str]:
    yield f".config {_config(program.config)}"
    if program.note:
        yield f".note {json.dumps(program.note)}"
    if program.tags:
        yield f".tags {json.dumps(program.tags)}"
    if program.info:
        yield f".info {json.dumps(dict(program.info))}"
    if program.counters is not None:
        yield f".counters {json.dumps(dict(program.counters))}"
    yield ""
    for index, line in enumerate(disassemble_instructions(program.insns, program.config)):
        code, _, why = line.partition(" ; ")
        yield f"{code} ; {index}{': ' * bool(why)}{why}"
    image = program.dram_before
    yield ""
    yield f".size {image.size:#x}"
    for start, end, is_uops in _segments(program):
        if is_uops:
            yield f".dram {start:#x}"
            yield from disassemble_uops(image[start:end], program.config)
        else:
            yield from _data(".dram", start, image[start:end], skip_zeros=True)
    if program.dram_after is not None:
        yield ""
        yield ".expect 0"
        changed = np.flatnonzero(program.dram_after != image)
        for start, end in _joined(changed):
            yield from _data(".expect", start, program.dram_after[start:end], skip_zeros=False)


def _config(config: Config) -> str:
    for name, preset in PRESETS.items():
        if config == preset:
            return name
    default = Config().to_json()
    own = {name: value for name, value in config.to_json().items() if value != default[name]}
    return json.dumps(own)


def _segments(program: Program) -> Iterator[tuple[int, int, bool]]:
    """Cut the image into pieces (start, end, whether micro-ops are read from there)."""
    size = program.dram_before.size
    is_uop = np.zeros(size // _UOP_BYTES, np.bool_)
    columns = decode_stream(program.insns, program.config)
    loads = (columns["opcode"] == Opcode.LOAD) & (columns["memory"] == Memory.UOP)
    for row in np.flatnonzero(loads).tolist():
        base, stride = int(columns["dram_base"][row]), int(columns["x_stride"][row])
        width = int(columns["x_size"][row])
        for y in range(int(columns["y_size"][row]) if width else 0):
            is_uop[base + y * stride : base + y * stride + width] = True
    edges = (np.flatnonzero(np.diff(is_uop)) + 1).tolist()
    bounds = [0, *edges, is_uop.size]
    for begin, end in pairwise(bounds):
        if begin < end:
            yield begin * _UOP_BYTES, end * _UOP_BYTES, bool(is_uop[begin])
    if size % _UOP_BYTES:
        yield is_uop.size * _UOP_BYTES, size, False


def _data(directive: str, start: int, data: Bytes, *, skip_zeros: bool) -> Iterator[str]:
    """Give bytes as rows of digits, long runs of one value as `.fill`; zeros can be left out."""
    here = -1
    for begin, end, is_run in _runs(data):
        if is_run and skip_zeros and not data[begin]:
            continue
        if here != begin:
            yield f"{directive} {start + begin:#x}"
        if is_run:
            yield f".fill {end - begin} {data[begin]}"
        else:
            for row in range(begin, end, _ROW_BYTES):
                yield f".hex {data[row : min(row + _ROW_BYTES, end)].tobytes().hex(' ', -4)}"
        here = end


def _runs(data: Bytes) -> Iterator[tuple[int, int, bool]]:
    """Cut bytes into runs of one value, at least a row long, and what lies between them."""
    edges = np.flatnonzero(np.diff(data)) + 1
    bounds: npt.NDArray[np.int64] = np.concatenate(([0], edges, [data.size]))
    done = 0
    for index in np.flatnonzero(np.diff(bounds) >= _ROW_BYTES).tolist():
        begin, end = int(bounds[index]), int(bounds[index + 1])
        if done < begin:
            yield done, begin, False
        yield begin, end, True
        done = end
    if done < data.size:
        yield done, data.size, False


def _joined(positions: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Give the stretches (start, end) that cover all positions, near ones in one stretch."""
    if positions.size:
        cuts = np.flatnonzero(np.diff(positions) > _ROW_BYTES)
        starts = [positions[0], *positions[cuts + 1]]
        ends = [*positions[cuts], positions[-1]]
        for start, end in zip(starts, ends, strict=True):
            yield int(start), int(end) + 1
