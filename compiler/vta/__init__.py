"""How groups of integer operators are computed on VTA.

- `layer` - a group of primitive operators as one VTA layer: anchor, epilogue, operands
- `tiling` - the ways to cut a layer into tiles that fit the buffers, and what each would cost
- `template` - a layer and a tiling to tensor expressions with a schedule
- `search` - the best tiling: by estimate first, the best few by the cycle model
"""
