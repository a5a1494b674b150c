"""The recorded programs: both engines, and the tests' interpreter, leave what the original left."""

from pathlib import Path

import numpy as np
import pytest
from vtakit.isa.program import Program

from .interpreter import Interpreter
from .programs import ENGINES, RECORDED, machine

each_program = pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)


def test_all_of_them_are_here() -> None:
    assert len(RECORDED) == 61
    assert len({Program.load(path).config for path in RECORDED}) == 5


@pytest.mark.parametrize("engine", ENGINES)
@each_program
def test_memory_and_counters_are_the_originals(path: Path, engine: str) -> None:
    program = Program.load(path)
    vta = machine(program.config, program.dram_before)
    result = vta.run(program.insns, timing=ENGINES[engine])
    assert program.dram_after is not None
    np.testing.assert_array_equal(vta.dram[: program.dram_after.size], program.dram_after)
    assert result.counters.original() == program.counters


@each_program
def test_the_interpreter_agrees_in_program_order(path: Path) -> None:
    program = Program.load(path)
    interpreter = Interpreter(program.config, program.dram_before.copy())
    interpreter.run(program.insns)
    assert program.dram_after is not None
    np.testing.assert_array_equal(interpreter.dram, program.dram_after)
    assert interpreter.counters == program.counters
