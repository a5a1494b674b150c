"""isa.fields and isa.instructions: where fields lie, and encode against decode."""

import enum
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.fields import FieldError, Format, slots
from vtakit.isa.instructions import (
    FORMATS,
    Alu,
    AluOp,
    Finish,
    Gemm,
    Load,
    Memory,
    Opcode,
    Store,
    Unit,
    Uop,
    decode,
)

CONFIGS = pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
WORDS = [*FORMATS.values(), Uop]

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "layouts.json").read_text())["layouts"]
# The names of the original's C structs, in the order of their fields.
RECORDED_FORMATS: dict[str, list[type[Format]]] = {
    "mem": [Load, Store],
    "gemm": [Gemm],
    "alu": [Alu],
    "uop": [Uop],
}


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
def test_fields_lie_where_the_original_c_structs_have_them(recorded: dict[str, Any]) -> None:
    config = Config.from_json(recorded["json"])
    for name, formats in RECORDED_FORMATS.items():
        for cls in formats:
            ours = [[slot.offset, slot.width] for slot in slots(cls, config)]
            assert ours == list(recorded[name].values()), cls


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
def test_buffers_and_elements_have_the_originals_sizes(recorded: dict[str, Any]) -> None:
    config = Config.from_json(recorded["json"])
    for name, log2 in recorded["depth_log2"].items():
        assert Memory[name.upper()].depth(config) == 1 << log2, name
    for name, count in recorded["elem_bytes"].items():
        assert Memory[name.upper()].element_bytes(config) == count, name


@st.composite
def words(draw: st.DrawFn) -> tuple[Format, Config]:
    config = draw(st.sampled_from(list(PRESETS.values())))
    cls = draw(st.sampled_from(WORDS))
    values: dict[str, Any] = {}
    for slot in slots(cls, config):
        if slot.name == "opcode":
            continue
        if issubclass(slot.kind, enum.Enum):
            values[slot.name] = draw(st.sampled_from(list(slot.kind)))
        elif slot.kind is bool:
            values[slot.name] = draw(st.booleans())
        else:
            values[slot.name] = draw(st.integers(slot.low, slot.high))
    return cls(**values), config


@given(words())
def test_decode_gives_back_what_encode_was_given(case: tuple[Format, Config]) -> None:
    word, config = case
    encoded = word.encode(config)
    assert 0 <= encoded < 1 << word.WORD_BITS
    decoded = type(word).decode(encoded, config)
    assert decoded == word
    for slot in slots(type(word), config):
        assert type(getattr(decoded, slot.name)) is slot.kind
    if not isinstance(word, Uop):
        assert decode(encoded, config) == word


@CONFIGS
@pytest.mark.parametrize("cls", WORDS)
def test_each_field_takes_its_limits_and_no_more(config: Config, cls: type[Format]) -> None:
    for slot in slots(cls, config):
        if issubclass(slot.kind, enum.Enum):
            continue
        for value in (slot.low, slot.high):
            assert (
                getattr(cls.decode(cls(**{slot.name: value}).encode(config), config), slot.name)
                == value
            )
        for value in (slot.low - 1, slot.high + 1):
            message = (
                f"{cls.__name__} {slot.name} is {value}; its {slot.width} bits hold {slot.low}"
            )
            with pytest.raises(FieldError, match=re.escape(message)):
                cls(**{slot.name: value}).encode(config)


@CONFIGS
@pytest.mark.parametrize("cls", WORDS)
def test_fields_do_not_overlap_nor_straddle_the_halves(config: Config, cls: type[Format]) -> None:
    end = 0
    for slot in slots(cls, config):
        assert slot.offset >= end
        end = slot.offset + slot.width
        assert slot.offset // 64 == (end - 1) // 64, slot
    assert end <= cls.WORD_BITS


def test_bits_of_no_field_are_ignored() -> None:
    config = PRESETS["default"]
    word = Load(sram_base=3, x_size=4).encode(config)
    assert decode(word | 0b111111 << 58, config) == Load(sram_base=3, x_size=4)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (5, "opcode is 5; it may be 0 LOAD, 1 STORE, 2 GEMM, 3 FINISH, 4 ALU"),
        (6 << 7, "Load memory is 6; it may be 0 UOP, 1 WGT, 2 INP, 3 ACC, 4 OUT, 5 ACC_8BIT"),
        (4 | 5 << 108, "Alu alu_opcode is 5; it may be 0 MIN, 1 MAX, 2 ADD, 3 SHR, 4 MUL"),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(word: int, message: str) -> None:
    with pytest.raises(FieldError, match=re.escape(message)):
        decode(word, PRESETS["default"])


def test_each_instruction_knows_its_unit() -> None:
    for banks in (1, 2):
        config = Config(acc_banks=banks)
        assert Load(memory=Memory.INP).unit(config) is Unit.LOAD
        assert Load(memory=Memory.WGT).unit(config) is Unit.LOAD
        for memory in (Memory.UOP, Memory.ACC, Memory.ACC_8BIT):
            assert Load(memory=memory).unit(config) is Unit.COMPUTE
        assert {Alu().unit(config), Finish().unit(config)} == {Unit.COMPUTE}
        assert Gemm().unit(config) is (Unit.COMPUTE if banks == 1 else Unit.MATRIX)
        assert Store().unit(config) is Unit.STORE


def test_a_bank_has_bits_where_there_are_two() -> None:
    two = Config(acc_banks=2)
    for insn in (Gemm(bank=1), Alu(bank=1), Store(bank=1), Load(memory=Memory.ACC, bank=1)):
        assert decode(insn.encode(two), two) == insn
        with pytest.raises(FieldError, match="bank is 1; this configuration has no bits for it"):
            insn.encode(Config())


def test_numbers_are_the_references() -> None:
    assert [op.name for op in Opcode] == ["LOAD", "STORE", "GEMM", "FINISH", "ALU"]
    assert [op.name for op in AluOp] == ["MIN", "MAX", "ADD", "SHR", "MUL"]
    assert [memory.name for memory in Memory] == ["UOP", "WGT", "INP", "ACC", "OUT", "ACC_8BIT"]
