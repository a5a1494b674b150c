"""The designs that are simulated, and their configurations."""

import json
from dataclasses import replace
from pathlib import Path

from vtakit.hw.verilog import write_verilog
from vtakit.isa.config import PRESETS, Config

from .simulation import built

QUEUES = {"command_queue_depth": 8, "token_queue_depth": 4}
"""Short ones, which are full at times."""

CORES = {
    "tiny-64": replace(PRESETS["tiny"], bus_bits=64, **QUEUES),
    "small-256": replace(PRESETS["small"], bus_bits=256, acc_read_ports=2, **QUEUES),
}
"""Tiles of half a bus word and more, and of a quarter and less."""

LARGE_CORES = {"batch2-256": replace(PRESETS["batch2"], bus_bits=256)}
"""For the tests that may take long."""


def core(config: Config) -> Path:
    """Return the whole core, compiled."""
    return built(f"core {json.dumps(config.to_json())}", lambda: write_verilog(config))
