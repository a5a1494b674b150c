"""What the timing model knows while a program runs, as one record; see TIMING.md.

Times are cycles; `NEVER` stands for what is not decided yet. Rings are indexed by a running number
modulo their length.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..isa.costs import BURSTS_IN_FLIGHT, FETCH_BUFFER_BURSTS, IN_FLIGHT
from .jit import constant
from .queues import TOKEN_QUEUES, UNITS
from .state import I64

Clock: TypeAlias = Any
"""A record of `CLOCK` in compiled code."""

NEVER = constant(1 << 62)

# Who reads memory: two of the units, under their own numbers, and fetch
FETCH, READERS = constant(2), 3

FETCH_UNIT = constant(UNITS)
"""Where fetch stands in what is kept by unit, and for fetch."""

# What a unit spends its cycles on: columns of `spent`
BUSY, NO_INSTRUCTION, TOKEN_PREV, TOKEN_NEXT, MEMORY, PIPELINE, TOKEN_FULL, ORDER = range(8)
SPENT = 8

BURSTS = 128
"""Read bursts remembered: a power of two, and more than the `WORDS_IN_FLIGHT` that can hold the
last words, since the next burst is noted before the oldest of them is let go."""

_int, _units, _readers = np.int64, (np.int64, UNITS), (np.int64, READERS)
_queues = (np.int64, len(TOKEN_QUEUES))
CLOCK = np.dtype(
    [
        ("latency", _int),
        ("awake", _int, UNITS + 1),  # by unit, and for fetch: what it waited for may have come
        # fetch
        ("fetched", _int),  # instructions handed to command queues
        ("dispatched_at", _int),  # cycle of the last one
        ("bursts", _int),  # granted
        ("fetch_data", _int, FETCH_BUFFER_BURSTS),  # cycle of a burst's first word
        ("drained_at", _int, FETCH_BUFFER_BURSTS),  # cycle after the dispatch of its last
        ("wake_at", *_units),  # how many instructions have to start for fetch to go on
        ("ask_from", _int),  # while fetch is awake: cycle before which it does not ask
        # command queues: when the instruction in each place left it
        ("left", _int),  # address, int64 (UNITS, 1 << left_shift)
        ("left_shift", _int),
        # token queues: when the token in each place can be taken, and when it left it free again
        ("tokens", _int),  # address, int64 (4, 1 << tokens_shift, 2)
        ("tokens_shift", _int),
        ("pushed", *_queues),
        ("popped", *_queues),
        # units
        ("started_at", *_units),  # of the last one
        ("front_free", *_units),  # cycle from which its front lets the next one start
        ("written", *_units),  # instructions whose effects' time is known
        ("written_at", *_units),  # of the last one of these
        ("ended_at", *_units),  # of the last one whose end is known
        ("written_ring", _int, (UNITS, IN_FLIGHT)),
        ("end_ring", _int, (UNITS, IN_FLIGHT)),
        ("micro_ops_at", _int),  # cycle in which an ALU wants to start, having read its micro-ops
        ("applied_until", _int),  # cycle up to which effects have been applied
        ("applied", *_units),  # instructions whose effects have been applied
        ("to_apply", *_units),  # index of the next one
        ("spent", _int, (UNITS, SPENT)),
        # read channel
        ("request_at", *_readers),  # cycle from which each wants its next burst
        ("request_free", _int),  # cycle from which the channel takes a request
        ("read_free", _int),  # cycle from which the data bus is free
        ("read_bursts", _int),
        ("read_words", _int),
        ("credit", _int),  # the burst with the word whose arrival lets the next request go
        ("burst_words", _int, BURSTS),  # words requested, up to and with each burst
        ("burst_end", _int, BURSTS),  # cycle after each burst's last word
        ("words_read", *_readers),
        # what a LOAD still has to do, by unit
        ("address", _int, 2),
        ("row_end", _int, 2),
        ("row_address", _int, 2),
        ("row_bytes", _int, 2),
        ("pitch", _int, 2),
        ("rows_left", _int, 2),
        ("pads_left", _int, 2),
        ("pad_from", _int, 2),
        ("pads_done", _int, 2),
        # write channel
        ("write_bursts", _int),
        ("write_words", _int),
        ("response_at", _int, BURSTS_IN_FLIGHT),
        # compute
        ("gemm_cycles", _int),
        ("alu_cycles", _int),
        ("operand_hits", _int),
        # record of starts and ends
        ("starts", _int),  # address, int64 (n), or 0
        ("ends", _int),
    ]
)


@dataclass(frozen=True, eq=False)
class Times:
    """A clock at cycle 0 and the arrays whose addresses are in it."""

    record: np.void
    left: I64
    tokens: I64
    starts: I64
    ends: I64


def new_times(m: np.void, latency: int, *, record: bool) -> Times:
    """Return the clock for a run of the machine of a record of `state.STATE`."""
    n = int(m["count"]) if record else 0
    left_shift, tokens_shift = (
        (int(m[depth]) - 1).bit_length() for depth in ("command_depth", "token_depth")
    )
    times = Times(
        np.zeros(1, CLOCK)[0],
        np.zeros((UNITS, 1 << left_shift), np.int64),
        np.zeros((len(TOKEN_QUEUES), 1 << tokens_shift, 2), np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
    )
    t = times.record
    t["latency"] = latency
    t["dispatched_at"] = -1
    t["written_at"] = -1
    t["micro_ops_at"] = NEVER
    t["request_at"] = NEVER
    t["ask_from"] = t["wake_at"] = NEVER
    t["request_at"][FETCH] = 0
    t["pushed"] = m["tokens"]
    t["left"], t["left_shift"] = times.left.ctypes.data, left_shift
    t["tokens"], t["tokens_shift"] = times.tokens.ctypes.data, tokens_shift
    if record:
        t["starts"], t["ends"] = times.starts.ctypes.data, times.ends.ctypes.data
    return times
