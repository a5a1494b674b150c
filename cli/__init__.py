"""The `vtakit` command: one file for each subcommand, and what they share.

- `main` - the table of subcommands, and how an error becomes one line and an exit status
- `options` - options that several subcommands take, and the error for a wrong use of them
- `output` - JSON on standard output, tables and progress on standard error
- `network`, `model` - a network's arrays and graph from files, and how near results are
- `asm`, `build`, `compare`, `disasm`, `doctor`, `replay`, `run`, `verilog` - the subcommands
- `report` - `run`'s table; `compare_report`, `_table`, `_words` - what `compare` found
- `rivals/` - what `compare` sets against each other, and how it measures them

Exit status: 0 done; 1 done, but results differ; 2 bad input, with one line on standard error that
says what and what would do; 130 interrupted; 70 a bug of ours; 141 whoever read the output left.

A subcommand's module is imported only when it is asked for, and imports what is heavy (the
simulator, the compiler) inside its function, so that `vtakit --help` answers at once.
"""
