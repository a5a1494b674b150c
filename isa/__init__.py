"""What the machine is: its configuration, instructions, micro-ops, registers and program files.

Everything is declared once, here, and imports nothing but the standard library (and NumPy, where
whole instruction streams are packed and unpacked):

- `config` - `Config`, the machine as a value, its presets, and the original VTA's JSON
- `fields` - how a word is declared (`bits`, `Format`), laid out (`slots`), encoded and decoded
- `costs` - the constants of the timing model
- `instructions` - `Load`, `Store`, `Gemm`, `Alu`, `Finish`, `Uop` and the enums they use
- `registers` - the registers that a host sees, and what errors and counters they hold
- `stream` - a whole instruction stream to columns of fields and back
- `program` - `Program`, an instruction stream with its memory image, as a file
- `asm` - one instruction or micro-op to text and back
- `source`, `directives` - a whole program from text
- `listing` - a whole program to text
- `manual` - the language and every table, in Markdown
- `files` - files written whole or not at all
"""
