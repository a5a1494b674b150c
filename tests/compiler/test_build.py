"""compiler.build: graphs to modules, of every kind of layer on every kind of machine."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from vtakit.compiler.build import build_module
from vtakit.compiler.graph import DType, Graph, Value
from vtakit.compiler.ops.elementwise import Add, Cast, Maximum, Minimum, Mul, ShiftRight
from vtakit.compiler.ops.linear import Dense
from vtakit.compiler.ops.pool import SumPool2d
from vtakit.compiler.ops.shape import Reshape
from vtakit.compiler.reference import outputs
from vtakit.compiler.schedule import ScheduleError
from vtakit.compiler.vta.layer import Layer
from vtakit.compiler.vta.search import Choice, Search
from vtakit.compiler.vta.tiling import TilingError
from vtakit.isa.config import PRESETS, Config
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.module import DeviceStep, Module
from vtakit.runtime.session import Session

from .integer_layers import NO_PADS, Layers, assert_on_vta, devices, run, sample
from .random_networks import integer_networks

DEFAULT, TINY = PRESETS["default"], PRESETS["tiny"]
MACHINES: dict[str, Config] = {
    **PRESETS,
    "tiny batch2": replace(TINY, batch=2, inp_buffer_bytes=1 << 9),
    "batch4 512 bits": Config(batch=4, block_in=8, block_out=8, bus_bits=512),
    "block 2": Config(
        block_in=2,
        block_out=2,
        uop_buffer_bytes=512,
        inp_buffer_bytes=256,
        wgt_buffer_bytes=512,
        acc_buffer_bytes=1024,
    ),
    "short queues": replace(TINY, command_queue_depth=1, token_queue_depth=1),
    "few micro-ops": replace(TINY, uop_buffer_bytes=32),
}
AROUND = (1, 1, 1, 1)
Make = Callable[[Layers], Value | tuple[Value, ...]]


def graph_of(make: Make) -> Graph:
    layers = Layers()
    made = make(layers)
    return layers.build(*(made if isinstance(made, tuple) else (made,)))


def several_readers(layers: Layers) -> tuple[Value, ...]:
    """Return what reads one tensor with halos of several widths, and with none."""
    x = layers.scale(layers.input(1, 9, 8, 8))
    return (
        layers.conv(x, 5, pads=AROUND, pad_value=3),
        layers.conv(x, 6, (5, 5), pads=(2, 2, 2, 2), pad_value=3),
        layers.conv(x, 4, (1, 1)),
        layers.average_pool(x, (2, 2), (2, 2), (0, 1, 1, 0), 3),
        layers.max_pool(x, (2, 2), (2, 2)),
        layers.scale(x),
        x,
    )


def two_blocks(layers: Layers) -> Value:
    x = layers.input(2, 9, 6, 6)
    inner = layers.conv(x, 9, pads=AROUND)
    return layers.conv(inner, 9, pads=AROUND, add=layers.conv(x, 9, (1, 1)))


def own_residual(layers: Layers, kernel: int, pads: int, zero: int) -> Value:
    x = layers.input(2, 9, 6, 6)
    return layers.conv(x, 9, (kernel, kernel), pads=(pads, pads, pads, pads), pad_value=zero, add=x)


def pooled_and_added(layers: Layers) -> Value:
    x = layers.input(1, 9, 6, 6)
    acc = layers.builder.add(SumPool2d((3, 3), (1, 1), AROUND, 7), x, layer="pool")
    wide = layers.builder.add(Cast(DType.INT32), x, layer="pool")
    return layers.narrow(layers.builder.add(Add(), wide, acc, layer="pool"), 4, "pool")


def dense_and_added(layers: Layers) -> Value:
    x = layers.input(3, 20)
    acc = layers.builder.add(Dense(), x, layers.weights(20, 20), layer="dense")
    return layers.requantize(acc, "dense", 70.0**2 * 4, add=x)


def views(layers: Layers) -> tuple[Value, ...]:
    """Return layers that read one tensor as an image, as a vector, and as an image again."""
    x = layers.conv(layers.input(2, 4, 5, 5), 20, (5, 5))
    flat = layers.flat(x)
    scaled = layers.scale(flat)
    back = layers.builder.add(Reshape((2, 20, 1, 1)), scaled, layer="back")
    return layers.dense(flat, 7), layers.conv(back, 6, pads=AROUND), flat, scaled


def arithmetic(layers: Layers) -> Value:
    """Return steps that read accumulators again and again, shift by tensors, and multiply them."""
    add = layers.builder.add
    x = add(Cast(DType.INT32), layers.input(1, 20, 5, 5), layer="wide")
    y = add(Cast(DType.INT32), layers.input(1, 20, 5, 5), layer="wide")
    product = add(Mul(), add(Mul(), x, y, layer="a"), x, layer="a")
    count = add(Maximum(), add(Minimum(), y, layers.constant(31), layer="b"), x, layer="b")
    count = add(Maximum(), count, layers.constant(-31), layer="b")
    count = add(Minimum(), count, layers.constant(31), layer="b")
    shifted = add(ShiftRight(), product, count, layer="c")
    vector = layers.constant(layers.random.integers(-5, 9, (20, 1, 1)))
    total = add(Add(), shifted, add(ShiftRight(), product, vector, layer="d"), layer="d")
    return layers.narrow(total, 3, "end")


LAYERS: dict[str, Make] = {
    "3x3": lambda a: a.conv(a.input(1, 5, 9, 9), 7, pads=AROUND),
    "zero point": lambda a: a.conv(a.input(1, 5, 9, 9), 7, pads=AROUND, pad_value=-128),
    "zero point, ragged": lambda a: a.conv(
        a.input(2, 5, 9, 7), 7, (3, 2), pads=(0, 2, 1, 0), pad_value=5, strides=(2, 1)
    ),
    "average": lambda a: a.average_pool(a.input(2, 9, 9, 7), (3, 3), (2, 2), AROUND),
    "average, zero point": lambda a: a.average_pool(
        a.input(2, 9, 9, 7), (3, 3), (2, 2), AROUND, -100
    ),
    "average, wide pads": lambda a: a.average_pool(a.input(2, 9, 9, 7), (2, 2), pads=(2, 3, 2, 3)),
    "maximum of negatives": lambda a: a.max_pool(a.input(2, 9, 9, 7), (3, 3), (2, 2), AROUND),
    "maximum, dilated": lambda a: a.max_pool(
        a.input(1, 5, 9, 9), (2, 3), (1, 2), (1, 1, 0, 1), (2, 1)
    ),
    "maximum of padding alone": lambda a: a.max_pool(
        a.input(1, 5, 9, 9), (2, 2), (2, 2), (2, 2, 2, 2)
    ),
    "pads as wide as the window": lambda a: a.conv(a.input(1, 5, 6, 6), 7, pads=(3, 4, 5, 3)),
    "pads wider than a load's": lambda a: a.conv(a.input(1, 3, 4, 4), 5, pads=(20, 0, 17, 3)),
    "several readers": several_readers,
    "add": lambda a: a.add(a.input(1, 9, 6, 5), a.input(1, 9, 6, 5)),
    "add to itself": lambda a: (lambda x: a.add(x, x))(a.input(1, 9, 6, 5)),
    "scale": lambda a: a.scale(a.input(3, 9, 6, 5)),
    "scale vectors": lambda a: a.scale(a.input(3, 9)),
    "dense": lambda a: a.dense(a.dense(a.input(5, 40), 30), 7),
    "dense on images": lambda a: a.dense(a.conv(a.input(2, 3, 6, 6), 9), 10),
    "dense on the input": lambda a: a.dense(a.input(3, 9, 7, 7), 10),
    "rows and columns": lambda a: a.conv(
        a.conv(a.input(1, 5, 9, 9), 7, (1, 7), pads=(0, 3, 0, 3)), 5, (7, 1), pads=(3, 0, 3, 0)
    ),
    "stride over kernel": lambda a: a.conv(a.input(1, 5, 11, 10), 7, (2, 1), strides=(4, 3)),
    "stride over kernel, pads": lambda a: a.conv(
        a.input(1, 5, 11, 10), 7, (2, 2), strides=(4, 3), pads=AROUND
    ),
    "9x9": lambda a: a.conv(a.input(1, 5, 12, 12), 7, (9, 9), pads=(4, 4, 4, 4)),
    "11x11": lambda a: a.conv(
        a.input(1, 3, 23, 23), 6, (11, 11), strides=(4, 4), pads=(2, 2, 2, 2)
    ),
    "many channels": lambda a: a.conv(a.input(1, 130, 5, 5), 70, pads=AROUND),
    "dilated": lambda a: a.conv(a.input(1, 5, 12, 12), 7, dilations=(2, 3), pads=(2, 3, 2, 3)),
    "one pixel": lambda a: a.conv(a.input(1, 3, 1, 1), 8, pads=AROUND),
    "first layer": lambda a: a.conv(
        a.input(1, 3, 40, 40), 8, (7, 7), strides=(2, 2), pads=(3, 3, 3, 3)
    ),
    "residual": two_blocks,
    "residual of itself": lambda a: own_residual(a, 3, 1, 0),
    "residual of itself, 1x1": lambda a: own_residual(a, 1, 0, 0),
    "residual of itself, zero point": lambda a: own_residual(a, 3, 1, -77),
    "residual of itself, wide pads": lambda a: own_residual(a, 5, 2, 9),
    "pooled and added": pooled_and_added,
    "dense and added": dense_and_added,
    "views": views,
    "arithmetic": arithmetic,
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_kind_of_layer_runs_on_every_machine(name: str) -> None:
    graph = graph_of(LAYERS[name])
    for number, config in enumerate(MACHINES.values()):
        assert_on_vta(graph, config, ("functional", "sim")[number % 2])


def global_average(layers: Layers) -> Value:
    x = layers.conv(layers.input(1, 5, 9, 9), 12)
    return layers.dense(layers.average_pool(x, (7, 7)), 10)


def test_a_network_ends_in_a_global_average_and_a_dense_layer() -> None:
    for config in PRESETS.values():
        compiled = assert_on_vta(graph_of(global_average), config)
        kinds = [layer.kind for layer in compiled.layers if layer.device == "vta"]
        assert kinds == ["Conv", "GlobalAveragePool", "Gemm"]


# Modules: saved, loaded, run many times.

ELSEWHERE = """
import sys
import numpy as np
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.module import Module
from vtakit.runtime.session import Session

module = Module.load(sys.argv[1])
with np.load(sys.argv[2]) as file:
    stacked = {name: file[name] for name in file.files}
with open_device("functional", module.config) as device, Session(module, device) as session:
    runs = [
        session.run({name: array[i] for name, array in stacked.items()}).outputs
        for i in range(len(next(iter(stacked.values()))))
    ]
np.savez(sys.argv[3], **{name: np.stack([run[name] for run in runs]) for name in runs[0]})
assert not {"onnx", "vtakit.compiler"} & set(sys.modules), "a module needs no compiler"
"""


def mixed(layers: Layers) -> tuple[Value, ...]:
    """Return a network of halos, views, several readers and a layer on the CPU in the middle."""
    x = layers.conv(layers.input(2, 5, 8, 8), 8, pads=AROUND, pad_value=4)
    least = layers.constant(-100, np.int8)
    int8 = layers.builder.add(Maximum(), x, least, layer="int8")
    y = layers.conv(int8, 8, pads=AROUND, pad_value=-9, add=x)
    return layers.dense(layers.max_pool(y, (2, 2), (2, 2)), 5), layers.average_pool(y, (8, 8))


@pytest.mark.parametrize("config", [DEFAULT, TINY], ids=["default", "tiny"])
def test_a_module_saved_and_loaded_elsewhere_runs_many_times(
    config: Config, tmp_path: Path
) -> None:
    graph = graph_of(mixed)
    module = build_module(graph, config, measured=1, unfolded=False).module
    module.save(tmp_path / "m.vta")
    samples = [sample(graph, seed) for seed in range(4)]
    stacked: dict[str, Any] = {name: np.stack([s[name] for s in samples]) for name in samples[0]}
    np.savez(tmp_path / "x.npz", **stacked)
    words = [tmp_path / "m.vta", tmp_path / "x.npz", tmp_path / "y.npz"]
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *map(str, words)],
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[1] / ".root")},
    )
    with np.load(tmp_path / "y.npz") as file:
        for index, inputs in enumerate(samples):
            for name, expected in outputs(graph, inputs).items():
                np.testing.assert_array_equal(file[name][index], expected)


def test_a_module_saved_twice_is_one_file_and_one_graph_gives_one_module(tmp_path: Path) -> None:
    graph = graph_of(mixed)
    for name in ("a", "b"):
        build_module(graph, TINY, measured=2, unfolded=False).module.save(tmp_path / name)
    Module.load(tmp_path / "a").save(tmp_path / "c")
    contents = {(tmp_path / name).read_bytes() for name in "abc"}
    assert len(contents) == 1


quick = settings(
    max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)


@quick
@given(graph=integer_networks(most_channels=9, most_layers=8), name=st.sampled_from(list(PRESETS)))
def test_memory_that_serves_again_gives_the_same_outputs_in_every_run(
    graph: Graph, name: str
) -> None:
    config = PRESETS[name]
    module = build_module(graph, config, keep=False, measured=1, unfolded=False).module
    kept = build_module(graph, config, keep=True, measured=1, unfolded=False).module
    assert module.arena_bytes <= kept.arena_bytes
    with open_device("functional", config) as device, Session(module, device) as session:
        for seed in range(3):
            inputs = sample(graph, seed)
            found = session.run(inputs).outputs
            for output, expected in outputs(graph, inputs).items():
                np.testing.assert_array_equal(found[output], expected)


def test_a_long_chain_with_halos_keeps_them_while_memory_serves_again() -> None:
    layers = Layers()
    x = layers.input(1, 16, 16, 16)
    for zero in (0, 0, 5, 0, 7, 0):
        x = layers.conv(x, 16, pads=AROUND if zero else NO_PADS, pad_value=zero)
    graph = layers.build(x)
    module = build_module(graph, DEFAULT, measured=1, unfolded=False).module
    with open_device("functional", DEFAULT) as device, Session(module, device) as session:
        for seed in range(2):
            inputs = sample(graph, seed)
            ((name, found),) = session.run(inputs).outputs.items()
            np.testing.assert_array_equal(found, outputs(graph, inputs)[name])


# What the layers are told as, and what happens to those that do not work out.


def test_layers_are_told_in_the_order_in_which_they_run_with_their_work() -> None:
    told: list[tuple[str, int, int]] = []
    graph = graph_of(mixed)
    compiled = build_module(
        graph, DEFAULT, measured=1, unfolded=False, progress=lambda *words: told.append(words)
    )
    names = [layer.name for layer in compiled.layers if layer.device == "vta"]
    assert told == [(name, i + 1, len(names)) for i, name in enumerate(names)]
    macs = {layer.name: layer.macs for layer in compiled.layers}
    assert macs["conv1"] == 2 * 8 * 8 * 8 * 5 * 9
    assert macs["int8"] == 0
    assert [layer.device for layer in compiled.layers if layer.name == "int8"] == ["cpu"]
    streams = [step for step in compiled.module.steps if isinstance(step, DeviceStep)]
    assert len(streams) == 2, "before and after the layer on the CPU"


def test_what_is_no_layer_at_all_passes_from_input_to_output() -> None:
    layers = Layers()
    x = layers.input(2, 6, 1, 1)
    graph = layers.build(layers.flat(x))
    assert run(build_module(graph, DEFAULT, keep=True, unfolded=False)).equal


@pytest.mark.parametrize("error", [TilingError("no room"), ScheduleError("no instruction")])
def test_a_layer_for_which_no_tiling_works_out_runs_on_the_cpu(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Search.choose

    def choose(self: Search, layer: Layer) -> Choice:
        if layer.name in ("conv2", "max3"):
            raise error
        return real(self, layer)

    monkeypatch.setattr(Search, "choose", choose)
    layers = Layers()
    x = layers.conv(layers.input(1, 5, 8, 8), 4)
    x = layers.max_pool(layers.conv(x, 4, pads=AROUND, pad_value=5), (2, 2))
    graph = layers.build(layers.conv(x, 4))
    compiled = build_module(graph, DEFAULT, keep=True, measured=1, unfolded=False)
    assert devices(compiled) == ["vta", "cpu", "cpu", "vta"]
    assert [layer.reason for layer in compiled.layers] == ["", str(error), str(error), ""]
    check = run(compiled)
    assert check.equal
    assert check.compared == 2
