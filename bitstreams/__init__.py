"""Boards: the accelerator with a clock, memory and a link to a host, as a bitstream.

- `system` - `System`, all of a board but its pins and its clock
- `link` - the board's end of `isa.link`, over `uart`
- `memory_bus` - one memory for the accelerator and the host; `block_memory`, `sdram`: such memories
- `signals` - what these are joined by
"""
