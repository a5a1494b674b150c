"""From a tensorized program to what a target runs.

- `vta` - a kernel to the command queue's instructions, outer loops run through
- `plan` - what of an instruction is known before that: how its tiles move
- `box` - the part of a box of iterations that padding or a window's edge leaves
"""
