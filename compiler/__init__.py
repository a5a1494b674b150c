"""From a network to a program: import, quantize, fuse, place, schedule, emit.

The way of a network: an importer reads a file into a `Graph` of the operators in `ops`; `passes`
rewrite it, each a function from graph to graph; what VTA runs becomes tensor expressions, gets a
schedule, is lowered to loops, and emitted as an instruction stream.

- `graph` - `Graph`, `Node`, `Value`, `Op`, `DType`: the typed, immutable graph
- `builder` - `GraphBuilder`, which makes one node by node
- `ops` - what operators are and compute
- `importers` - ONNX files to graphs
- `network` - a model file to the integer graph that is compiled; `passes` - rewrites of graphs
- `reference` - a graph evaluated in NumPy, value by value
- `build` - the integer graph to a module; `host` - what the CPU does of it, as native code
- `check` - a run against the reference
- `vta` - groups of operators as layers, their tilings, and the search for the best
- `expr` - what is computed; `schedule` - in which order and where; `evaluate` - directly, for tests
- `lower` - to `loops`; `inplace`, `tensorize` (with `intrinsics`) and `vthread` rewrite them;
  `kernel` is the pipeline, `affine` and `bounds` the arithmetic of indices
- `emit` - kernels to instructions
- `QUANTIZATION.md` - the integer semantics of a quantized network
"""
