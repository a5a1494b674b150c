"""Programs that mean nothing: each is refused, with a message that says where and why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa.asm import disassemble_instruction
from vtakit.isa.config import PAGE_BYTES, PRESETS, Config
from vtakit.isa.fields import slots
from vtakit.isa.instructions import Alu, AluOp, Finish, Gemm, Instruction, Load, Memory, Store
from vtakit.isa.registers import ErrorCode
from vtakit.isa.stream import encode_stream
from vtakit.sim.errors import ProgramError

from .programs import ENGINES, Bytes, machine, uop_bytes

CONFIGS = PRESETS
PAGES = 64
"""Memory of these tests, in pages; micro-ops are in page 1."""

each_engine = pytest.mark.parametrize("timing", ENGINES.values(), ids=ENGINES)
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def refusal(config: Config, insns: Bytes, uops: Bytes | None = None, *, timing: bool) -> str:
    """Run a program that must be refused; return the message after `instruction N: TEXT: `."""
    dram = np.zeros(PAGES * PAGE_BYTES, np.uint8)
    if uops is not None:
        dram[PAGE_BYTES : PAGE_BYTES + uops.size] = uops
    with pytest.raises(ProgramError) as caught:
        machine(config, dram).run(insns, timing=timing)
    index = caught.value.instruction
    assert index is not None
    where = f"instruction {index}: {disassemble_instruction(insns[index], config)}: "
    message = str(caught.value)
    assert message.startswith(where)
    return f"{index} {message[len(where) :]}"


def words(config: Config, instructions: Sequence[Instruction], **patch: int) -> Bytes:
    """Return instructions with FINISH after them; fields of the last but it are overwritten."""
    insns = encode_stream([*instructions, Finish()], config)
    layout = {slot.name: slot for slot in slots(type(instructions[-1]), config)}
    for name, value in patch.items():
        slot = layout[name]
        word = int.from_bytes(insns[-2].tobytes(), "little")
        word &= ~(((1 << slot.width) - 1) << slot.offset)
        word |= value << slot.offset
        insns[-2] = np.frombuffer(word.to_bytes(16, "little"), np.uint8)
    return insns


def fits(memory: Memory, config: Config) -> Load:
    """Return a LOAD of one element from page 1."""
    base = PAGE_BYTES // memory.element_bytes(config)
    return Load(memory=memory, dram_base=base, y_size=1, x_size=1)


STORE = Store(dram_base=1 << 12, y_size=1, x_size=1)
NOTHING = Alu()


@dataclass(frozen=True)
class Refused:
    """Instructions, with fields of the last overwritten, and what is said about it."""

    instructions: Sequence[Instruction]
    patch: dict[str, int]
    message: str


OPCODES = "it may be 0 LOAD, 1 STORE, 2 GEMM, 3 FINISH, 4 ALU"
MEMORIES = "it may be 0 UOP, 1 WGT, 2 INP, 3 ACC, 4 OUT, 5 ACC_8BIT"
NUMBERS: dict[str, Refused] = {
    **{f"opcode {n}": Refused([NOTHING, NOTHING], {"opcode": n}, f"1 opcode is {n}; {OPCODES}")
       for n in (5, 6, 7)},
    **{f"load of memory {n}": Refused([Load()], {"memory": n}, f"0 memory is {n}; {MEMORIES}")
       for n in (6, 7)},
    **{f"store of memory {n}": Refused([STORE], {"memory": n}, f"0 memory is {n}; {MEMORIES}")
       for n in (6, 7)},
    **{f"alu opcode {n}": Refused(
        [NOTHING], {"alu_opcode": n},
        f"0 alu_opcode is {n}; it may be 0 MIN, 1 MAX, 2 ADD, 3 SHR, 4 MUL") for n in (5, 6, 7)},
    "load of OUT": Refused(
        [Load(dram_base=1 << 12, y_size=1, x_size=1)], {"memory": Memory.OUT},
        "0 memory is 4 (OUT); LOAD fills UOP, WGT, INP, ACC or ACC_8BIT"),
    **{f"store of {memory.name}": Refused(
        [STORE], {"memory": memory},
        f"0 memory is {memory.value} ({memory.name}); STORE writes OUT only")
       for memory in Memory if memory is not Memory.OUT},
    **{f"store with {pad}": Refused(
        [NOTHING, STORE], {pad: 2}, f"1 {pad} is 2; STORE has no pads, so it must be 0")
       for pad in ("y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1")},
    **{f"load {flag}": Refused(
        [fits(memory, Config())], {flag: 1},
        f"0 {flag} is 1; the load unit has no prev neighbour, so it must be 0")
       for flag in ("pop_prev", "push_prev") for memory in (Memory.INP, Memory.WGT)},
    **{f"store {flag}": Refused(
        [STORE], {flag: 1}, f"0 {flag} is 1; the store unit has no next neighbour, so it must be 0")
       for flag in ("pop_next", "push_next")},
}  # fmt: skip


@each_engine
@pytest.mark.parametrize("case", NUMBERS.values(), ids=NUMBERS)
def test_numbers_that_mean_nothing(case: Refused, timing: bool) -> None:
    config = Config()
    assert refusal(config, words(config, case.instructions, **case.patch), timing=timing) == (
        case.message
    )


@each_engine
def test_a_program_that_does_not_end_with_finish(timing: bool) -> None:
    config = Config()
    insns = encode_stream([NOTHING, NOTHING], config)
    assert refusal(config, insns, timing=timing) == (
        "1 it is the last instruction; a program must end with FINISH"
    )
    with pytest.raises(ProgramError, match="the program is empty; it must end with FINISH"):
        machine(config, np.zeros(PAGE_BYTES, np.uint8)).run(insns[:0], timing=timing)


@each_engine
def test_instructions_after_finish(timing: bool) -> None:
    config = Config()
    insns = encode_stream([NOTHING, Finish(), NOTHING, Finish()], config)
    assert refusal(config, insns, timing=timing) == (
        "2 it stands after FINISH (instruction 1), which ends a program"
    )


@each_engine
@each_config
@pytest.mark.parametrize("memory", Memory)
def test_elements_outside_their_buffer(config: Config, memory: Memory, timing: bool) -> None:
    depth = memory.depth(config)
    insn = STORE if memory is Memory.OUT else fits(memory, config)
    held = {"UOP": "micro-op", "WGT": "weight", "INP": "input"}.get(memory.name, "accumulator")
    fields: dict[str, int]
    for fields, end in (
        ({"sram_base": depth}, depth + 1),
        ({"sram_base": depth - 1, "x_size": 3}, depth + 2),
        ({"sram_base": depth - 3, "y_size": 2, "x_size": 2}, depth + 1),
        ({"sram_base": depth - 1, "x_pad_0": 1}, depth + 1),
        ({"sram_base": depth - 1, "x_pad_1": 15}, depth + 15),
        ({"sram_base": depth - 2, "y_pad_0": 1, "y_pad_1": 1}, depth + 1),
        ({"sram_base": depth - 1, "y_size": 0, "y_pad_1": 2}, depth + 1),
    ):
        if any("pad" in name for name in fields) and memory is Memory.OUT:
            continue
        if fields["sram_base"] >> 16:
            continue
        changes: dict[str, Any] = fields
        insns = encode_stream([replace(insn, **changes), Finish()], config)
        assert refusal(config, insns, timing=timing) == (
            f"0 sram_base is {fields['sram_base']} and the rows with their pads end before "
            f"element {end}; the {held} buffer holds {depth}"
        )
    # The last element can be used, and with x_size 0 nothing is.
    vta = machine(config, np.zeros(PAGES * PAGE_BYTES, np.uint8))
    last = [replace(insn, sram_base=depth - 1, dram_base=insn.dram_base)]
    last.append(replace(insn, sram_base=0xFFFF, y_size=9, x_size=0, x_stride=9, dram_base=0))
    vta.run(encode_stream([*last, Finish()], config), timing=timing)


@each_engine
@each_config
@pytest.mark.parametrize("memory", Memory)
def test_bytes_outside_memory(config: Config, memory: Memory, timing: bool) -> None:
    size = memory.element_bytes(config)
    insn = STORE if memory is Memory.OUT else fits(memory, config)
    page, end = PAGE_BYTES // size, PAGES * PAGE_BYTES // size
    never = "bytes under 0x1000 are never used"
    beyond = f"memory has {PAGES * PAGE_BYTES:#x} bytes"
    fields: dict[str, int]
    for fields, row, first, why in (
        ({"dram_base": 0}, 0, 0, never),
        ({"dram_base": page - 1, "x_size": 2}, 0, PAGE_BYTES - size, never),
        ({"dram_base": end}, 0, end * size, beyond),
        ({"dram_base": end - 1, "x_size": 2}, 0, (end - 1) * size, beyond),
        ({"dram_base": end - 2, "y_size": 2, "x_stride": 2}, 1, end * size, beyond),
        ({"dram_base": (1 << 32) // size - 1}, 0, (1 << 32) - size, beyond),
        ({"dram_base": 0xFFFFFFFF}, 0, 0xFFFFFFFF * size % (1 << 32), beyond),
    ):
        changes: dict[str, Any] = {"x_size": 1} | fields
        if changes["dram_base"] >> 32:  # tiles of one byte
            continue
        insns = encode_stream([NOTHING, replace(insn, **changes), Finish()], config)
        last = first + changes["x_size"] * size - 1
        assert refusal(config, insns, timing=timing) == (
            f"1 dram_base is {fields['dram_base']:#x}, which puts row {row} at bytes "
            f"{first:#x} to {last:#x}; {why}"
        )
    vta = machine(config, np.zeros(PAGES * PAGE_BYTES, np.uint8))
    good = [replace(insn, dram_base=end - 1), replace(insn, dram_base=page)]
    good.append(replace(insn, dram_base=0, x_size=0))
    vta.run(encode_stream([*good, Finish()], config), timing=timing)


@each_engine
@each_config
def test_micro_ops_outside_their_buffer(config: Config, timing: bool) -> None:
    depth = config.uop_depth
    for insn in (Gemm(iter_out=1, iter_in=1), Alu(iter_out=1, iter_in=1)):
        for end in (depth + 1, 2 * depth - 1):
            insns = words(config, [replace(insn, uop_begin=depth - 1, uop_end=end)])
            assert refusal(config, insns, timing=timing) == (
                f"0 uop_end is {end}; the micro-op buffer holds {depth}"
            )
        nothing = [
            replace(insn, uop_begin=0, uop_end=depth + 1, iter_out=0),
            replace(insn, uop_begin=0, uop_end=depth + 1, iter_in=0),
            replace(insn, uop_begin=depth - 1, uop_end=depth),
        ]
        vta = machine(config, np.zeros(0, np.uint8))
        vta.run(encode_stream([*nothing, Finish()], config), timing=timing)


ONCE: dict[str, Any] = {"uop_begin": 1, "uop_end": 3, "iter_out": 1, "iter_in": 1}
LOOPS: dict[str, Any] = ONCE | {"iter_out": 3, "iter_in": 4}
ALU = Alu(**LOOPS, alu_opcode=AluOp.MAX)
GEMM = Gemm(**LOOPS)
FACTORS: dict[str, dict[str, Any]] = {
    field: {f"{field}_factor_out": 2, f"{field}_factor_in": 3} for field in ("dst", "src", "wgt")
}
REACH = 2 * 2 + 3 * 3


def with_index(config: Config, field: str, index: int, insn: Gemm | Alu) -> tuple[Bytes, Bytes]:
    """Return a program whose micro-op 2 has an index, 0 elsewhere, and its micro-ops."""
    dst, src, wgt = (index if name == field else 0 for name in ("dst", "src", "wgt"))
    load = replace(fits(Memory.UOP, config), x_size=3)
    uops = uop_bytes(config, (0, 0, 0), (0, 0, 0), (dst, src, wgt))
    return encode_stream([load, insn, Finish()], config), uops


@each_engine
@each_config
@pytest.mark.parametrize(
    ("insn", "field", "memory"),
    [
        (GEMM, "dst", Memory.ACC),
        (GEMM, "src", Memory.INP),
        (GEMM, "wgt", Memory.WGT),
        (replace(GEMM, reset=True), "dst", Memory.ACC),
        (ALU, "dst", Memory.ACC),
        (ALU, "src", Memory.ACC),
        (replace(ALU, use_imm=True), "dst", Memory.ACC),
        (replace(ALU, use_imm=True), "src", Memory.ACC),
    ],
    ids=["gemm dst", "gemm src", "gemm wgt", "reset dst", "alu dst", "alu src", "imm dst",
         "imm src"],
)  # fmt: skip
def test_indices_outside_their_buffers(
    config: Config, insn: Gemm | Alu, field: str, memory: Memory, timing: bool
) -> None:
    insn, depth = replace(insn, **FACTORS[field]), memory.depth(config)
    buffer = {"WGT": "weight", "INP": "input", "ACC": "accumulator"}[memory.name]
    insns, uops = with_index(config, field, depth - REACH, insn)
    assert refusal(config, insns, uops, timing=timing) == (
        f"1 micro-op 2 has {field} {depth - REACH}, which {field}_factor_out and {field}_factor_in "
        f"take to {depth} in the last iteration; the {buffer} buffer holds {depth}"
    )
    insns, uops = with_index(config, field, depth - REACH - 1, insn)
    machine(config, np.concatenate([np.zeros(PAGE_BYTES, np.uint8), uops])).run(
        insns, timing=timing
    )


def met_first(
    insn: Gemm | Alu, uops: Sequence[tuple[int, int, int]], config: Config
) -> tuple[ErrorCode, int] | None:
    """Return which index is outside its buffer first, micro-op by micro-op, and of which."""
    gemm = isinstance(insn, Gemm)
    buffers = [Memory.ACC] if gemm and insn.reset else [Memory.ACC, Memory.INP, Memory.WGT]
    if not gemm:
        buffers = [Memory.ACC, Memory.ACC]
    depths = [memory.depth(config) for memory in buffers]
    for out in range(insn.iter_out):
        for inner in range(insn.iter_in):
            for u, uop in enumerate(uops):
                for field, index, depth in zip(("dst", "src", "wgt"), uop, depths, strict=False):
                    factors = (getattr(insn, f"{field}_factor_{loop}") for loop in ("out", "in"))
                    by_out, by_inner = factors
                    if index + out * by_out + inner * by_inner >= depth:
                        return ErrorCode[f"{field.upper()}_RANGE"], u
    return None


@st.composite
def far_reaching(draw: st.DrawFn, config: Config) -> tuple[Gemm | Alu, list[tuple[int, int, int]]]:
    """Draw a GEMM or ALU near the ends of buffers, and its micro-ops."""
    depths = (config.acc_depth, config.inp_depth, config.wgt_depth)
    uops = [
        (draw(at(depths[0])), draw(at(depths[1])), draw(at(depths[2])))
        for _ in range(draw(st.integers(1, 4)))
    ]
    factors = {
        f"{field}_factor_{loop}": draw(st.integers(0, 5))
        for field in ("dst", "src", "wgt")
        for loop in ("out", "in")
    }
    common: dict[str, Any] = {
        "uop_end": len(uops),
        "iter_out": draw(st.integers(0, 5)),
        "iter_in": draw(st.integers(0, 5)),
    }
    if draw(st.booleans()):
        gemm = Gemm(**common, reset=draw(st.booleans()))
        return replace(gemm, **factors), uops
    del factors["wgt_factor_out"], factors["wgt_factor_in"]
    return replace(Alu(**common, use_imm=draw(st.booleans())), **factors), uops


def at(depth: int) -> st.SearchStrategy[int]:
    """Most indices are near the end of the buffer."""
    return st.integers(max(0, depth - 30), depth - 1)


@given(far_reaching(PRESETS["tiny"]), st.booleans())
@settings(deadline=None)
def test_what_is_met_first_is_reported(
    drawn: tuple[Gemm | Alu, list[tuple[int, int, int]]], timing: bool
) -> None:
    config, (insn, uops) = PRESETS["tiny"], drawn
    load = replace(fits(Memory.UOP, config), x_size=len(uops))
    vta = machine(
        config, np.concatenate([np.zeros(PAGE_BYTES, np.uint8), uop_bytes(config, *uops)])
    )
    insns = encode_stream([load, insn, Finish()], config)
    expected = met_first(insn, uops, config)
    if expected is None:
        vta.run(insns, timing=timing)
        return
    with pytest.raises(ProgramError) as caught:
        vta.run(insns, timing=timing)
    assert (caught.value.code, caught.value.instruction) == (expected[0], 1)
    assert f"micro-op {expected[1]} has " in str(caught.value)


@each_engine
@each_config
@pytest.mark.parametrize(
    ("insn", "field"),
    [
        (replace(GEMM, reset=True, **FACTORS["src"]), "src"),
        (replace(GEMM, reset=True, **FACTORS["wgt"]), "wgt"),
        (Alu(**ONCE), "wgt"),
    ],
    ids=["reset src", "reset wgt", "alu wgt"],
)
def test_indices_that_are_not_looked_at(
    config: Config, insn: Gemm | Alu, field: str, timing: bool
) -> None:
    depth = config.inp_depth if field == "src" else config.wgt_depth
    insns, uops = with_index(config, field, depth - 1, insn)
    machine(config, np.concatenate([np.zeros(PAGE_BYTES, np.uint8), uops])).run(
        insns, timing=timing
    )


@each_engine
def test_a_refused_program_leaves_a_machine_that_works(timing: bool) -> None:
    config = PRESETS["tiny"]
    vta = machine(config, np.zeros(PAGES * PAGE_BYTES, np.uint8))
    bad = words(config, [replace(fits(Memory.INP, config), push_next=True), STORE], y_pad_0=1)
    with pytest.raises(ProgramError, match="instruction 1: STORE"):
        vta.run(bad, timing=timing)
    assert set(vta.tokens.values()) == {0}
    vta.run(encode_stream([fits(Memory.INP, config), Finish()], config), timing=timing)
