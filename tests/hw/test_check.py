"""What is wrong with an instruction as a word: the hardware's code is what the simulator finds."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator
from vtakit.hw.check import Check
from vtakit.isa.config import PAGE_BYTES, PRESETS, Config
from vtakit.isa.fields import Slot, slots
from vtakit.isa.instructions import (
    FORMATS,
    Finish,
    Instruction,
    Load,
    Memory,
    Opcode,
    decode,
)
from vtakit.isa.registers import ErrorCode
from vtakit.sim.errors import ProgramError
from vtakit.sim.machine import Machine

WAITS = Load(memory=Memory.UOP, pop_prev=True)
"""It waits for a token that nobody gives, so that nothing after it runs in the compute unit."""

DYNAMIC = {ErrorCode.SRAM_RANGE, ErrorCode.DRAM_RANGE, ErrorCode.BUS}
"""What is for the engines, or memory, to find."""


def field(word: int, slot: Slot) -> int:
    return word >> slot.offset & ((1 << slot.width) - 1)


def put(word: int, slot: Slot, value: int) -> int:
    """Return a word with a field's bits replaced."""
    most = (1 << slot.width) - 1
    return word & ~(most << slot.offset) | (value & most) << slot.offset


def drawn(draw: random.Random, config: Config) -> int:
    """Draw an instruction word: each field small, as great as its bits, or anything."""
    word = draw.getrandbits(128)
    opcode = draw.choice([*range(8), *Opcode])
    format_ = FORMATS[Opcode(opcode)] if opcode in FORMATS else Finish
    layout = {slot.name: slot for slot in slots(format_, config)}
    for name, slot in layout.items():
        likely = {"uop_end": config.uop_depth + draw.randint(-1, 1)}
        value = draw.choice((0, 0, 1, likely.get(name, 2), field(word, slot)))
        if name in ("x_pad_0", "x_pad_1", "y_pad_0", "y_pad_1"):
            value = draw.choice((0, 0, 0, value))
        if name in ("pop_prev", "pop_next", "push_prev", "push_next"):
            value = draw.choice((0, 0, 0, 1))
        word = put(word, slot, value)
    return put(word, layout["opcode"], opcode)


def found(machine: Machine, words: list[int]) -> tuple[ErrorCode, int | None]:
    """Return what the simulator finds wrong with a program, and in which instruction."""
    insns = np.frombuffer(b"".join(word.to_bytes(16, "little") for word in words), np.uint8)
    machine.reset()
    try:
        machine.run(insns.reshape(-1, 16), timing=False)
    except ProgramError as error:
        if error.code is not ErrorCode.DEADLOCK:
            return error.code, error.instruction
    return ErrorCode.NONE, None


def static(machine: Machine, words: list[int]) -> tuple[ErrorCode, int | None]:
    """Return the same, but for what depends on buffers and memory: of such a LOAD or STORE only
    what would be wrong with it if it moved nothing.
    """
    code, index = found(machine, words)
    if code in DYNAMIC:
        assert index is not None
        x_size = next(slot for slot in slots(Load, machine.config) if slot.name == "x_size")
        words = [put(word, x_size, 0) if i == index else word for i, word in enumerate(words)]
        code, index = found(machine, words)
    return code, index


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_a_word_is_as_wrong_as_the_simulator_says(config: Config) -> None:
    """In the middle of a program, and at its end."""
    draw = random.Random(6)
    machine, check = Machine(config, dram_bytes=4 * PAGE_BYTES), Check(config)
    waits, finish = WAITS.encode(config), Finish().encode(config)
    met: set[ErrorCode] = set()

    async def drive(ctx) -> None:
        for _ in range(1000):
            word, last = drawn(draw, config), draw.random() < 0.3
            expected = static(machine, [waits, word] if last else [waits, word, finish])
            ctx.set(check.insn, word)
            ctx.set(check.last, last)
            code = ErrorCode(ctx.get(check.code))
            index = 1 + ctx.get(check.next) if code else None
            assert (code, index) == expected, f"{word:#x}"
            met.add(code)
            if code is ErrorCode.NONE:
                insn: Instruction = decode(word, config)
                assert ctx.get(check.unit) == insn.unit(config)

    simulator = Simulator(check)
    simulator.add_testbench(drive)
    simulator.run()
    engines = {ErrorCode.DST_RANGE, ErrorCode.SRC_RANGE, ErrorCode.WGT_RANGE, ErrorCode.DEADLOCK}
    assert met == set(ErrorCode) - DYNAMIC - engines
