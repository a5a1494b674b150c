"""The operators in NumPy: what all results are held against, on VTA and on the CPU.

A kernel is a plain function: arrays first, attributes by keyword as JSON holds them (numbers,
strings, lists), an array or a tuple of arrays back. Integer kernels are exact: they wrap at 32 bits
as VTA's accumulators do, whatever the size of the sums.

- `conv` - convolution, dense layers, matrix products
- `pool` - maximum and sum over windows
- `elementwise` - arithmetic, casts, functions of one variable
- `logic` - comparing and choosing
- `shape` - moving data: reshape, transpose, concatenate, pad, slice, gather, broadcast
- `reduce` - softmax, means, sums, maxima, arg-max
- `quantize` - between float and integer, as ONNX defines it
- `qlinear` - int8 to int8 in float32, as ONNX Runtime's kernels compute it
- `layout` - tensors read out of VTA's tiles
- `registry` - `KERNELS`, all of them by name, and `run`, which calls one
"""
