"""The accelerator as hardware, in Amaranth: the same machine that `sim` is, to the cycle.

sim/TIMING.md is the contract of both.
"""
