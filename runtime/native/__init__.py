"""Runs machine code: what the compiler made of the CPU's part of a network, on a team of threads.

- `code` - `NativeCode`, object code as a value; `LoadedCode`, the same in this process's memory
- `elf` - checks an object file before LLVM sees it, and says what it defines and lacks
- `jit` - this CPU as LLVM names it; links object code into the process
- `symbols` - the functions of the C library that code may call
- `memory` - aligned memory, and arrays in it
- `team` - `Team`, threads that stay warm and run a function together
- `team_functions` - what its threads share, and the compiled functions that work on it
- `team_ir` - these functions as LLVM IR: the inner loops and the barrier
- `errors` - `NativeError`

A function that a team runs is, in C:

    void f(uint8_t *arena, const uint8_t *constants, uint64_t *times,
           Team *team, int32_t thread, int32_t threads)

Every thread calls it, with its own `thread`; thread 0 is the caller's. Inside it may meet the
others with `void vtakit_barrier(Team *)`, which every thread must then call as often.
"""
