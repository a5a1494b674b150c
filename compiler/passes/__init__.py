"""Rewrites: each a function from an immutable value to a new one, one a file.

From a graph to an integer graph:

- `fold` - constants computed, batch normalisation and padding taken into convolutions
- `quantize` - a float graph and calibration samples to an integer graph; its parts are
  `quantize_calibrate`, `quantize_groups`, `quantize_numbers`, `quantize_choose`, `quantize_emit`
- `qdq` - a graph quantized by ONNX Runtime to an integer graph with that one's results;
  `qdq_constants` reads it, `qdq_kernels` and `qdq_qlinear` say what ONNX Runtime computes,
  `qdq_exact` finds the same integers: `exact_staircase`, `exact_points`, `exact_chain`,
  `exact_search`, `exact_plane`

From an integer graph to what a module is made of:

- `unfold` - windows of first layers, which have few channels, as channels
- `fuse` - operators that hand each other accumulators become one group
- `partition` - which groups run on VTA, which on the CPU, and why
- `sequence` - an order of the groups that changes device rarely
- `pack` - how tensors lie in device memory, as tiles
- `plan` - where they lie
"""
