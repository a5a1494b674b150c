"""Programs with something wrong in one place, as random bits make them."""

import numpy as np
from hypothesis import strategies as st
from vtakit.isa.config import Config
from vtakit.isa.fields import Slot, slots
from vtakit.isa.instructions import Alu, Finish, Gemm, Load, Opcode, Store

from ..sim.programs import Bytes

FORMATS = {
    Opcode.LOAD: Load,
    Opcode.STORE: Store,
    Opcode.GEMM: Gemm,
    Opcode.ALU: Alu,
    Opcode.FINISH: Finish,
}
MOST_STEPS = 20_000
"""Elements or micro-ops that a flawed instruction may ask for: more would take too long."""


@st.composite
def flawed(draw: st.DrawFn, config: Config, insns: Bytes) -> Bytes:
    """Draw a program, uint8 (n, 16), of which one instruction is another than it was.

    A field has another value, a bit is flipped, FINISH is in the way or missing. Most of such
    programs mean nothing; some do something else.
    """
    index = draw(st.integers(0, len(insns) - 1))
    match draw(st.integers(0, 9)):
        case 0:
            return np.delete(insns, -1, axis=0)
        case 1:
            return np.insert(insns, index, insns[-1], axis=0)
        case 2:
            word = _word(insns, index) ^ 1 << draw(st.integers(0, 127))
        case _:
            slot = draw(st.sampled_from(_slots(_word(insns, index), config)))
            most = (1 << slot.width) - 1
            near = st.integers(0, min(most, 1 << 12))
            value = draw(st.one_of(st.integers(0, most), near, st.just(most)))
            word = _word(insns, index) & ~(most << slot.offset) | value << slot.offset
    if _steps(word, config) > MOST_STEPS:
        return insns
    changed = insns.copy()
    changed[index] = np.frombuffer(word.to_bytes(16, "little"), np.uint8)
    return changed


def _word(insns: Bytes, index: int) -> int:
    return int.from_bytes(insns[index].tobytes(), "little")


def _field(word: int, slot: Slot) -> int:
    return word >> slot.offset & ((1 << slot.width) - 1)


def _slots(word: int, config: Config) -> tuple[Slot, ...]:
    """Return the fields of an instruction, by its opcode, which may be unknown."""
    opcode = _field(word, next(slot for slot in slots(Load, config) if slot.name == "opcode"))
    return slots(FORMATS[Opcode(opcode)] if opcode in FORMATS else Finish, config)


def _steps(word: int, config: Config) -> int:
    fields = {slot.name: _field(word, slot) for slot in _slots(word, config)}
    if "iter_out" in fields:
        uops = max(0, fields["uop_end"] - fields["uop_begin"])
        return uops * fields["iter_out"] * fields["iter_in"]
    if "y_size" in fields:
        height = fields["y_pad_0"] + fields["y_size"] + fields["y_pad_1"]
        return height * (fields["x_pad_0"] + fields["x_size"] + fields["x_pad_1"])
    return 0
