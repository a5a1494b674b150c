"""isa.asm: instructions and micro-ops as lines of text."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtakit.isa.asm import (
    MNEMONICS,
    AsmError,
    Token,
    assemble_line,
    disassemble_instruction,
    disassemble_instructions,
    disassemble_uops,
)
from vtakit.isa.config import PRESETS, Config
from vtakit.isa.fields import slots
from vtakit.isa.instructions import Alu, AluOp, Finish, Gemm, Load, Memory, Store
from vtakit.isa.program import Program

CONFIGS = pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
RECORDED = sorted((Path(__file__).parents[1] / "data" / "conformance").glob("*.npz"))


def _assemble(text: str, config: Config) -> int:
    code = text.partition(";")[0]
    return assemble_line([Token(m[0], m.start() + 1) for m in re.finditer(r"\S+", code)], config)


@CONFIGS
@given(word=st.binary(min_size=16, max_size=16))
def test_any_128_bits_survive_their_line(config: Config, word: bytes) -> None:
    value = int.from_bytes(word, "little")
    text = disassemble_instruction(value, config)
    assert "\n" not in text
    assert _assemble(text, config) == value
    assert disassemble_instruction(np.frombuffer(word, np.uint8), config) == text


@CONFIGS
@given(word=st.binary(min_size=4, max_size=4))
def test_any_micro_op_survives_its_line(config: Config, word: bytes) -> None:
    (text,) = disassemble_uops(np.frombuffer(word, np.uint8), config)
    assert _assemble(text, config) == int.from_bytes(word, "little")


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_instructions_survive_their_lines(path: Path) -> None:
    program = Program.load(path)
    for row, text in zip(
        program.insns, disassemble_instructions(program.insns, program.config), strict=True
    ):
        assert _assemble(text, program.config).to_bytes(16, "little") == row.tobytes(), text


def test_lines_show_what_is_not_the_default() -> None:
    config = PRESETS["default"]
    cases = {
        "LOAD INP": Load(),
        "LOAD WGT sram_base=7 dram_base=0x120 x_size=3 x_pad_1=2 pop_next push_next": Load(
            memory=Memory.WGT,
            sram_base=7,
            dram_base=288,
            x_size=3,
            x_pad_1=2,
            pop_next=True,
            push_next=True,
        ),
        "STORE OUT y_size=2": Store(y_size=2),
        "GEMM reset uop_end=1 pop_prev": Gemm(reset=True, uop_end=1, pop_prev=True),
        "ALU MAX use_imm imm=-5": Alu(alu_opcode=AluOp.MAX, use_imm=True, imm=-5),
        "FINISH": Finish(),
    }
    for text, insn in cases.items():
        assert disassemble_instruction(insn.encode(config), config) == text
        assert _assemble(text, config) == insn.encode(config)


def test_what_does_not_exist_is_shown_as_its_bits() -> None:
    config = PRESETS["default"]
    assert disassemble_instruction(6, config) == f"WORD {6:#034x} ; unknown opcode 6"
    assert disassemble_instruction(7 << 7, config).endswith("; LOAD with unknown memory 7")
    assert disassemble_instruction(4 | 6 << 108, config).endswith("ALU with unknown alu_opcode 6")
    assert disassemble_instruction(-1, config) == f"WORD 0x{'f' * 32} ; unknown opcode 7"


def test_bits_of_no_field_are_kept() -> None:
    config = PRESETS["default"]
    word = Load(x_size=1).encode(config) | 0b101 << 58
    text = disassemble_instruction(word, config)
    assert text == f"LOAD INP x_size=1 unused={0b101 << 58:#x}"
    assert _assemble(text, config) == word


@CONFIGS
def test_every_field_can_be_written(config: Config) -> None:
    for name, cls in MNEMONICS.items():
        for slot in slots(cls, config):
            if slot.kind is int:
                for value in (slot.low, slot.high):
                    expected = cls(**{slot.name: value}).encode(config)
                    assert _assemble(f"{name} {slot.name}={value}", config) == expected
                    assert _assemble(f"{name.lower()} {slot.name}={value:#x}", config) == expected
            elif slot.kind is bool:
                assert _assemble(f"{name} {slot.name}", config) == _assemble(
                    f"{name} {slot.name}=1", config
                )


WRONG = {
    "JUMP": (1, "'JUMP' is no instruction; known are LOAD, STORE, GEMM, FINISH, ALU, UOP, WORD"),
    "GEM uop_end=1": (1, "'GEM' is no instruction; did you mean 'GEMM'?"),
    "LOAD INP sram_bse=1": (10, "LOAD has no field 'sram_bse'; did you mean 'sram_base'?"),
    "LOAD  IMP": (7, "LOAD has no field 'IMP'; did you mean 'INP'?"),
    "GEMM imm=1": (6, "GEMM has no field 'imm'"),
    "GEMM opcode=1": (6, "GEMM has no field 'opcode'"),
    "LOAD x_size": (6, "x_size needs a value: x_size=..."),
    "LOAD x_size=": (6, "'' is no whole number; write 12, -3 or 0x1f"),
    "LOAD x_size=1.5": (6, "'1.5' is no whole number"),
    "LOAD x_size=65536": (6, "x_size is 65536; its 16 bits hold 0 to 65535"),
    "ALU imm=-32769": (5, "imm is -32769; its 16 bits hold -32768 to 32767"),
    "ALU use_imm=2": (5, "use_imm is 2; its 1 bit hold 0 to 1"),
    "LOAD memory=INP": (6, "memory is given by a word alone, one of UOP, WGT, INP, ACC, OUT, ACC_"),
    "LOAD x_size=1 x_size=2": (15, "x_size is given twice"),
    "ALU MIN MAX": (9, "alu_opcode is given twice"),
    "LOAD unused=1": (6, "unused is 1; the bits that belong to no field are 0xfc00000000000000"),
    "WORD": (1, "WORD takes one number"),
    "WORD x": (6, "'x' is no whole number"),
    f"WORD {1 << 128}": (6, f"{1 << 128} does not fit 128 bits"),
}


@pytest.mark.parametrize(("text", "error"), WRONG.items(), ids=WRONG)
def test_errors_name_the_column_and_what_would_do(text: str, error: tuple[int, str]) -> None:
    column, message = error
    with pytest.raises(AsmError) as caught:
        _assemble(text, PRESETS["default"])
    assert message in caught.value.message
    assert caught.value.column == column
