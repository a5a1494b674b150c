"""compiler.check: a run held against the reference, layer by layer."""

from dataclasses import replace

import numpy as np
import pytest
from vtakit.compiler.build import Compiled, build_module
from vtakit.compiler.builder import GraphBuilder
from vtakit.compiler.check import (
    FLOAT_TOLERANCE,
    Check,
    check_outputs,
    check_run,
    rounded_outputs,
)
from vtakit.compiler.graph import DType, Graph
from vtakit.compiler.ops.elementwise import Add, Cast, Unary
from vtakit.compiler.ops.reduce import ArgMax, Softmax
from vtakit.isa.config import PRESETS
from vtakit.runtime.buffers import Segment
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.session import Session

from .integer_layers import Layers, run, sample

DEFAULT = PRESETS["default"]


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    """Return three layers in a row and a branch that reads the first."""
    layers = Layers()
    first = layers.conv(layers.input(1, 5, 8, 8), 20, pads=(1, 1, 1, 1))
    second = layers.conv(first, 9)
    branch = layers.max_pool(first, (2, 2), (2, 2))
    graph = layers.build(layers.dense(second, 7), branch)
    return build_module(graph, DEFAULT, keep=True, measured=1, unfolded=False)


def corrupted(compiled: Compiled, number: int) -> Compiled:
    """Return the module with one bit changed in a constant segment of device memory."""
    segments = list(compiled.module.segments)
    data = segments[number].data.copy()
    data[len(data) // 3] ^= 0x40
    segments[number] = Segment(segments[number].offset, data)
    return replace(compiled, module=replace(compiled.module, segments=tuple(segments)))


def test_what_is_right_is_equal_and_every_layer_was_compared(compiled: Compiled) -> None:
    assert [layer.name for layer in compiled.layers] == ["conv1", "conv2", "max3", "dense4"]
    assert run(compiled) == Check(True, 0.0, (), 4)


def test_a_wrong_layer_is_named_with_those_that_it_spoils(compiled: Compiled) -> None:
    named: list[tuple[str, ...]] = []
    for number in range(len(compiled.module.segments)):
        check = run(corrupted(compiled, number))
        if not check.equal:
            assert check.max_abs_difference >= 1
            named.append(check.layers)
    wrong = {names[0] for names in named}
    assert wrong == {"conv1", "conv2", "dense4"}, (
        "each layer with constants, by the first wrong one"
    )
    assert all("max3" not in names for names in named if names[0] != "conv1")
    assert any({"conv1", "conv2", "max3"} <= set(names) for names in named)


def test_a_layer_that_only_the_device_holds_wrong_is_found(compiled: Compiled) -> None:
    inputs = sample(compiled.graph)
    name = compiled.packed[compiled.layers[1].value].value.name
    with open_device("functional", DEFAULT) as device:
        session = Session(compiled.module, device)
        report = session.run(inputs)
        address = session.address + compiled.module.tensor(name).offset
        wrong = device.read(address, 1) + np.uint8(2)
        device.write(address, wrong)
        check = check_run(compiled, session, report, inputs)
    assert check == Check(False, check.max_abs_difference, ("conv2",), 4)
    assert check.max_abs_difference in (2, 254)


def test_a_wrong_output_is_named(compiled: Compiled) -> None:
    inputs = sample(compiled.graph)
    (name, other) = (value.name for value in compiled.graph.outputs)
    with open_device("functional", DEFAULT) as device, Session(compiled.module, device) as session:
        report = session.run(inputs)
        outputs = {**report.outputs, other: np.zeros_like(report.outputs[other])}
        check = check_run(compiled, session, replace(report, outputs=outputs), inputs)
    assert check.layers == (other,)
    assert name != other


def logarithm() -> Graph:
    """Return a network whose output has infinities and what is no number."""
    layers = Layers()
    x = layers.conv(layers.input(1, 3, 4, 4), 5, (1, 1))
    wide = layers.builder.add(Cast(DType.FLOAT32), x, layer="float")
    return layers.build(layers.builder.add(Unary("log"), wide, layer="log"))


def test_the_same_infinities_are_equal_and_others_are_not() -> None:
    compiled = build_module(logarithm(), DEFAULT, keep=True, measured=1, unfolded=False)
    inputs = sample(compiled.graph)
    with open_device("functional", DEFAULT) as device, Session(compiled.module, device) as session:
        report = session.run(inputs)
        ((name, array),) = report.outputs.items()
        assert np.isnan(array.astype(np.float64)).any()
        check = check_run(compiled, session, report, inputs)
        assert check == Check(True, check.max_abs_difference, (), 1)
        assert check.max_abs_difference < 1e-6
        finite = replace(report, outputs={name: np.nan_to_num(array)})
        check = check_run(compiled, session, finite, inputs)
    assert check == Check(False, float("inf"), (name,), 1)


def test_only_float_outputs_that_were_rounded_may_be_near() -> None:
    builder = GraphBuilder("g")
    x = builder.input("x", (1, 4), DType.INT8)
    real = builder.add(Cast(DType.FLOAT32), x, layer="cast", name="real")
    twice = builder.add(Add(), real, real, layer="twice", name="twice")
    soft = builder.add(Softmax(1), twice, layer="soft", name="soft")
    more = builder.add(Add(), soft, real, layer="more", name="more")
    best = builder.add(ArgMax(1, False), soft, layer="best", name="best")
    graph = builder.build([x, twice, soft, more, best])
    assert rounded_outputs(graph) == {"soft", "more"}


def test_outputs_are_equal_bit_for_bit_or_within_their_rounding() -> None:
    expected = {"y": np.array([1.0, -8.0, 3.0], np.float32), "n": np.array([1, 2])}
    near = {**expected, "y": expected["y"] + np.float32(4 * FLOAT_TOLERANCE)}
    assert check_outputs(expected, expected) == Check(True, 0.0, (), 2)
    check = check_outputs(near, expected)
    assert (check.equal, check.layers) == (False, ("y",))
    check = check_outputs(near, expected, {"y"})
    assert check.equal
    assert check.max_abs_difference == pytest.approx(4 * FLOAT_TOLERANCE, rel=0.1)
    far = {**expected, "y": expected["y"] + np.float32(16 * FLOAT_TOLERANCE)}
    assert check_outputs(far, expected, {"y"}).layers == ("y",)
    assert check_outputs({**expected, "n": np.array([1, 3])}, expected, {"y"}).layers == ("n",)


@pytest.mark.parametrize(("found", "equal"), [(np.inf, True), (-np.inf, False), (1.0, False)])
def test_infinities_are_equal_to_themselves_alone(found: float, equal: bool) -> None:
    expected = {"y": np.array([np.inf, 2.0]), "z": np.array([np.nan])}
    check = check_outputs({**expected, "y": np.array([found, 2.0])}, expected, {"y", "z"})
    assert check.equal is equal
