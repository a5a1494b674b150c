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
from .clock import BUSY, FETCH, FETCH_UNIT, NEVER, NO_INSTRUCTION, Clock
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
from .fetch import dispatch, grant_fetch, leave_queue
from .jit import compiled, entry, inlined, merged
from .loader import begin_load, grant_load
from .operands import operand_hits
from .pointers import int32s, int64s
from .queues import COMPUTE, LOAD, MATRIX, STORE, UNITS
from .semantics import execute
from .state import Ints, State
from .transfers import dram_address
from .units import earliest_start, end_those_written, may_start, pop_tokens

_LOAD, _STORE, _ALU = int(Opcode.LOAD), int(Opcode.STORE), int(Opcode.ALU)
_RING, _RESPONSES = IN_FLIGHT - 1, BURSTS_IN_FLIGHT - 1
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
    steps, looked = 0, -1
    while True:
        moving = True
        while moving:
            moving = False
            if t.awake[LOAD]:
                t.awake[LOAD] = 0
                _advance(m, t, LOAD)
                moving = True
            if t.awake[COMPUTE]:
                t.awake[COMPUTE] = 0
                _advance(m, t, COMPUTE)
                moving = True
            if t.awake[STORE]:
                t.awake[STORE] = 0
                _advance(m, t, STORE)
                moving = True
            if t.awake[MATRIX]:
                t.awake[MATRIX] = 0
                _advance(m, t, MATRIX)
                moving = True
            if t.awake[FETCH_UNIT] and not moving:
                t.awake[FETCH_UNIT] = 0
                dispatch(m, t)
                moving = True
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
            if t.fetched == looked:
                break
            looked = t.fetched
            t.awake[FETCH_UNIT] = 1
        elif until == t.micro_ops_at:
            t.micro_ops_at = NEVER
            t.awake[COMPUTE] = 1
        elif t.request_at[FETCH] <= granted:
            grant_fetch(m, t, granted)
        else:
            reader = COMPUTE if t.request_at[COMPUTE] <= granted else LOAD
            if grant_load(m, t, reader, granted, _until(t, reader)):
                _written(t, reader)
                t.awake[reader] = 1
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


@merged
def _advance(m: State, t: Clock, unit: int) -> None:
    """Start the unit's instructions in order, up to one for which something is still open."""
    heads = int64s(m.heads)
    while True:
        if m.ended[unit] < t.written[unit]:
            end_those_written(m, t, unit)
        index = m.to_start[unit]
        if index < 0 or t.front_free[unit] == NEVER:
            break
        head, seen = heads[2 * index + HEAD], heads[2 * index + TIME]
        if seen == NEVER:
            t.awake[FETCH_UNIT], t.ask_from = 1, 0
            break
        if not may_start(m, t, unit, head):
            break
        cycle, row = earliest_start(m, t, unit, head, seen), row_at(m, index)
        opcode = head >> OPCODE_SHIFT & OPCODE_MASK
        if (
            unit == COMPUTE
            and opcode == _ALU
            and _needs_micro_ops(m, row)
            and cycle > t.applied_until
        ):
            t.micro_ops_at = cycle
            break
        pop_tokens(m, t, unit, head, cycle)
        leave_queue(m, t, unit, cycle)
        if t.starts:
            int64s(t.starts)[index] = cycle
        m.opcode[unit] = opcode
        m.to_start[unit] = head >> NEXT_SHIFT
        t.started_at[unit] = cycle
        if unit == LOAD or (unit == COMPUTE and opcode == _LOAD):
            begin_load(m, t, unit, row, cycle)
            if t.request_at[unit] != NEVER:
                granted, until = max(t.request_at[unit], t.request_free), _until(t, unit)
                if granted < until and _alone(t, unit):
                    grant_load(m, t, unit, granted, until)
        elif unit == STORE:
            _begin_store(m, t, row, cycle)
        else:
            _begin_compute(m, t, unit, row, cycle)
        if t.front_free[unit] != NEVER:
            _written(t, unit)


@inlined
def _until(t: Clock, reader: int) -> int:
    """Return the cycle before which no other reader has a request, as far as is known."""
    known = min(t.micro_ops_at, t.request_at[FETCH], t.request_at[COMPUTE - reader])
    return min(known, t.ask_from)


@inlined
def _alone(t: Clock, unit: int) -> bool:
    """Whether nothing else can go on, so that only known requests compete."""
    return (t.awake[COMPUTE - unit] | t.awake[STORE] | t.awake[MATRIX]) == 0


@inlined
def _needs_micro_ops(m: State, row: Ints) -> bool:
    """Whether the cycles of an ALU depend on its micro-ops."""
    return row[ACTION] == ALU and row[USE_IMM] == 0 and m.acc_read_ports == 1


@inlined
def _written(t: Clock, unit: int) -> None:
    """Note when the unit's newest instruction has written all."""
    t.spent[unit, BUSY] += t.front_free[unit] - t.started_at[unit]
    t.written_ring[unit, t.written[unit] & _RING] = t.written_at[unit]
    t.written[unit] += 1


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


@merged
def _begin_compute(m: State, t: Clock, unit: int, row: Ints, start: int) -> None:
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
    t.front_free[unit] = first + cycles
    t.written_at[unit] = max(t.written_at[unit], first + cycles - 1 + stages)


@entry
def close_accounts(m: State, t: Clock) -> int:
    """Put down the cycles after each unit's last start; return the cycles of the whole run."""
    cycles = max(t.ended_at[LOAD], t.ended_at[COMPUTE], t.ended_at[STORE], t.ended_at[MATRIX])
    for unit in range(UNITS):
        t.spent[unit, NO_INSTRUCTION] += cycles - t.front_free[unit]
    return cycles
