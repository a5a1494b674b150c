"""What `vtakit compare` sets against each other, and how it measures them.

- `rival` - the protocol of a rival, and the case they are all given
- `contest` - which rivals there are, and who cannot take part and why
- `onnx_runtime`, `ort_layers`, `ort_int8` - ONNX Runtime, its time by layer, its own int8 network
- `openvino` - OpenVINO, on the same models
- `trial` - the fastest of several settings
- `native`, `cuda` - this project's code for the CPU and for a GPU
- `vta` - cycles from the cycle model; no rival, since nothing of it is timed
- `cpus`, `watch` - pinned CPUs, and whether others disturbed
- `measure` - rounds in which all rivals take turns
- `figures` - medians, spreads and ratios of samples

A rival is an object; measuring needs nothing else, so it is tested with rivals that only claim to
have run. Nothing here prints.
"""
