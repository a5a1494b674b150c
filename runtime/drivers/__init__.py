"""Ways to reach a machine: each driver is one of them, looked up by the engine's name.

- `device` - `Device`, what every driver offers: memory, runs, counters; and its errors
- `find` - `open_device`, from an engine's name to an open device
- `simulator` - the machine of `vtakit.sim` in this process, with and without the clock
"""
