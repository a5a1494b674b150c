"""The constants of the timing model, for simulator and hardware; sim/TIMING.md has their rules."""

MAX_BURST_WORDS = 64
"""Words of the longest burst, read or write."""

BURSTS_IN_FLIGHT = 32
"""Read bursts, or write bursts, requested and not complete, at most."""

WORDS_IN_FLIGHT = 64
"""A read request waits while this many words are requested and not yet received."""

FETCH_BURST = 16
"""Instructions that one burst of fetch reads."""

FETCH_BUFFER_BURSTS = 2
"""Bursts of instructions that fetch has room for, requested or received and not dispatched."""

LOAD_SETUP = 2
"""Cycles from the start of a LOAD to its first read request or pad."""

STORE_SETUP = 3
"""Cycles from the start of a STORE to its first word."""

ISSUE_SETUP = 1
"""Cycles from the start of GEMM, ALU or FINISH to its first micro-op, or to its end without one."""

GEMM_STAGES = 7
"""Cycles of a GEMM micro-op in the pipeline: read micro-op, add loops, read tiles, multiply, add in
two, accumulate and write."""

ALU_STAGES = 5
"""Cycles of an ALU micro-op in the pipeline: read micro-op, add loops, read, operate, write."""

IN_FLIGHT = 8
"""Instructions of one unit that have started and not ended, at most; a power of two."""
