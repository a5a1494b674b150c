"""Malformed programs: `vtakit replay` names instruction, field and limit in one line."""

from pathlib import Path

import pytest
from vtakit.isa.source import assemble

from .conftest import Refused

ONE = "y_size=1 x_size=1 x_stride=1"
LOOPS = "uop_end=1 iter_out=1 iter_in"
PROGRAMS: dict[str, tuple[str, str]] = {
    "unknown opcode": ("WORD 7", "opcode is 7; it may be 0 LOAD, 1 STORE"),
    "unknown memory": ("WORD 0x300", "memory is 6; it may be 0 UOP"),
    "store elsewhere": (f"STORE INP dram_base=1024 {ONE}", "memory is 2 (INP); STORE writes OUT"),
    "store with pads": (f"STORE OUT dram_base=1024 {ONE} y_pad_0=1", "y_pad_0 is 1; STORE has no"),
    "inp outside": (f"LOAD INP sram_base=2048 dram_base=1024 {ONE}", "sram_base is 2048 and the"),
    "wgt outside": (
        f"LOAD WGT sram_base=1024 dram_base=1024 {ONE}",
        "the weight buffer holds 1024",
    ),
    "acc outside": (f"LOAD ACC sram_base=2048 dram_base=1024 {ONE}", "buffer holds 2048"),
    "pads outside": (
        f"LOAD INP sram_base=2040 dram_base=1024 {ONE} x_pad_1=8",
        "the rows with their pads end before element 2049",
    ),
    "micro-ops outside": (
        "GEMM uop_end=8193 iter_out=1 iter_in=1",
        "uop_end is 8193; the micro-op",
    ),
    "dst outside": (f"GEMM {LOOPS}=2049 dst_factor_in=1", "take to 2048 in the last iteration"),
    "src outside": (f"GEMM {LOOPS}=2049 src_factor_in=1", "the input buffer holds 2048"),
    "weight outside": (f"GEMM {LOOPS}=1025 wgt_factor_in=1", "the weight buffer holds 1024"),
    "src of an immediate": (
        f"ALU ADD {LOOPS}=2049 src_factor_in=1 use_imm imm=1",
        "micro-op 0 has src 0, which src_factor_out and src_factor_in take to 2048",
    ),
    "page 0": (f"LOAD INP dram_base=1 {ONE}", "bytes under 0x1000 are never used"),
    "outside memory": (f"LOAD INP dram_base=0x8000000 {ONE}", "memory has 0x10000000 bytes"),
    "never a token": (
        f"GEMM pop_prev {LOOPS}=0",
        "deadlock: compute waits for a token from load->",
    ),
    "no prev": (f"LOAD INP pop_prev dram_base=1024 {ONE}", "the load unit has no prev neighbour"),
    "no next": (
        f"STORE OUT push_next dram_base=1024 {ONE}",
        "the store unit has no next neighbour",
    ),
}


@pytest.mark.parametrize("engine", ["sim", "functional"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_malformed_program_names_instruction_field_and_limit(
    refused: Refused, tmp_path: Path, name: str, engine: str
) -> None:
    text, message = PROGRAMS[name]
    path = tmp_path / "p.npz"
    assemble(f"GEMM iter_out=0\n{text}\nFINISH\n").save(path)
    line = refused("replay", path, "--engine", engine)
    assert line.startswith(f"{path}: ")
    assert "instruction 1: " + text.split()[0] in line, "its number and what it says"
    assert message in line


@pytest.mark.parametrize("text", ["GEMM iter_out=0\n", "FINISH\nGEMM iter_out=0\n"])
def test_a_program_without_an_end_is_named(refused: Refused, tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.npz"
    assemble(text).save(path)
    assert "FINISH" in refused("replay", path)
