"""Whole networks, drawn at random, on several machines: VTA's results are the integer reference."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from vtakit.compiler.build import Compiled, build_module
from vtakit.compiler.check import check_run
from vtakit.compiler.graph import Graph
from vtakit.compiler.ops.linear import Conv2d, Dense
from vtakit.compiler.passes.fold import fold
from vtakit.compiler.passes.quantize import quantize, random_samples
from vtakit.isa.config import PRESETS, Config
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.session import Session

from .integer_layers import assert_on_vta
from .random_networks import float_networks, integer_networks

CONFIGS = {
    **PRESETS,
    "odd": Config(
        block_in=8,
        block_out=8,
        uop_buffer_bytes=1 << 10,
        inp_buffer_bytes=2 << 10,
        wgt_buffer_bytes=8 << 10,
        acc_buffer_bytes=8 << 10,
        bus_bits=128,
        acc_read_ports=2,
    ),
    "tiny batch2": replace(PRESETS["tiny"], batch=2, acc_buffer_bytes=4 << 10),
    "tiny banked": replace(PRESETS["tiny"], acc_banks=2, acc_buffer_bytes=4 << 10),
}
EACH = 24
"""Networks of each kind on each machine; 2 x 9 x 24 = 432 in all."""
ENGINES = st.sampled_from(["sim", "functional"])
MACHINES = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)

# A failing network is printed as it was drawn: to shrink one takes minutes.
drawn = settings(
    max_examples=EACH,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


def most_channels(config: Config) -> int:
    """Return so many channels that they take up to three blocks."""
    return min(3 * config.block_in, 40)


@MACHINES
@drawn
@given(data=st.data())
def test_float_networks_quantized_here_equal_the_integer_reference(
    config: Config, data: st.DataObject
) -> None:
    source = fold(data.draw(float_networks(most_channels=most_channels(config))))
    graph = quantize(source, random_samples(source, 2, 0))
    engine = data.draw(ENGINES)
    note(f"{engine} {config}\n{graph}")
    unfolded = data.draw(st.booleans(), label="unfolded")
    compiled = build_module(graph, config, keep=True, measured=1, unfolded=unfolded)
    assert_products_on_vta(source, compiled)
    inputs = random_samples(graph, 1, 7)[0]
    with open_device(engine, config) as device, Session(compiled.module, device) as session:
        report = session.run(inputs)
        check = check_run(compiled, session, report, inputs)
    assert check.equal, check
    assert all(np.isfinite(array).all() for array in report.outputs.values())


@MACHINES
@drawn
@given(data=st.data())
def test_integer_networks_with_zero_points_equal_the_integer_reference(
    config: Config, data: st.DataObject
) -> None:
    graph = data.draw(integer_networks(most_channels=most_channels(config)))
    engine = data.draw(ENGINES)
    note(f"{engine} {config}\n{graph}")
    assert_on_vta(graph, config, engine)


def assert_products_on_vta(source: Graph, compiled: Compiled) -> None:
    """Assert that every convolution and dense layer of a float network became one on VTA."""
    kinds = {Conv2d: "Conv", Dense: "Gemm"}
    wanted = Counter(kinds[type(node.op)] for node in source.nodes if type(node.op) in kinds)
    found = Counter(layer.kind for layer in compiled.layers if layer.device == "vta")
    assert {kind: found[kind] for kind in wanted} == wanted, compiled.layers
    assert not [layer for layer in compiled.layers if layer.device == "cpu" and layer.macs]
