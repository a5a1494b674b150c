"""Ways to reach a machine: each driver is one of them, looked up by the engine's name.

- `device` - `Device`, what every driver offers: memory, runs, counters; and its errors
- `find` - `open_device`, from an engine's name to an open device
- `in_process` - a device over a machine of this process, with or without the clock
- `rtl_machine` - the hardware of `vtakit.hw`, compiled by Verilator: `rtl_build`, rtl_harness.cpp
- `host` - what a host does with the registers of hardware
"""
