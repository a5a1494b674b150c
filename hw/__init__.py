"""The accelerator as hardware, in Amaranth: the machine that `sim` is, to the cycle.

sim/TIMING.md is the contract of both, rule by rule.

- `core` - `Core`, all of it; `verilog`: it as text, which `vtakit verilog` writes
- `layouts` - instructions, micro-ops and registers of `isa` as Amaranth layouts
- `ports`, `axi` - what the parts are joined by

From memory to the units:

- `memory` - the read half of the port, shared by three; `write`: the write half, the store unit's
- `fetch` - the program, in bursts; `check`: what is wrong with an instruction as a word; `order`:
  which one of the other unit it must follow, where GEMM has a unit of its own
- `sequencer` - when an instruction starts and ends; `queue`, `tokens`: what it waits in and for

The units:

- `load` - LOAD, in the load unit and in the compute unit; `transfer`: rows, bursts and words;
  `receive`: words on their way into buffers; `pads`: zeros around them
- `compute` - the compute unit; `issue`: micro-ops and their indices, in `loops`; `gemm` and `alu`:
  the pipelines
- `store` - STORE
- `buffers` - the memories on chip, made of `banks`

And for the host:

- `registers` - the table of `isa.registers` behind an AXI4-Lite port
"""
