"""Random networks, as Hypothesis draws them: chains of layers with residuals, for any machine.

`float_networks` are what a user trains; `integer_networks` what quantizing passes can make of
models with zero points, and shapes that few networks have.
"""

import numpy as np
from hypothesis import strategies as st
from vtakit.compiler.builder import GraphBuilder
from vtakit.compiler.graph import DType, Graph, Value
from vtakit.compiler.ops.elementwise import Add, Maximum, Minimum, Mul
from vtakit.compiler.ops.linear import Conv2d, Dense
from vtakit.compiler.ops.pool import MaxPool2d, SumPool2d
from vtakit.compiler.ops.shape import Reshape

from .integer_layers import NO_PADS, Layers, Pads

LARGEST = 24
"""Rows and columns from which on a network gets no further layer."""


@st.composite
def float_networks(draw: st.DrawFn, most_channels: int = 20, most_layers: int = 5) -> Graph:
    """Draw a float network: convolutions, poolings, residual additions, maybe a dense head.

    Weights come from a seed, so that what Hypothesis draws and prints is the shape of a network.
    """
    seed = draw(st.integers(0, 1 << 30))
    random = np.random.default_rng(seed)
    builder = GraphBuilder("random")
    channels = draw(st.integers(1, most_channels))
    extent = (draw(st.integers(3, 12)), draw(st.integers(3, 12)))
    x = builder.input("x", (draw(st.integers(1, 3)), channels, *extent), DType.FLOAT32)
    for index in range(draw(st.integers(1, most_layers))):
        kind = draw(st.sampled_from(["conv", "conv", "conv", "residual", "max", "average"]))
        if kind == "conv":
            x = _conv(draw, builder, random, x, f"conv{index}", most_channels)
        elif kind == "residual":
            x = _residual(draw, builder, random, x, f"residual{index}")
        else:
            x = _pool(draw, builder, x, f"pool{index}", kind)
    if draw(st.booleans()):
        x = _head(draw, builder, random, x)
    return builder.build([x])


def _weights(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    fan_in = int(np.prod(shape[1:]))
    return (random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)


def _bias(
    builder: GraphBuilder, random: np.random.Generator, x: Value, layer: str, rank: int
) -> Value:
    shape = (x.shape[1], *(1,) * (rank - 2))
    values = (random.standard_normal(shape) / 4).astype(np.float32)
    return builder.add(Add(), x, builder.constant(values, f"{layer}_b"), layer=layer)


def _activation(draw: st.DrawFn, builder: GraphBuilder, x: Value, layer: str) -> Value:
    kind = draw(st.sampled_from(["none", "relu", "relu", "relu6", "leaky"]))
    if kind == "none":
        return x
    if kind == "leaky":
        slope = builder.constant(np.float32(draw(st.floats(0.01, 0.99))))
        return builder.add(Maximum(), x, builder.add(Mul(), x, slope, layer=layer), layer=layer)
    x = builder.add(Maximum(), x, builder.constant(np.float32(0)), layer=layer)
    if kind == "relu6":
        x = builder.add(Minimum(), x, builder.constant(np.float32(2)), layer=layer)
    return x


def _conv(
    draw: st.DrawFn,
    builder: GraphBuilder,
    random: np.random.Generator,
    x: Value,
    layer: str,
    most_channels: int,
) -> Value:
    rows, cols = x.shape[2:]
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    top, left, bottom, right = pads
    dilation = draw(st.sampled_from([1, 1, 1, 2]))
    most = [min(5, (rows + top + bottom - 1) // dilation + 1)]
    most.append(min(5, (cols + left + right - 1) // dilation + 1))
    kernel = tuple(draw(st.integers(1, limit)) for limit in most)
    strides = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    channels, groups = _groups(draw, x.shape[1], draw(st.integers(1, most_channels)))
    shape = (channels, x.shape[1] // groups, *kernel)
    weights = builder.constant(_weights(random, shape), f"{layer}_w")
    op = Conv2d(strides, (top, left, bottom, right), (dilation, dilation), groups)
    y = builder.add(op, x, weights, layer=layer)
    return _activation(draw, builder, _bias(builder, random, y, layer, 4), layer)


def _groups(draw: st.DrawFn, inputs: int, outputs: int) -> tuple[int, int]:
    """Draw how many groups a convolution has, mostly one; return its outputs and them."""
    groups = draw(st.sampled_from([1, 1, *(n for n in range(1, inputs + 1) if inputs % n == 0)]))
    return -(-outputs // groups) * groups, groups


def _residual(
    draw: st.DrawFn, builder: GraphBuilder, random: np.random.Generator, x: Value, layer: str
) -> Value:
    shape = (x.shape[1], x.shape[1], 3, 3)
    weights = builder.constant(_weights(random, shape), f"{layer}_w")
    y = builder.add(Conv2d((1, 1), (1, 1, 1, 1)), x, weights, layer=layer)
    y = _bias(builder, random, y, layer, 4)
    other = x
    if draw(st.booleans()):
        other = _conv1x1(builder, random, x, f"{layer}_short")
    y = builder.add(Add(), y, other, layer=f"{layer}_add")
    return _activation(draw, builder, y, f"{layer}_add")


def _conv1x1(builder: GraphBuilder, random: np.random.Generator, x: Value, layer: str) -> Value:
    shape = (x.shape[1], x.shape[1], 1, 1)
    weights = builder.constant(_weights(random, shape), f"{layer}_w")
    y = builder.add(Conv2d(), x, weights, layer=layer)
    return _bias(builder, random, y, layer, 4)


def _pool(draw: st.DrawFn, builder: GraphBuilder, x: Value, layer: str, kind: str) -> Value:
    window = tuple(draw(st.integers(1, min(3, extent))) for extent in x.shape[2:])
    rows, cols = window
    strides = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    pads = tuple(draw(st.integers(0, size - 1)) for size in (*window, *window))
    top, left, bottom, right = pads
    if kind == "max":
        op = MaxPool2d((rows, cols), strides, (top, left, bottom, right))
        return builder.add(op, x, layer=layer)
    op = SumPool2d((rows, cols), strides, (top, left, bottom, right))
    y = builder.add(op, x, layer=layer)
    share = builder.constant(np.float32(1 / (rows * cols)))
    return builder.add(Mul(), y, share, layer=layer)


def _head(draw: st.DrawFn, builder: GraphBuilder, random: np.random.Generator, x: Value) -> Value:
    size = int(np.prod(x.shape[1:]))
    flat = builder.add(Reshape((x.shape[0], size)), x, layer="flatten")
    shape = (draw(st.integers(1, 30)), size)
    weights = builder.constant(_weights(random, shape), "dense_w")
    y = builder.add(Dense(), flat, weights, layer="dense")
    return _bias(builder, random, y, "dense", 2)


@st.composite
def integer_networks(draw: st.DrawFn, most_channels: int = 20, most_layers: int = 4) -> Graph:
    """Draw an int8 network: zero points in pads, pads wider than windows, several readers."""
    layers = Layers(draw(st.integers(0, 1 << 30)))
    channels = st.integers(1, most_channels)
    extent = st.integers(1, 12)
    x = layers.input(draw(st.integers(1, 3)), draw(channels), draw(extent), draw(extent))
    zeros = {x: draw(zero_points)}
    outputs: list[Value] = []
    for _ in range(draw(st.integers(1, most_layers))):
        read = draw(st.sampled_from(list(zeros)[-2:]))
        if max(read.shape[2:]) > LARGEST:
            break
        y = _integer_layer(draw, layers, read, zeros[read], draw(channels))
        zeros[y] = draw(zero_points)
        if draw(st.integers(0, 4)) == 0:
            outputs.append(y)
    last = list(zeros)[-1]
    if draw(st.integers(0, 2)) == 0:
        last = layers.dense(last, draw(channels))
    return layers.build(*dict.fromkeys([*outputs, last]))


zero_points = st.one_of(st.just(0), st.integers(-128, 127))


def _integer_layer(draw: st.DrawFn, layers: Layers, x: Value, zero: int, channels: int) -> Value:
    kinds = ["conv", "conv", "conv", "wide", "max", "average", "scale", "add", "residual"]
    kind = draw(st.sampled_from(kinds))
    strides = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilations = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    if kind == "conv":
        pads = _pads(draw, 3)
        kernel = _window(draw, x, pads, dilations, 5)
        channels, groups = _groups(draw, x.shape[1], channels)
        return layers.conv(
            x,
            channels,
            kernel,
            strides=strides,
            pads=pads,
            dilations=dilations,
            groups=groups,
            pad_value=zero,
        )
    if kind == "wide":
        pads = _pads(draw, 17)
        kernel = _window(draw, x, pads, (1, 1), 9)
        return layers.conv(x, channels, kernel, strides=strides, pads=pads, pad_value=zero)
    if kind == "scale":
        return layers.scale(x, per_channel=draw(st.booleans()))
    if kind == "add":
        return layers.add(x, layers.conv(x, x.shape[1], (1, 1)))
    if kind == "residual":
        around = (1, 1, 1, 1)
        return layers.conv(x, x.shape[1], pads=around, pad_value=zero, add=x)
    pads = draw(st.sampled_from([NO_PADS, (1, 1, 1, 1), (0, 2, 1, 0)]))
    window = _window(draw, x, pads, (1, 1), 3)
    if kind == "max":
        return layers.max_pool(x, window, strides, pads)
    return layers.average_pool(x, window, strides, pads, zero)


def _pads(draw: st.DrawFn, most: int) -> Pads:
    pad = st.integers(0, most)
    return draw(st.one_of(st.just(NO_PADS), st.tuples(pad, pad, pad, pad)))


def _window(
    draw: st.DrawFn, x: Value, pads: Pads, dilations: tuple[int, int], most: int
) -> tuple[int, int]:
    sizes: list[int] = []
    for axis, dilation in enumerate(dilations):
        extent = x.shape[2 + axis] + pads[axis] + pads[axis + 2]
        sizes.append(draw(st.integers(1, min(most, (extent - 1) // dilation + 1))))
    return sizes[0], sizes[1]
