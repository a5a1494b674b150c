"""Whole networks, drawn at random, on several machines: VTA's results are the integer reference."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vtakit.compiler.build import build_module
from vtakit.compiler.check import check_run
from vtakit.compiler.passes.fold import fold
from vtakit.compiler.passes.quantize import quantize, random_samples
from vtakit.isa.config import PRESETS, Config
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.session import Session

from .random_networks import float_networks

CONFIGS = {
    **PRESETS,
    "odd": Config(
        batch=1,
        block_in=8,
        block_out=8,
        uop_buffer_bytes=1 << 10,
        inp_buffer_bytes=2 << 10,
        wgt_buffer_bytes=8 << 10,
        acc_buffer_bytes=8 << 10,
        bus_bits=128,
        acc_read_ports=2,
    ),
}


@pytest.mark.parametrize("engine", ["sim", "functional"])
@pytest.mark.parametrize("name", CONFIGS)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(data=st.data())
def test_random_networks_equal_the_integer_reference(
    name: str, engine: str, data: st.DataObject
) -> None:
    config = CONFIGS[name]
    most = 3 * config.block_in if name != "big" else 40
    source = fold(data.draw(float_networks(most_channels=most)))
    graph = quantize(source, random_samples(source, 2, 0))
    compiled = build_module(graph, config, keep=True, measured=1)
    inputs = random_samples(graph, 1, 7)[0]
    with open_device(engine, config) as device, Session(compiled.module, device) as session:
        report = session.run(inputs)
        check = check_run(compiled, session, report, inputs)
    assert check.equal, (check, str(graph))
    assert all(np.isfinite(array).all() for array in report.outputs.values())
