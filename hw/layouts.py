"""Words as hardware sees them: the fields that `isa` declares, where `isa` puts them."""

from amaranth.hdl import Const, Mux, Shape, Value
from amaranth.lib import data

from ..isa.config import Config
from ..isa.fields import Format, slots
from ..isa.instructions import Gemm, Load, Opcode


def layout(word: type[Format], config: Config) -> data.FlexibleLayout:
    """Return the fields of a word; bits that belong to none have no name, and enums are numbers."""
    fields: dict[int | str, data.Field] = {
        slot.name: data.Field(Shape(slot.width, slot.signed), slot.offset)
        for slot in slots(word, config)
    }
    return data.FlexibleLayout(word.WORD_BITS, fields)


def bank_of(insn: Value, config: Config) -> Value:
    """Return the bank of accumulators that an instruction names: no bits where there is one."""
    if config.acc_banks == 1:
        return Const(0, 0)
    transfer, loops = layout(Load, config)(insn), layout(Gemm, config)(insn)
    moves = (transfer.opcode == Opcode.LOAD) | (transfer.opcode == Opcode.STORE)
    return Mux(moves, transfer.bank, loops.bank)
