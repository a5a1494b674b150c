"""The machine with its clock: TIMING.md, from event to event. Compiled.

An event is an instruction that starts, or a read request that is granted. Everything else follows
from these: when a GEMM, ALU or STORE starts, its end is known; of a LOAD, when its last burst is
granted. Only the readers of memory compete, so only their requests, and the order of effects on
buffers and memory, need events to be taken in the order of time.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..isa.config import Config
from ..isa.instructions import Opcode, Unit
from .channel import ADDRESS_MASK, write
from .columns import (
    DRAM_BASE,
    ITER_IN,
    ITER_OUT,
    KIND,
    MEMORY,
    RESET,
    TOKENS,
    UOP_BEGIN,
    UOP_END,
    USE_IMM,
    X_SIZE,
    X_STRIDE,
    Y_SIZE,
)
from .costs import ALU_STAGES, BURSTS_IN_FLIGHT, GEMM_STAGES, ISSUE_SETUP, STORE_SETUP
from .faults import DEADLOCK, OK
from .fetch import dispatch, grant_fetch
from .jit import compiled
from .loader import begin_load, grant_load
from .operands import operand_hits
from .queues import IN_FLIGHT, POPPED, PRODUCER
from .semantics import Storage, execute
from .state import (
    BUSY,
    CLOCK,
    COMPUTE,
    FETCH,
    LOAD,
    NEVER,
    NO_INSTRUCTION,
    READERS,
    STORE,
    UNITS,
    Clock,
)
from .units import account, account_end, earliest_start, end_those_written, take_tokens

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_POPPED = np.array([POPPED[unit] for unit in Unit])
_PRODUCER = np.array(PRODUCER)
_LOAD_OP, _STORE_OP = int(Opcode.LOAD), int(Opcode.STORE)
_GEMM_OP, _ALU_OP = int(Opcode.GEMM), int(Opcode.ALU)


class Run(NamedTuple):
    """A decoded program and the clocked machine that runs it.

    Attributes
    ----------
    rows, order
        See `decode.decode`.
    clock : CLOCK (1)
    queue, tokens
        See `units.earliest_start`.
    starts, ends : int64 (n), or (0) when they are not asked for
    """

    rows: I32
    order: I32
    clock: npt.NDArray[np.void]
    queue: I64
    tokens: I64
    starts: I64
    ends: I64


def new_run(
    config: Config, latency: int, rows: I32, order: I32, tokens: I64, *, record: bool
) -> Run:
    """Return a machine at cycle 0, with `tokens` int64 (4) left over in its token queues."""
    clock = np.zeros(1, CLOCK)
    t = clock[0]
    t["latency"] = latency
    t["bus_bytes"] = config.bus_bytes
    t["command_depth"] = config.command_queue_depth
    t["token_depth"] = config.token_queue_depth
    t["acc_read_ports"] = config.acc_read_ports
    t["instructions"] = len(rows)
    t["dispatched_at"] = -1
    t["kind"] = -1
    t["written_at"] = -1
    t["request_at"] = NEVER
    t["request_at"][FETCH] = 0
    t["pushed"] = tokens
    places = np.full((len(tokens), config.token_queue_depth), -1, np.int64)
    for queue, count in zip(places, tokens.tolist(), strict=True):
        queue[:count] = 0
    n = len(rows) if record else 0
    return Run(
        rows,
        order,
        clock,
        np.full((UNITS, config.command_queue_depth), -1, np.int64),
        places,
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
    )


@compiled
def run_timed(r: Run, s: Storage) -> int:
    """Run to the end; return OK, a fault, or DEADLOCK."""
    t = r.clock[0]
    start0 = start1 = start2 = NEVER
    while True:
        start0 = earliest_start(t, LOAD, r.rows, r.order, r.queue, r.tokens)
        start1 = earliest_start(t, COMPUTE, r.rows, r.order, r.queue, r.tokens)
        start2 = earliest_start(t, STORE, r.rows, r.order, r.queue, r.tokens)
        unit, cycle = COMPUTE, start1
        if start0 < cycle:
            unit, cycle = LOAD, start0
        if start2 < cycle:
            unit, cycle = STORE, start2
        asked = min(t.request_at[LOAD], t.request_at[COMPUTE], t.request_at[FETCH])
        granted = NEVER if asked == NEVER else max(asked, t.request_free)
        if cycle <= granted:
            if cycle == NEVER:
                break
            code = _apply(r, cycle, s)
            if code != OK:
                return code
            _start(r, unit, cycle, s)
        elif t.request_at[FETCH] <= granted:
            grant_fetch(t, granted)
            dispatch(t, r.rows, r.queue)
        else:
            reader = COMPUTE if t.request_at[COMPUTE] <= granted else LOAD
            if grant_load(t, reader, granted):
                _written(r, reader)
    code = _apply(r, NEVER, s)
    if code != OK:
        return code
    done = t.fetched == t.instructions
    for unit in range(UNITS):
        done = done and t.ended[unit] == t.dispatched[unit]
    return OK if done else DEADLOCK


@compiled
def _apply(r: Run, cycle: int, s: Storage) -> int:
    """Do what the instructions do that have ended by `cycle`, in the order of their ends."""
    t = r.clock[0]
    while True:
        first, unit = cycle + 1, -1
        for candidate in range(UNITS):
            number = t.applied[candidate]
            if number < t.ended[candidate]:
                end = t.end_ring[candidate, number % IN_FLIGHT]
                if end < first:
                    first, unit = end, candidate
        if unit < 0:
            return OK
        index = r.order[unit, t.applied[unit]]
        t.applied[unit] += 1
        if r.ends.size:
            r.ends[index] = first
        code = execute(r.rows[index], index, s)
        if code != OK:
            return code


@compiled
def _start(r: Run, unit: int, cycle: int, s: Storage) -> None:
    t = r.clock[0]
    index = r.order[unit, t.started[unit]]
    row = r.rows[index]
    kind, flags = row[KIND], row[TOKENS]
    if r.starts.size:
        r.starts[index] = cycle
    account(t, unit, flags, kind, r.queue, r.tokens)
    r.queue[unit, t.started[unit] % t.command_depth] = cycle
    take_tokens(t, unit, flags, cycle, r.tokens)
    t.started[unit] += 1
    t.started_at[unit] = cycle
    t.kind[unit] = kind
    if kind == _LOAD_OP:
        begin_load(t, unit, row, s.element_bytes, cycle)
    elif kind == _STORE_OP:
        _begin_store(t, row, s.element_bytes, cycle)
    else:
        _begin_compute(t, row, s.uops, cycle)
    if t.front_free[unit] != NEVER:
        _written(r, unit)
    for side in range(2):
        if flags >> side & 1:
            end_those_written(t, _PRODUCER[_POPPED[unit, side]], r.rows, r.order, r.tokens)
    if t.fetched < t.instructions:
        dispatch(t, r.rows, r.queue)


@compiled
def _written(r: Run, unit: int) -> None:
    """Note when the unit's newest instruction has written all, and end what can end."""
    t = r.clock[0]
    t.written_ring[unit, t.written[unit] % IN_FLIGHT] = t.written_at[unit]
    t.written[unit] += 1
    end_those_written(t, unit, r.rows, r.order, r.tokens)


@compiled
def _begin_store(t: Clock, row: I32, element_bytes: I64, start: int) -> None:
    cycle = start + STORE_SETUP
    written = cycle
    if row[X_SIZE] != 0 and row[Y_SIZE] != 0:
        size = element_bytes[row[MEMORY]]
        address = np.int64(np.uint32(row[DRAM_BASE])) * size
        length, pitch = row[X_SIZE] * size, row[X_STRIDE] * size
        cycle = write(t, cycle, address, length, pitch, np.int64(row[Y_SIZE]))
        written = t.response_at[(t.write_bursts - 1) % BURSTS_IN_FLIGHT] + 1
    t.front_free[STORE] = cycle
    t.written_at[STORE] = written


@compiled
def _begin_compute(t: Clock, row: I32, uops: I32, start: int) -> None:
    """GEMM, ALU and FINISH."""
    kind = row[KIND]
    cycle = start + ISSUE_SETUP
    t.front_free[COMPUTE] = cycle
    t.written_at[COMPUTE] = cycle
    if kind != _GEMM_OP and kind != _ALU_OP:
        return
    count = np.int64(max(row[UOP_END] - row[UOP_BEGIN], 0)) * row[ITER_OUT] * row[ITER_IN]
    if count == 0:
        return
    if kind == _GEMM_OP:
        t.gemm_cycles += count
        t.written_at[COMPUTE] = cycle + count - 1 + GEMM_STAGES
    else:
        if row[USE_IMM] == 0 and t.acc_read_ports == 1:
            hits = operand_hits(row, uops)
            t.operand_hits += hits
            count += count - hits
        t.alu_cycles += count
        t.written_at[COMPUTE] = cycle + count - 1 + ALU_STAGES
    t.front_free[COMPUTE] = cycle + count


@compiled
def close_accounts(r: Run) -> int:
    """Put down the cycles after each unit's last start; return the cycles of the whole run."""
    t = r.clock[0]
    cycles = max(t.ended_at[LOAD], t.ended_at[COMPUTE], t.ended_at[STORE])
    for unit in range(UNITS):
        t.spent[unit, BUSY] += t.front_free[unit] - t.started_at[unit]
        cycle = account_end(t, unit, t.front_free[unit])
        t.spent[unit, NO_INSTRUCTION] += cycles - cycle
    return cycles
