"""The machine with its clock: TIMING.md, from event to event. Compiled.

An event is an instruction that starts, or a read request that is granted. Everything else follows
from these: when a GEMM, ALU or STORE starts, its end is known; of a LOAD, when its last burst is
granted. Only the readers of memory compete, so only their requests, and the order of effects on
buffers and memory, need events to be taken in the order of time.
"""

from ..isa.costs import (
    ALU_STAGES,
    BURSTS_IN_FLIGHT,
    GEMM_STAGES,
    IN_FLIGHT,
    ISSUE_SETUP,
    STORE_SETUP,
)
from ..isa.instructions import Opcode
from .channel import write
from .clock import BUSY, FETCH, NEVER, NO_INSTRUCTION, Clock
from .columns import (
    ACTION,
    ALU,
    HEAD,
    MEMORY,
    NEXT_SHIFT,
    NOTHING,
    OPCODE_MASK,
    OPCODE_SHIFT,
    TIME,
    USE_IMM,
    X_SIZE,
    X_STRIDE,
    Y_SIZE,
)
from .decode import micro_ops, row_at
from .faults import DEADLOCK, OK
from .fetch import dispatch, grant_fetch
from .jit import compiled, entry, inlined
from .loader import begin_load, grant_load
from .operands import operand_hits
from .pointers import int32s, int64s
from .queues import COMPUTE, LOAD, MASK, STORE, UNITS
from .semantics import execute
from .state import Ints, State
from .transfers import dram_address
from .units import earliest_start, end_those_written, may_start, pop_tokens

_LOAD, _STORE, _ALU = int(Opcode.LOAD), int(Opcode.STORE), int(Opcode.ALU)
_RING, _RESPONSES = IN_FLIGHT - 1, BURSTS_IN_FLIGHT - 1
_FETCH_AWAKE = 1 << UNITS
_AT_A_TIME = 255
"""Grants between two times that effects are looked after, a mask: rarely, because one kind of work
at a time is faster."""


@entry
def run_timed(m: State, t: Clock) -> int:
    """Run a decoded program to its end; return OK, a fault, or DEADLOCK."""
    for unit in range(UNITS):
        m.dispatched[unit] = m.started[unit] = m.ended[unit] = 0
        m.to_start[unit] = m.to_end[unit] = t.to_apply[unit] = m.first[unit]
        m.opcode[unit] = -1
    steps = 0
    while True:
        while t.awake:
            for unit in range(UNITS):
                if t.awake >> unit & 1:
                    t.awake &= ~(1 << unit)
                    _advance(m, t, unit)
            if t.awake == _FETCH_AWAKE:
                t.awake = 0
                dispatch(m, t)
        granted = min(t.request_at[LOAD], t.request_at[COMPUTE], t.request_at[FETCH])
        if granted != NEVER:
            granted = max(granted, t.request_free)
        until = min(granted, t.micro_ops_at)
        steps += 1
        if steps & _AT_A_TIME == 0 or until == t.micro_ops_at:
            code = _apply(m, t, until)
            if code != OK:
                return code
        if until == NEVER:
            break
        if until == t.micro_ops_at:
            t.micro_ops_at = NEVER
            t.awake |= 1 << COMPUTE
        elif t.request_at[FETCH] <= granted:
            grant_fetch(m, t, granted)
        else:
            reader, other = LOAD, COMPUTE
            if t.request_at[COMPUTE] <= granted:
                reader, other = COMPUTE, LOAD
            until = min(t.micro_ops_at, t.request_at[FETCH], t.request_at[other])
            if grant_load(m, t, reader, granted, until):
                _written(m, t, reader)
                t.awake |= 1 << reader
    done = t.fetched == m.count
    for unit in range(UNITS):
        done = done and m.ended[unit] == m.dispatched[unit]
    return OK if done else DEADLOCK


@compiled
def _apply(m: State, t: Clock, cycle: int) -> int:
    """Do what the instructions do that have ended by `cycle`, in the order of their ends."""
    heads = int64s(m.heads)
    while True:
        first, unit = NEVER, LOAD
        for candidate in range(UNITS):
            if t.applied[candidate] < m.ended[candidate]:
                end = heads[2 * t.to_apply[candidate] + TIME]
                if end < first:
                    first, unit = end, candidate
        if first > cycle or first == NEVER:
            t.applied_until = cycle
            return OK
        index = t.to_apply[unit]
        t.applied[unit] += 1
        t.to_apply[unit] = heads[2 * index + HEAD] >> NEXT_SHIFT
        if t.ends:
            int64s(t.ends)[index] = first
        code = execute(m, row_at(m, index), index)
        if code != OK:
            return code


@compiled
def _advance(m: State, t: Clock, unit: int) -> None:
    """Start the unit's instructions in order, up to one for which something is still open."""
    unit &= MASK
    heads = int64s(m.heads)
    if m.ended[unit] < t.written[unit]:
        end_those_written(m, t, unit)
    while True:
        index = m.to_start[unit]
        if index < 0 or t.front_free[unit] == NEVER:
            break
        head, seen = heads[2 * index + HEAD], heads[2 * index + TIME]
        if seen == NEVER or not may_start(m, t, unit, head):
            break
        cycle, row = earliest_start(m, t, unit, head, seen), row_at(m, index)
        opcode = head >> OPCODE_SHIFT & OPCODE_MASK
        if opcode == _ALU and _needs_micro_ops(m, row) and cycle > t.applied_until:
            t.micro_ops_at = cycle
            break
        pop_tokens(m, t, unit, head, cycle)
        number = m.started[unit]
        int64s(t.left)[(unit << t.left_shift) + (number & ((1 << t.left_shift) - 1))] = cycle
        if t.starts:
            int64s(t.starts)[index] = cycle
        m.started[unit] = number + 1
        m.opcode[unit] = opcode
        m.to_start[unit] = head >> NEXT_SHIFT
        t.started_at[unit] = cycle
        if opcode == _LOAD:
            begin_load(m, t, unit, row, cycle)
        elif opcode == _STORE:
            _begin_store(m, t, row, cycle)
        else:
            _begin_compute(m, t, row, cycle)
        if t.front_free[unit] != NEVER:
            _written(m, t, unit)
    if t.full >> unit & 1:
        t.awake |= _FETCH_AWAKE


@inlined
def _needs_micro_ops(m: State, row: Ints) -> bool:
    """Whether the cycles of an ALU depend on its micro-ops."""
    return row[ACTION] == ALU and row[USE_IMM] == 0 and m.acc_read_ports == 1


@compiled
def _written(m: State, t: Clock, unit: int) -> None:
    """Note when the unit's newest instruction has written all, and end what can end."""
    unit &= MASK
    t.spent[unit, BUSY] += t.front_free[unit] - t.started_at[unit]
    t.written_ring[unit, t.written[unit] & _RING] = t.written_at[unit]
    t.written[unit] += 1
    end_those_written(m, t, unit)


@compiled
def _begin_store(m: State, t: Clock, row: Ints, start: int) -> None:
    cycle = start + STORE_SETUP
    written = cycle
    if row[X_SIZE] != 0 and row[Y_SIZE] != 0:
        size = m.element_bytes[row[MEMORY]]
        address, length, pitch = dram_address(m, row), row[X_SIZE] * size, row[X_STRIDE] * size
        cycle = write(m, t, cycle, address, length, pitch, row[Y_SIZE])
        written = t.response_at[(t.write_bursts - 1) & _RESPONSES] + 1
    t.front_free[STORE] = cycle
    t.written_at[STORE] = max(t.written_at[STORE], written)


@compiled
def _begin_compute(m: State, t: Clock, row: Ints, start: int) -> None:
    """GEMM, ALU and FINISH."""
    action, first = row[ACTION], start + ISSUE_SETUP
    cycles, stages = 0, 1
    if action != NOTHING:
        cycles, stages = micro_ops(row), GEMM_STAGES
        if action != ALU:
            t.gemm_cycles += cycles
        else:
            stages = ALU_STAGES
            if _needs_micro_ops(m, row):
                hits = operand_hits(row, int32s(m.uops))
                t.operand_hits += hits
                cycles += cycles - hits
            t.alu_cycles += cycles
    t.front_free[COMPUTE] = first + cycles
    t.written_at[COMPUTE] = max(t.written_at[COMPUTE], first + cycles - 1 + stages)


@entry
def close_accounts(m: State, t: Clock) -> int:
    """Put down the cycles after each unit's last start; return the cycles of the whole run."""
    cycles = max(t.ended_at[LOAD], t.ended_at[COMPUTE], t.ended_at[STORE])
    for unit in range(UNITS):
        t.spent[unit, NO_INSTRUCTION] += cycles - t.front_free[unit]
    return cycles
