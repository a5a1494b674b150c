"""isa.stream: whole streams against one instruction at a time."""

import enum
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.fields import FieldError, Format, slots
from vtakit.isa.instructions import FORMATS, Finish, Gemm, Instruction, Load, Uop, decode
from vtakit.isa.stream import (
    decode_stream,
    decode_uops,
    encode_stream,
    encode_uops,
    opcodes,
    pack,
    unpack,
    words,
)

CONFIGS = pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
WORDS = [*FORMATS.values(), Uop]


def _random_columns(
    cls: type[Format], config: Config, count: int, seed: int
) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    rng = np.random.default_rng(seed)
    columns = {}
    for slot in slots(cls, config):
        high = len(slot.kind) - 1 if issubclass(slot.kind, enum.Enum) else slot.high
        columns[slot.name] = rng.integers(slot.low, high, count, np.int64, endpoint=True)
    if "opcode" in columns:
        columns["opcode"][:] = int(cls().opcode)  # type: ignore[attr-defined]
    return columns


@CONFIGS
@pytest.mark.parametrize("cls", WORDS)
def test_pack_agrees_with_encode(config: Config, cls: type[Format]) -> None:
    columns = _random_columns(cls, config, 64, seed=1)
    halves = pack(cls, columns, config)
    kinds = {slot.name: slot.kind for slot in slots(cls, config)}
    for row, half in enumerate(halves.tolist()):
        values = {name: kinds[name](int(column[row])) for name, column in columns.items()}
        assert sum(h << 64 * i for i, h in enumerate(half)) == cls(**values).encode(config)


@CONFIGS
@pytest.mark.parametrize("cls", WORDS)
def test_unpack_gives_back_what_pack_was_given(config: Config, cls: type[Format]) -> None:
    columns = _random_columns(cls, config, 64, seed=2)
    found = unpack(cls, pack(cls, columns, config), config)
    assert found.keys() == columns.keys()
    for name, column in columns.items():
        np.testing.assert_array_equal(found[name], column, name)


@CONFIGS
@given(data=st.data())
def test_decode_stream_agrees_with_decode(config: Config, data: st.DataObject) -> None:
    raw = data.draw(st.lists(st.binary(min_size=16, max_size=16), max_size=8))
    insns = np.frombuffer(b"".join(raw), np.uint8).reshape(-1, 16)
    columns = decode_stream(insns, config)
    for row, word in enumerate(raw):
        try:
            insn = decode(int.from_bytes(word, "little"), config)
        except FieldError:
            continue
        names = {slot.name for slot in slots(type(insn), config)}
        for name, column in columns.items():
            assert column[row] == (int(getattr(insn, name)) if name in names else 0), name


def test_decode_stream_shows_opcodes_that_do_not_exist() -> None:
    insns = np.zeros((2, 16), np.uint8)
    insns[1, 0] = 7
    assert decode_stream(insns, PRESETS["default"])["opcode"].tolist() == [0, 7]
    assert opcodes(insns).tolist() == [0, 7]


@CONFIGS
def test_encode_stream_writes_one_row_an_instruction(config: Config) -> None:
    program: list[Instruction] = [Load(sram_base=3, x_size=1), Gemm(uop_end=1), Finish()]
    insns = encode_stream(program, config)
    assert insns.shape == (3, 16)
    assert [int.from_bytes(row.tobytes(), "little") for row in insns] == [
        insn.encode(config) for insn in program
    ]
    assert encode_stream([], config).shape == (0, 16)


@CONFIGS
def test_micro_ops_survive_their_bytes(config: Config) -> None:
    columns = _random_columns(Uop, config, 100, seed=3)
    data = encode_uops(columns["dst"], columns["src"], columns["wgt"], config)
    assert data.dtype == np.uint32
    found = decode_uops(data.view(np.uint8), config)
    for name, column in columns.items():
        np.testing.assert_array_equal(found[name], column, name)


def test_a_column_left_out_has_its_default() -> None:
    config = PRESETS["default"]
    (row,) = pack(Load, {"x_size": [5]}, config).tolist()
    assert row[0] | row[1] << 64 == Load(x_size=5).encode(config)


def test_errors_name_word_field_and_limits() -> None:
    config = PRESETS["tiny"]
    with pytest.raises(FieldError, match=re.escape("Uop 2: dst is 128; its 7 bits hold 0 to 127")):
        encode_uops([0, 127, 128], 0, 0, config)
    with pytest.raises(FieldError, match="Gemm has no field imm"):
        pack(Gemm, {"imm": [1]}, config)
    with pytest.raises(FieldError, match=re.escape("uint8 (3, 8); they must be uint8 of shape")):
        words(np.zeros((3, 8), np.uint8))
    with pytest.raises(FieldError, match=re.escape("uint8 (7,); they must be uint8 (4 n)")):
        decode_uops(np.zeros(7, np.uint8), config)
