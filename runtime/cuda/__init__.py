"""Networks on NVIDIA GPUs, through the driver."""
