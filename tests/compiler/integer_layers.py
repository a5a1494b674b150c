"""Integer layers for tests: an anchor and the operators that bring its accumulators to int8."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtakit.compiler.build import Compiled, build_module
from vtakit.compiler.builder import GraphBuilder
from vtakit.compiler.check import Check, check_run
from vtakit.compiler.graph import DType, Graph, Value
from vtakit.compiler.ops.elementwise import Add, Cast, Maximum, Minimum, Mul, ShiftRight
from vtakit.compiler.ops.linear import Conv2d, Dense
from vtakit.compiler.ops.pool import MaxPool2d, SumPool2d
from vtakit.compiler.ops.shape import Gather, Reshape
from vtakit.isa.config import Config
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.session import Session

Pads = tuple[int, int, int, int]
NO_PADS: Pads = (0, 0, 0, 0)


class Layers:
    """Builds a graph of integer layers with weights drawn from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.builder = GraphBuilder("layers")
        self._count = 0

    def input(self, *shape: int, dtype: DType = DType.INT8) -> Value:
        return self.builder.input(f"x{len(self.builder.inputs)}", shape, dtype)

    def constant(self, array: Any, dtype: type[np.generic] = np.int32) -> Value:
        return self.builder.constant(np.asarray(array, dtype), "k")

    def weights(self, *shape: int) -> Value:
        return self.constant(self.random.integers(-127, 128, shape), np.int8)

    def name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: tuple[int, int] = (3, 3),
        *,
        strides: tuple[int, int] = (1, 1),
        pads: Pads = NO_PADS,
        dilations: tuple[int, int] = (1, 1),
        groups: int = 1,
        pad_value: int = 0,
        add: Value | None = None,
        per_channel: bool = True,
    ) -> Value:
        """Add a convolution to int8; `add` is a residual, brought into its accumulators."""
        layer = self.name("conv")
        weights = self.weights(channels, x.shape[1] // groups, *kernel)
        op = Conv2d(strides, pads, dilations, groups, pad_value)
        acc = self.builder.add(op, x, weights, layer=layer)
        size = 70.0**2 * np.sqrt(x.shape[1] // groups * kernel[0] * kernel[1])
        return self.requantize(acc, layer, size, per_channel=per_channel, add=add)

    def dense(self, x: Value, channels: int) -> Value:
        """Add a dense layer to int8; images are flattened first."""
        layer = self.name("dense")
        if len(x.shape) == 4:
            x = self.flat(x)
        acc = self.builder.add(Dense(), x, self.weights(channels, x.shape[1]), layer=layer)
        return self.requantize(acc, layer, 70.0**2 * np.sqrt(x.shape[1]))

    def flat(self, x: Value) -> Value:
        shape = (x.shape[0], int(np.prod(x.shape[1:])))
        return self.builder.add(Reshape(shape), x, layer=self.name("flat"))

    def max_pool(
        self,
        x: Value,
        window: tuple[int, int],
        strides: tuple[int, int] = (1, 1),
        pads: Pads = NO_PADS,
        dilations: tuple[int, int] = (1, 1),
    ) -> Value:
        op = MaxPool2d(window, strides, pads, dilations)
        return self.builder.add(op, x, layer=self.name("max"))

    def average_pool(
        self,
        x: Value,
        window: tuple[int, int],
        strides: tuple[int, int] = (1, 1),
        pads: Pads = NO_PADS,
        pad_value: int = 0,
    ) -> Value:
        layer = self.name("average")
        op = SumPool2d(window, strides, pads, pad_value)
        acc = self.builder.add(op, x, layer=layer)
        return self.requantize(acc, layer, 70.0 * window[0] * window[1], per_channel=False)

    def add(self, one: Value, other: Value) -> Value:
        """Add two int8 tensors to an int8 one: element by element, without an anchor."""
        layer = self.name("add")
        acc = self._scaled(one, 90, layer)
        total = self.builder.add(Add(), acc, self._scaled(other, 57, layer), layer=layer)
        return self.narrow(total, 7, layer)

    def scale(self, x: Value, *, per_channel: bool = True) -> Value:
        """Multiply an int8 tensor, by channel, and bring it to int8 again."""
        layer = self.name("scale")
        wide = self.builder.add(Cast(DType.INT32), x, layer=layer)
        return self.requantize(wide, layer, 70.0, per_channel=per_channel)

    def requantize(
        self,
        acc: Value,
        layer: str,
        size: float,
        *,
        per_channel: bool = True,
        add: Value | None = None,
    ) -> Value:
        """Bring int32 of about `size` to int8: bias, multiplier, residual, shift, clip, cast."""
        shape = (acc.shape[1], *(1,) * (len(acc.shape) - 2)) if per_channel else ()
        bias = self.constant(self.random.integers(-int(size), int(size) + 1, shape))
        before = max(0, int(np.log2(size)) - 16)
        y = self.builder.add(Add(), acc, bias, layer=layer)
        if before:
            y = self.builder.add(ShiftRight(), y, self.constant(before), layer=layer)
        factor = self.constant(self.random.integers(300, 3000, shape))
        y = self.builder.add(Mul(), y, factor, layer=layer)
        shift = max(0, int(np.log2(size)) - before + 10 - 6)
        if add is not None:
            scaled = self._scaled(add, min(1 << shift, 30000), layer)
            y = self.builder.add(Add(), y, scaled, layer=layer)
        return self.narrow(y, shift, layer)

    def narrow(self, y: Value, shift: int, layer: str, low: int = -128) -> Value:
        y = self.builder.add(ShiftRight(), y, self.constant(shift), layer=layer)
        y = self.builder.add(Maximum(), y, self.constant(low), layer=layer)
        y = self.builder.add(Minimum(), y, self.constant(127), layer=layer)
        return self.builder.add(Cast(DType.INT8), y, layer=layer)

    def _scaled(self, x: Value, factor: int, layer: str) -> Value:
        wide = self.builder.add(Cast(DType.INT32), x, layer=layer)
        return self.builder.add(Mul(), wide, self.constant(factor), layer=layer)

    def build(self, *outputs: Value) -> Graph:
        return self.builder.build(outputs)


def repeat(layers: Layers, x: Value, rows: int, cols: int) -> Value:
    """Repeat each row and each column of images."""
    for axis, times in ((2, rows), (3, cols)):
        if times > 1:
            indices = np.repeat(np.arange(x.shape[axis]), times)
            places = layers.constant(indices, np.int64)
            x = layers.builder.add(Gather(axis), x, places, layer=layers.name("repeat"))
    return x


def sample(graph: Graph, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return random inputs over the whole range of their types."""
    random = np.random.default_rng(seed)
    return {
        value.name: random.integers(-128, 128, value.shape).astype(value.dtype.numpy)
        for value in graph.inputs
    }


def run(compiled: Compiled, engine: str = "functional", seed: int = 0) -> Check:
    """Run a module that was built with `keep`, and compare every layer with the reference."""
    config, inputs = compiled.module.config, sample(compiled.graph, seed)
    with open_device(engine, config) as device, Session(compiled.module, device) as session:
        return check_run(compiled, session, session.run(inputs), inputs)


def devices(compiled: Compiled) -> Sequence[str]:
    """Return where each layer runs, in order."""
    return [layer.device for layer in compiled.layers]


def assert_on_vta(graph: Graph, config: Config, engine: str = "functional") -> Compiled:
    """Assert that every layer but moving data runs on VTA and equals the reference."""
    compiled = build_module(graph, config, keep=True, measured=1, unfolded=False)
    for layer in compiled.layers:
        moves = layer.kind in ("Reshape", "Transpose")
        assert layer.device == "vta" or moves, (layer.name, layer.kind, layer.reason)
    check = run(compiled, engine)
    assert check.equal, (check, str(graph))
    assert check.compared
    return compiled
