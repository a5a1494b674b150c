"""The machine with its clock: TIMING.md, from event to event. Compiled.

An event is an instruction that starts, or a read request that is granted. Everything else follows
from these: when a GEMM, ALU or STORE starts, its end is known; of a LOAD, when its last burst is
granted. Only the readers of memory compete, so only their requests, and the order of effects on
buffers and memory, need events to be taken in the order of time.
"""

from ..isa.instructions import Opcode
from .channel import write
from .clock import BUSY, FETCH, NEVER, NO_INSTRUCTION, Clock
from .columns import (
    KIND,
    MEMORY,
    NEXT,
    TOKENS,
    USE_IMM,
    X_SIZE,
    X_STRIDE,
    Y_SIZE,
)
from .costs import ALU_STAGES, BURSTS_IN_FLIGHT, GEMM_STAGES, ISSUE_SETUP, STORE_SETUP
from .decode import row_at
from .faults import DEADLOCK, OK
from .fetch import after, dispatch, grant_fetch
from .jit import compiled, entry
from .loader import begin_load, grant_load
from .operands import operand_hits
from .pointers import int32s, int64s
from .queues import COMPUTE, IN_FLIGHT, LOAD, POPPED, PRODUCER, STORE, UNITS
from .semantics import execute, micro_ops
from .state import Ints, State
from .transfers import dram_address
from .units import account, account_end, earliest_start, end_those_written, take_tokens

_LOAD, _STORE = int(Opcode.LOAD), int(Opcode.STORE)
_GEMM, _ALU = int(Opcode.GEMM), int(Opcode.ALU)
_RING, _RESPONSES = IN_FLIGHT - 1, BURSTS_IN_FLIGHT - 1


@entry
def run_timed(m: State, t: Clock) -> int:
    """Run a decoded program to its end; return OK, a fault, or DEADLOCK."""
    for unit in range(UNITS):
        m.dispatched[unit] = m.started[unit] = m.ended[unit] = 0
        m.to_start[unit] = m.to_end[unit] = t.to_apply[unit] = m.first[unit]
        m.kind[unit] = -1
    while True:
        unit, cycle = COMPUTE, NEVER
        for candidate in range(UNITS):
            if t.due[candidate] == NEVER:
                t.due[candidate] = earliest_start(m, t, candidate)
            if t.due[candidate] < cycle:
                unit, cycle = candidate, t.due[candidate]
        granted = min(t.request_at[LOAD], t.request_at[COMPUTE], t.request_at[FETCH])
        if granted != NEVER:
            granted = max(granted, t.request_free)
        if cycle <= granted:
            if cycle == NEVER:
                break
            code = _apply(m, t, cycle)
            if code != OK:
                return code
            _start(m, t, unit, cycle)
        elif t.request_at[FETCH] <= granted:
            grant_fetch(m, t, granted)
        else:
            reader = COMPUTE if t.request_at[COMPUTE] <= granted else LOAD
            if grant_load(m, t, reader, granted):
                _written(m, t, reader)
    code = _apply(m, t, NEVER)
    if code != OK:
        return code
    done = t.fetched == m.count
    for unit in range(UNITS):
        done = done and m.ended[unit] == m.dispatched[unit]
    return OK if done else DEADLOCK


@compiled
def _apply(m: State, t: Clock, cycle: int) -> int:
    """Do what the instructions do that have ended by `cycle`, in the order of their ends."""
    while True:
        first, unit = cycle + 1, -1
        for candidate in range(UNITS):
            number = t.applied[candidate]
            if number < m.ended[candidate]:
                end = t.end_ring[candidate, number & _RING]
                if end < first:
                    first, unit = end, candidate
        if unit < 0:
            return OK
        index = t.to_apply[unit]
        row = row_at(m, index)
        t.applied[unit] += 1
        t.to_apply[unit] = row[NEXT]
        if t.ends:
            int64s(t.ends)[index] = first
        code = execute(m, row, index)
        if code != OK:
            return code


@compiled
def _start(m: State, t: Clock, unit: int, cycle: int) -> None:
    index = m.to_start[unit]
    row = row_at(m, index)
    kind, flags = row[KIND], row[TOKENS]
    if t.starts:
        int64s(t.starts)[index] = cycle
    account(m, t, unit, row)
    int64s(t.places)[unit * m.command_depth + t.place_out[unit]] = cycle
    t.place_out[unit] = after(t.place_out[unit], m.command_depth)
    take_tokens(m, t, unit, flags, cycle)
    m.started[unit] += 1
    m.kind[unit] = kind
    m.to_start[unit] = row[NEXT]
    t.started_at[unit] = cycle
    t.due[unit] = NEVER
    if kind == _LOAD:
        begin_load(m, t, unit, row, cycle)
    elif kind == _STORE:
        _begin_store(m, t, row, cycle)
    else:
        _begin_compute(m, t, row, cycle)
    if t.front_free[unit] != NEVER:
        _written(m, t, unit)
    for side in range(2):
        if flags >> side & 1:
            end_those_written(m, t, PRODUCER[POPPED[unit][side]])
    if t.fetched < m.count:
        dispatch(m, t)


@compiled
def _written(m: State, t: Clock, unit: int) -> None:
    """Note when the unit's newest instruction has written all, and end what can end."""
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
    t.written_at[STORE] = written


@compiled
def _begin_compute(m: State, t: Clock, row: Ints, start: int) -> None:
    """GEMM, ALU and FINISH."""
    kind = row[KIND]
    cycle = start + ISSUE_SETUP
    t.front_free[COMPUTE] = cycle
    t.written_at[COMPUTE] = cycle
    if kind != _GEMM and kind != _ALU:
        return
    cycles = micro_ops(row)
    if cycles == 0:
        return
    if kind == _GEMM:
        t.gemm_cycles += cycles
        t.written_at[COMPUTE] = cycle + cycles - 1 + GEMM_STAGES
    else:
        if row[USE_IMM] == 0 and m.acc_read_ports == 1:
            hits = operand_hits(row, int32s(m.uops))
            t.operand_hits += hits
            cycles += cycles - hits
        t.alu_cycles += cycles
        t.written_at[COMPUTE] = cycle + cycles - 1 + ALU_STAGES
    t.front_free[COMPUTE] = cycle + cycles


@entry
def close_accounts(m: State, t: Clock) -> int:
    """Put down the cycles after each unit's last start; return the cycles of the whole run."""
    cycles = max(t.ended_at[LOAD], t.ended_at[COMPUTE], t.ended_at[STORE])
    for unit in range(UNITS):
        t.spent[unit, BUSY] += t.front_free[unit] - t.started_at[unit]
        cycle = account_end(m, t, unit, t.front_free[unit])
        t.spent[unit, NO_INSTRUCTION] += cycles - cycle
    return cycles
