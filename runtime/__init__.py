"""Runs programs on machines: device memory, micro-ops, command queues, compiled modules.

From the compiler down to a device:

- `module` - `Module`, a compiled network: saved to one file, loaded, checked
- `session` - `Session`, a module bound to a device: runs many times, reports by layer
- `queue` - `CommandQueue`: loads, GEMM, ALU and stores in program order become a `Stream`
- `kernel` - the micro-op JIT: a loop nest becomes hardware loops and micro-ops
- `transfer` - a strided box in DRAM and its place in SRAM becomes rows that instructions move
- `hazards`, `tokens` - which instruction must wait for which, and the tokens that see to it
- `residency` - where micro-ops lie in DRAM and SRAM, and when they are loaded
- `assembly`, `stream` - recorded commands to instruction words; relocation
- `buffers` - device memory handed out, named tensors
- `drivers` - devices by name; `host` - the operators in NumPy, the reference
- `native` - machine code for the CPU, and the threads that run it together
"""
