"""What a host does with the registers of hardware, whatever it reaches them through."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...isa.asm import disassemble_instruction
from ...isa.config import Config
from ...isa.instructions import Unit
from ...isa.program import COUNTERS
from ...isa.registers import (
    REGISTERS,
    Activity,
    Control,
    Count,
    Error,
    ErrorCode,
    activities,
    constants,
)
from ...sim.errors import DeadlockError, ProgramError
from ...sim.machine import Counters, Cycles, UnitCycles
from .device import DeviceError

U8 = npt.NDArray[np.uint8]


class ControlPort(Protocol):
    """A way to a machine's registers."""

    def read(self, offset: int) -> int:
        """Return the word at a byte offset; raises `DeviceError` when nobody answers."""
        ...

    def write(self, offset: int, word: int) -> None:
        """Write it; raises `DeviceError` when nobody answers."""
        ...


def read_register(port: ControlPort, name: str) -> int:
    """Return a register's word, of 32 bits, or of 64 for a counter, which must stand still."""
    register = REGISTERS[name]
    low = port.read(register.offset)
    return low | port.read(register.offset + 4) << 32 if register.format is Count else low


def write_register(port: ControlPort, name: str, word: int) -> None:
    """Write a register's word."""
    port.write(REGISTERS[name].offset, word)


def command(port: ControlPort, order: Control, config: Config) -> None:
    """Give orders."""
    write_register(port, "CONTROL", order.encode(config))


def check_identity(port: ControlPort, config: Config) -> None:
    """Make sure that the machine is the one that programs are compiled for.

    Raises
    ------
    DeviceError
        When a register says otherwise, naming it.
    """
    for name, expected in constants(config).items():
        found = read_register(port, name)
        if found != expected:
            raise DeviceError(
                f"the hardware is another one: its register {name} is {found:#x}, and the "
                f"configuration's is {expected:#x}"
            )


def read_counters(port: ControlPort) -> Counters:
    """Return what the counters hold, as the simulator gives it."""
    read = {
        name.lower(): read_register(port, name)
        for name, register in REGISTERS.items()
        if register.format is Count
    }

    def spent(unit: Unit) -> UnitCycles:
        name = unit.name.lower()
        return UnitCycles(
            **{
                activity.name.lower(): read[f"{name}_{activity.name.lower()}"]
                if activity in activities(unit)
                else 0
                for activity in Activity
            }
        )

    cycles = Cycles(
        *(spent(unit) for unit in Unit),
        gemm=read["gemm_cycles"],
        alu=read["alu_cycles"],
        operand_hits=read["operand_hits"],
        fetch_words=read["fetch_words"],
        load_words=read["load_words"],
        compute_words=read["compute_words"],
        store_words=read["store_words"],
    )
    return Counters(**{name: read[name] for name in COUNTERS}, cycles=cycles)


def error_of(port: ControlPort, insns: U8, config: Config) -> ProgramError:
    """Return the exception for the error that a machine reports about a program, uint8 (n, 16)."""
    code = Error.decode(read_register(port, "ERROR"), config).code
    index = read_register(port, "ERROR_INSN")
    if not len(insns):
        return ProgramError("the program is empty; it must end with FINISH", code=code)
    where = f"instruction {index}: {disassemble_instruction(insns[index], config)}"
    if code is ErrorCode.DEADLOCK:
        message = f"deadlock: {code.meaning}; the oldest that waits is {where}"
        return DeadlockError(message, code=code, instruction=index)
    return ProgramError(f"{where}: {code.name}: {code.meaning}", code=code, instruction=index)
