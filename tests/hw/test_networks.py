"""Compiled networks on simulator and hardware: outputs, counters and every cycle are the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.shape_inference
import onnx.utils
import pytest
import zoo
from vtakit.compiler.build import build_module
from vtakit.compiler.network import load_network
from vtakit.compiler.passes.quantize import random_samples
from vtakit.isa.config import PRESETS, Config
from vtakit.runtime.drivers.in_process import InProcess
from vtakit.runtime.drivers.rtl_machine import RtlMachine
from vtakit.runtime.session import RunReport, Session
from vtakit.sim.machine import Machine

LATENCIES = (0, 20, 100)
DRAM_BYTES = 64 << 20
DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"

CUTS = {
    "first": (["input"], ["maxpool.output"]),
    "strided": (["layer1.1.relu2.output"], ["layer2.0.relu1.output"]),
    "residual": (["layer4.1.relu1.output", "layer4.0.relu2.output"], ["layer4.1.relu2.output"]),
}
"""Layers of ResNet-18: 7 x 7 with its pooling, 3 x 3 with stride 2, and 3 x 3 with an addition."""


def the_same(path: Path, config: Config) -> None:
    """Compile a network, and run it on both at every latency."""
    network = load_network(path)
    inputs = random_samples(network.source, 1, 5)[0]
    module = build_module(network.integers, config).module
    for latency in LATENCIES:
        sim = Machine(config, dram_bytes=DRAM_BYTES, memory_latency=latency)
        rtl = RtlMachine(config, dram_bytes=DRAM_BYTES, memory_latency=latency)
        reports: list[RunReport] = []
        for machine in (sim, rtl):
            with InProcess(machine) as device, Session(module, device) as session:
                reports.append(session.run(inputs))
        compare(*reports)


def compare(sim: RunReport, rtl: RunReport) -> None:
    for name, expected in sim.outputs.items():
        np.testing.assert_array_equal(rtl.outputs[name], expected)
    assert rtl.counters == sim.counters
    assert rtl.cycles == sim.cycles
    assert len(sim.results) == len(rtl.results) > 0
    for one, other in zip(sim.results, rtl.results, strict=True):
        assert one.starts is not None
        assert one.ends is not None
        np.testing.assert_array_equal(other.starts, one.starts)
        np.testing.assert_array_equal(other.ends, one.ends)


@pytest.mark.parametrize("banks", [1, 2])
def test_every_layer_of_digits_on_tiny(banks: int) -> None:
    the_same(DIGITS, replace(PRESETS["tiny"], acc_banks=banks, acc_buffer_bytes=banks * (2 << 10)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "banked"])
@pytest.mark.parametrize("bus_bits", [64, 256])
def test_every_layer_of_digits(bus_bits: int, name: str) -> None:
    the_same(DIGITS, replace(PRESETS[name], bus_bits=bus_bits))


@pytest.fixture(scope="module")
def resnet18() -> onnx.utils.Extractor:
    return onnx.utils.Extractor(onnx.shape_inference.infer_shapes(zoo.build("resnet18")))


@pytest.mark.slow
@pytest.mark.parametrize("bus_bits", [64, 256])
@pytest.mark.parametrize("name", ["default", "banked"])
@pytest.mark.parametrize("cut", CUTS)
def test_layers_of_resnet18(
    resnet18: onnx.utils.Extractor, cut: str, bus_bits: int, name: str, tmp_path: Path
) -> None:
    path = tmp_path / f"{cut}.onnx"
    onnx.save(resnet18.extract_model(*CUTS[cut]), path)
    the_same(path, replace(PRESETS[name], bus_bits=bus_bits))
