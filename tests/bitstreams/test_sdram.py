"""bitstreams.sdram under cocotb: nothing is lost, and no time of the chip's is broken."""

from dataclasses import replace
from pathlib import Path

import pytest

from ..hw.cocotb.design_sdram import SMALL, sdram
from ..hw.cocotb.simulation import SimulationError, run

WRONG = {
    "row_to_column": 0.1,
    "precharge": 0.1,
    "refresh": 0.1,
    "refresh_period": 4 * SMALL.refresh_period,
    "power_up": 0.1,
}
"""What would break the chip's times. (Row active and write recovery cannot be broken at 143 MHz: a
burst ends cycles before the next one's PRECHARGE, and goes on in another bank.)"""


@pytest.mark.parametrize(
    ("bus_bits", "clock_hz"), [(64, 75e6), pytest.param(128, 25e6, marks=pytest.mark.slow)]
)
def test_random_bursts(tmp_path: Path, bus_bits: int, clock_hz: float) -> None:
    run(sdram(bus_bits, clock_hz), "bench_sdram", tmp_path, 5, bus_bits=bus_bits, bursts=100)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "precharge")) for name in WRONG]
)
def test_a_controller_that_breaks_a_time_is_caught(tmp_path: Path, name: str) -> None:
    told = replace(SMALL, **{name: WRONG[name]})
    with pytest.raises(SimulationError, match="random_bursts failed"):
        run(sdram(64, 143e6, told), "bench_sdram", tmp_path, 5, bus_bits=64, bursts=100)
