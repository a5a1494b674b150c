"""Random models on every engine: VTA, LLVM, the NumPy reference and ONNX Runtime.

`make test` runs some of each kind; `make test-all` 500 and more.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from vtakit.compiler.build import build_module
from vtakit.compiler.check import check_outputs, check_run, rounded_outputs
from vtakit.compiler.cpu.build import build_native
from vtakit.compiler.importers.onnx_model import read
from vtakit.compiler.passes.fold import fold
from vtakit.compiler.passes.quantize import quantize, random_samples
from vtakit.compiler.reference import outputs
from vtakit.isa.config import PRESETS, Config
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.native.program import NativeSession
from vtakit.runtime.session import Session

from .onnx_models import run_onnx
from .random_models import ends, models

MACHINES = {
    **PRESETS,
    "tiny, banked": replace(PRESETS["tiny"], acc_banks=2, acc_buffer_bytes=4 << 10),
    "batch2, 128 bits": replace(PRESETS["batch2"], bus_bits=128, acc_read_ports=2),
}
FEW, MANY = 3, 70
"""Models on each machine: 8 x 70 = 560 in the long run."""


@pytest.mark.parametrize("config", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize(
    "count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_all_engines_agree(config: Config, count: int, tmp_path: Path) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        _agree(config, data, tmp_path / "model.onnx")

    check()


def _agree(config: Config, data: st.DataObject, path: Path) -> None:
    net = data.draw(models())
    net.save(path, *ends(net))
    source = fold(read(path))
    note(f"{source}")
    inputs = random_samples(source, 1, 5)[0]

    # the model in float: the reference, LLVM, ONNX Runtime
    wanted = outputs(source, inputs)
    with NativeSession(build_native(source)) as session:
        _close(session.run(inputs), wanted)
    names = [value.name for value in source.outputs]
    _close(dict(zip(names, run_onnx(path, inputs), strict=True)), wanted)

    # the same in int8: VTA, layer by layer, and LLVM against the reference, bit for bit
    graph = quantize(source, random_samples(source, 2, 0))
    layers = sorted({node.layer for node in graph.nodes})
    on_cpu = data.draw(st.lists(st.sampled_from(layers), max_size=2, unique=True), label="on CPU")
    engine = data.draw(st.sampled_from(["sim", "functional"]), label="engine")
    compiled = build_module(graph, config, keep=True, measured=1, on_cpu=on_cpu)
    with open_device(engine, config) as device, Session(compiled.module, device) as session:
        check = check_run(compiled, session, session.run(inputs), inputs)
    assert check.equal, check
    wanted = outputs(graph, inputs)
    with NativeSession(build_native(graph)) as session:
        found = check_outputs(session.run(inputs), wanted, rounded_outputs(graph))
    assert found.equal, ("LLVM in int8", found)


def _close(found: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]]) -> None:
    """Compare float outputs, of sums whose terms are about 1 and may cancel each other."""
    for name, array in wanted.items():
        largest = max(1.0, float(np.abs(array).max(initial=0)))
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5 * largest)
