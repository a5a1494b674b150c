"""Model files to graphs. An importer imports its format's library when it is called, not before.

- `onnx_model` - `read`, an ONNX file to a `Graph` (the `onnx_*` modules beside it: file, operators)
"""
