"""The machine as software: what programs compute, and how many cycles they take.

TIMING.md is the timing model, rule by rule, that the hardware matches to the cycle.

- `machine` - `Machine`, its memory, `run`, and what a run returns: `Result`, `Counters`, `Cycles`
- `engine` - both engines behind one call
- `errors` - `ProgramError`, `DeadlockError`; `explain` and `deadlock` put them in words
- `trace` - recorded runs as a timeline for Perfetto

What is left is compiled by LLVM (`jit`, `pointers`) and works on two records of integers:

- `state` - the machine without time; `queues`: who passes tokens to whom; `columns`: a program as
  a table
- `decode` - words to that table, with every check that needs no run; `faults`: what was found
- `semantics` - what each instruction does, through kernels (`kernel`): `transfers` (LOAD, STORE),
  `compute` (GEMM, ALU), made of `vectors`
- `functional` - the engine without a clock
- `timing` - the engine with one; `clock`: what it knows
- `order` - which instructions of the two units that share accumulators keep their order
- `units` - when instructions start and end; `fetch`, `loader`, `operands`: how long they take
- `channel` - the memory port
"""
