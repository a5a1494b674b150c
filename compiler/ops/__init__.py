"""What each operator is: its attributes, the types it takes and gives, its NumPy kernel.

Every model becomes a graph of these, whatever format it came in. A quantized layer is a chain of
integer primitives; the other operators run on the CPU.

- `linear` - `Conv2d`, `Dense`, `MatMul`
- `pool` - `MaxPool2d`, `SumPool2d` (averages are sums, multiplied)
- `elementwise` - `Add` ... `Minimum`, `ShiftRight`, `Cast`, `Unary`
- `logic` - `Equal`, `Less`, `LessOrEqual`, `Where`
- `shape` - `Reshape`, `Transpose`, `Concat`, `Pad`, `Slice`, `Gather`, `Broadcast`,
  `Unfold`
- `reduce` - `Reduce`, `Softmax`, `ArgMax`
- `quantize` - `QuantizeLinear`, `DequantizeLinear`
- `qlinear` - `QLinearAveragePool`, `QLinearSoftmax`

Integer primitives, exact and wrapping at 32 bits: `Conv2d`, `Dense`, `MaxPool2d`, `SumPool2d`,
`Add`, `Sub`, `Mul`, `Maximum`, `Minimum`, `ShiftRight`, `Cast`.
"""
