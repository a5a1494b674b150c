"""What the machine is: its configuration, instructions, micro-ops, registers and program files.

Everything is declared once, here, and imports nothing but the standard library (and NumPy, where
whole instruction streams are packed and unpacked):

- `config` - `Config`, the machine as a value, its presets, and the original VTA's JSON
- `fields` - how a word is declared (`bits`, `Format`), laid out (`slots`), encoded and decoded
- `instructions` - `Load`, `Store`, `Gemm`, `Alu`, `Finish`, `Uop` and the enums they use
- `registers` - the control registers that a host sees
- `stream` - a whole instruction stream to columns of fields and back
- `program` - an instruction stream with its memory image, as a file
- `asm` - text to program and back, and the manual's tables
"""
