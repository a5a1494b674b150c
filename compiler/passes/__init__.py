"""Rewrites: each a function from an immutable graph to a new one.

- `fold` - constants computed, batch normalisation and padding taken into convolutions
- `quantize` - a float graph and calibration samples to an integer graph
- `qdq` - a graph quantized by ONNX Runtime to the same integer graph
"""
