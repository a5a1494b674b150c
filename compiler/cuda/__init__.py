"""Networks as PTX for NVIDIA GPUs; forms, groups and expressions are those of `compiler.cpu`."""
