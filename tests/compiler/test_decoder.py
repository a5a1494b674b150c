"""A network whose images shrink and grow again: it is the reference's on every back end."""

import numpy as np
import pytest
from vtakit.compiler.build import build_module
from vtakit.compiler.check import check_run
from vtakit.compiler.cpu.build import build_native
from vtakit.compiler.cuda.build import build_cuda
from vtakit.compiler.graph import Graph
from vtakit.compiler.importers.onnx_model import read
from vtakit.compiler.passes.fold import fold
from vtakit.compiler.passes.quantize import quantize, random_samples
from vtakit.compiler.reference import outputs
from vtakit.isa.config import Config
from vtakit.runtime.cuda.session import CudaSession
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.native.program import NativeSession
from vtakit.runtime.session import Session

from .cuda.ptx_gpu import PtxGpu
from .onnx_models import ModelBuilder, run_onnx
from .operators import compare

X = {"x": np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)}


def decoder() -> tuple[ModelBuilder, list[str]]:
    """Return a network that grows by a transposed convolution, two ways to resize, and channels."""
    net = ModelBuilder(opset=18)
    wide = net.add("Relu", net.conv(net.input("x", (1, 3, 16, 16)), 3, 8))
    small = net.add("MaxPool", wide, kernel_shape=[2, 2], strides=[2, 2])
    small = net.add("Relu", net.conv(small, 8, 16))
    weights, bias = net.normal(16, 8, 2, 2, spread=0.2), net.normal(8)
    grown = net.add("ConvTranspose", small, weights, bias, strides=[2, 2])
    both = net.add("Concat", grown, wide, axis=1)
    both = net.add("InstanceNormalization", both, net.normal(16), net.normal(16))
    both = net.add("Selu", net.conv(both, 16, 8))
    scales = net.weight(np.asarray([1, 1, 2, 2], np.float32))
    soft = net.add("Resize", small, "", scales, mode="linear")
    total = net.add("Add", soft, net.add("Resize", small, "", scales, mode="nearest"))
    above = net.add("Greater", total, net.weight(np.float32(0.5)))
    total = net.add("Where", above, total, net.weight(np.float32(-1)))
    out = net.conv(net.add("Concat", total, both, axis=1), 24, 4)
    return net, [out, net.add("DepthToSpace", out, blocksize=2)]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Graph]:
    """Return the network in float and in integers."""
    net, names = decoder()
    real = fold(read(net.save(tmp_path_factory.mktemp("decoder") / "net.onnx", *names)))
    return real, quantize(real, random_samples(real, 8, 1))


def test_the_reference_is_onnx_runtimes(graphs: tuple[Graph, Graph]) -> None:
    net, names = decoder()
    real, integers = graphs
    found, near = outputs(real, X), outputs(integers, X)
    for name, theirs in zip(names, run_onnx(net.model(*names), X), strict=True):
        np.testing.assert_allclose(found[name], theirs, rtol=1e-4, atol=1e-4)
        assert np.abs(near[name] - theirs).max() < 0.1 * np.abs(theirs).max()


@pytest.mark.parametrize("form", [0, 1], ids=["float", "integers"])
def test_native_code_and_ptx_are_the_reference(graphs: tuple[Graph, Graph], form: int) -> None:
    wanted = outputs(graphs[form], X)
    with NativeSession(build_native(graphs[form]), 2) as session:
        compare(session.run(X), wanted)
    with CudaSession(build_cuda(graphs[form]), PtxGpu(0)) as session:
        compare(session.run(X), wanted)


def test_vta_computes_its_convolutions_as_the_reference_does(graphs: tuple[Graph, Graph]) -> None:
    config = Config()
    compiled = build_module(graphs[1], config, keep=True, measured=1)
    kinds = [layer.kind for layer in compiled.layers if layer.device == "vta"]
    assert kinds.count("Conv") == 5, "all of them, and the transposed one"
    with open_device("sim", config) as device, Session(compiled.module, device) as session:
        check = check_run(compiled, session, session.run(X), X)
    assert check.equal, check
