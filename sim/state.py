"""The state of the clocked machine while a program runs, as one record that compiled code writes.

Times are cycles; `NEVER` stands for what has not been decided yet.
"""

from typing import Any, TypeAlias

import numpy as np

from ..isa.instructions import Unit
from .costs import BURSTS_IN_FLIGHT
from .queues import IN_FLIGHT, TOKEN_QUEUES

NEVER = 1 << 62
UNITS = len(Unit)

LOAD, COMPUTE, STORE = int(Unit.LOAD), int(Unit.COMPUTE), int(Unit.STORE)
FETCH = 2
"""The third that reads memory; `LOAD` and `COMPUTE` are the others."""
READERS = 3

# What a unit spends its cycles on: columns of `spent`
BUSY, NO_INSTRUCTION, TOKEN_PREV, TOKEN_NEXT, MEMORY, PIPELINE, TOKEN_FULL = range(7)
SPENT = 7

RING = 2 * BURSTS_IN_FLIGHT

Clock: TypeAlias = Any
"""A record of `CLOCK`; Numba knows its fields, the checker does not."""

_int, _units, _readers = np.int64, (np.int64, UNITS), (np.int64, READERS)
CLOCK = np.dtype(
    [
        # the configuration
        ("latency", _int),
        ("bus_bytes", _int),
        ("command_depth", _int),
        ("token_depth", _int),
        ("acc_read_ports", _int),
        # fetch
        ("instructions", _int),  # in the program
        ("fetched", _int),  # dispatched to command queues
        ("dispatched_at", _int),  # cycle of the last dispatch
        ("bursts", _int),  # granted to fetch
        ("fetch_data", _int, 2),  # first word of the last two bursts
        ("drained_at", _int, 2),  # cycle after the dispatch of the last instruction, by burst
        # units
        ("dispatched", *_units),  # instructions so far
        ("started", *_units),
        ("written", *_units),  # those whose effects' time is known
        ("ended", *_units),  # those whose end is known
        ("applied", *_units),  # those whose effects have been applied
        ("started_at", *_units),  # the last one
        ("kind", *_units),  # opcode of the last one started
        ("front_free", *_units),  # cycle in which the next may start, as far as the front goes
        ("written_at", *_units),  # of the last one
        ("ended_at", *_units),
        ("written_ring", _int, (UNITS, IN_FLIGHT)),
        ("end_ring", _int, (UNITS, IN_FLIGHT)),
        ("spent", _int, (UNITS, SPENT)),
        # token queues
        ("pushed", _int, len(TOKEN_QUEUES)),
        ("popped", _int, len(TOKEN_QUEUES)),
        # read channel
        ("request_at", *_readers),  # cycle from which each wants its next burst
        ("request_free", _int),  # cycle from which the channel takes a request
        ("read_free", _int),  # cycle from which the data bus is free
        ("read_bursts", _int),
        ("read_words", _int),
        ("credit", _int),  # the burst that holds the word whose arrival lets the next request go
        ("burst_words", _int, RING),  # words requested, up to and with each burst
        ("burst_end", _int, RING),  # cycle after each burst's last word
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
    ]
)
"""Rings are indexed by a running number modulo their length."""
