"""Which instructions of COMPUTE and MATRIX must keep their order. Compiled.

With two banks of accumulators these two units share them, the micro-ops and the token queues of
both. TIMING.md has the rule: an instruction starts when each earlier one of the other unit that it
*meets* has ended. Their ends are in order, so the last of these is enough.
"""

from ..isa.instructions import Memory, Opcode
from .columns import BANK, MEMORY
from .jit import inlined
from .pointers import int64s
from .queues import COMPUTE, MASK, MATRIX
from .state import MEETINGS, Ints, State

_LOAD, _FINISH, _UOP = int(Opcode.LOAD), int(Opcode.FINISH), int(Memory.UOP)
_BOTH_BANKS, _TOKENS_AT = 3, 2


@inlined
def is_ordered(m: State, unit: int) -> bool:
    """Whether the unit is one of the two that meet."""
    return m.acc_banks == 2 and unit in (COMPUTE, MATRIX)


@inlined
def forget_meetings(m: State) -> None:
    """Begin a program."""
    for meeting in range(2 * MEETINGS):
        m.meetings[meeting] = -1


@inlined
def note_meetings(m: State, row: Ints, index: int, unit: int, opcode: int, tokens: int) -> None:
    """Note for an instruction of COMPUTE or MATRIX the last one of the other that it meets."""
    places = tokens << _TOKENS_AT | _banks(row, opcode)
    own, other = (0, MEETINGS) if unit == COMPUTE else (MEETINGS, 0)
    after = -1
    for place in range(MEETINGS):
        if places >> place & 1:
            after = max(after, m.meetings[other + place])
            m.meetings[own + place] = index
    int64s(m.after)[index] = after


@inlined
def _banks(row: Ints, opcode: int) -> int:
    """Return the banks that an instruction works in, as bits: FINISH and LOAD UOP in both."""
    if opcode == _FINISH or (opcode == _LOAD and row[MEMORY] == _UOP):
        return _BOTH_BANKS
    return 1 << (row[BANK] & 1)


@inlined
def has_met(m: State, unit: int, index: int) -> bool:
    """Whether the end of what the unit's instruction must come after is known."""
    if not is_ordered(m, unit):
        return True
    after, other = int64s(m.after)[index], (COMPUTE + MATRIX - unit) & MASK
    return after < 0 or m.to_end[other] > after or m.to_end[other] < 0
