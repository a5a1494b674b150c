"""What was found wrong with a program, in words."""

import numpy as np
import numpy.typing as npt

from ..isa.asm import disassemble_instruction
from ..isa.config import PAGE_BYTES, Config
from ..isa.instructions import AluOp, Memory, Opcode, Unit
from ..isa.registers import ErrorCode
from ..isa.stream import decode_stream
from . import faults
from .columns import FIELDS, POP_NEXT, POP_PREV, PUSH_PREV
from .errors import ProgramError

_BUFFERS = {
    Memory.UOP: "micro-op",
    Memory.WGT: "weight",
    Memory.INP: "input",
    Memory.ACC: "accumulator",
    Memory.OUT: "accumulator",
    Memory.ACC_8BIT: "accumulator",
}


def describe(index: int, insns: npt.NDArray[np.uint8], config: Config) -> str:
    """Return `instruction 12: LOAD INP ...`."""
    return f"instruction {index}: {disassemble_instruction(insns[index], config)}"


def explain(
    fault: npt.NDArray[np.int64], insns: npt.NDArray[np.uint8], config: Config, dram_bytes: int
) -> ProgramError:
    """Return the exception for a fault, int64 (5), as `faults.report` fills it."""
    code, index, column, value, limit = fault.tolist()
    if index < 0:
        message = "the program is empty; it must end with FINISH"
        return ProgramError(message, code=ErrorCode.MISSING_FINISH)
    fields = {
        name: int(column[0])
        for name, column in decode_stream(insns[index : index + 1], config).items()
    }
    sentence = _sentence(code, column, value, limit, fields, config, dram_bytes)
    message = f"{describe(index, insns, config)}: {sentence}"
    return ProgramError(message, code=ErrorCode(code), instruction=index)


def _sentence(
    code: int,
    column: int,
    value: int,
    limit: int,
    fields: dict[str, int],
    config: Config,
    dram_bytes: int,
) -> str:
    match code:
        case faults.UNKNOWN_OPCODE:
            return f"opcode is {value}; it may be {_members(Opcode)}"
        case faults.UNKNOWN_MEMORY:
            return f"memory is {value}; it may be {_members(Memory)}"
        case faults.UNKNOWN_ALU_OPCODE:
            return f"alu_opcode is {value}; it may be {_members(AluOp)}"
        case faults.AFTER_FINISH:
            return f"it stands after FINISH (instruction {value}), which ends a program"
        case faults.MISSING_FINISH:
            return "it is the last instruction; a program must end with FINISH"
        case faults.NO_NEIGHBOUR:
            verb = "pop" if value & (POP_PREV | POP_NEXT) else "push"
            side = "prev" if value & (POP_PREV | PUSH_PREV) else "next"
            return (
                f"{verb}_{side} is 1; the {Unit(limit).name.lower()} unit has no {side} neighbour, "
                f"so it must be 0"
            )
        case faults.NOT_LOADED:
            return "memory is 4 (OUT); LOAD fills UOP, WGT, INP, ACC or ACC_8BIT"
        case faults.NOT_STORED:
            return f"memory is {value} ({Memory(value).name}); STORE writes OUT only"
        case faults.STORE_PADS:
            names = {column: name for name, column in FIELDS[Opcode.STORE].items()}
            return f"{names[column]} is {value}; STORE has no pads, so it must be 0"
        case faults.SRAM_RANGE:
            return (
                f"sram_base is {fields['sram_base']} and the rows with their pads end before "
                f"element {value}; the {_BUFFERS[Memory(fields['memory'])]} buffer holds {limit}"
            )
        case faults.DRAM_RANGE:
            last = value + fields["x_size"] * Memory(fields["memory"]).element_bytes(config) - 1
            why = (
                f"bytes under {PAGE_BYTES:#x} are never used"
                if value < PAGE_BYTES
                else f"memory has {dram_bytes:#x} bytes"
            )
            return (
                f"dram_base is {fields['dram_base']:#x}, which puts row {limit} at bytes "
                f"{value:#x} to {last:#x}; {why}"
            )
        case faults.UOP_RANGE:
            return f"uop_end is {value}; the micro-op buffer holds {limit}"
        case faults.DST_RANGE:
            return _reach("dst", value, limit, "accumulator", config.acc_depth, fields)
        case faults.SRC_RANGE:
            alu = fields["opcode"] == Opcode.ALU
            depth = config.acc_depth if alu else config.inp_depth
            return _reach("src", value, limit, "accumulator" if alu else "input", depth, fields)
        case faults.WGT_RANGE:
            return _reach("wgt", value, limit, "weight", config.wgt_depth, fields)
        case _:
            raise AssertionError(f"no sentence for fault {code}")


def _reach(
    field: str, uop: int, first: int, buffer: str, depth: int, fields: dict[str, int]
) -> str:
    out, inner = fields["iter_out"] - 1, fields["iter_in"] - 1
    last = first + out * fields[f"{field}_factor_out"] + inner * fields[f"{field}_factor_in"]
    return (
        f"micro-op {uop} has {field} {first}, which {field}_factor_out and {field}_factor_in take "
        f"to {last} in the last iteration; the {buffer} buffer holds {depth}"
    )


def _members(enum: type[Opcode] | type[Memory] | type[AluOp]) -> str:
    return ", ".join(f"{member.value} {member.name}" for member in enum)
