"""Random networks, as Hypothesis draws them: chains of layers with residuals, on any machine."""

import numpy as np
from hypothesis import strategies as st
from vtakit.compiler.builder import GraphBuilder
from vtakit.compiler.graph import DType, Graph, Value
from vtakit.compiler.ops.elementwise import Add, Maximum, Minimum, Mul
from vtakit.compiler.ops.linear import Conv2d, Dense
from vtakit.compiler.ops.pool import MaxPool2d, SumPool2d
from vtakit.compiler.ops.shape import Reshape


@st.composite
def float_networks(draw: st.DrawFn, most_channels: int = 20, most_layers: int = 5) -> Graph:
    """Draw a float network: convolutions, poolings, residual additions, maybe a dense head."""
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
    kind = draw(st.sampled_from(["none", "relu", "relu", "relu6"]))
    if kind == "none":
        return x
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
    shape = (draw(st.integers(1, most_channels)), x.shape[1], *kernel)
    weights = builder.constant(_weights(random, shape), f"{layer}_w")
    op = Conv2d(strides, (top, left, bottom, right), (dilation, dilation))
    y = builder.add(op, x, weights, layer=layer)
    return _activation(draw, builder, _bias(builder, random, y, layer, 4), layer)


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


def _conv1x1(
    builder: GraphBuilder, random: np.random.Generator, x: Value, layer: str
) -> Value:
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


def _head(
    draw: st.DrawFn, builder: GraphBuilder, random: np.random.Generator, x: Value
) -> Value:
    size = int(np.prod(x.shape[1:]))
    flat = builder.add(Reshape((x.shape[0], size)), x, layer="flatten")
    shape = (draw(st.integers(1, 30)), size)
    weights = builder.constant(_weights(random, shape), "dense_w")
    y = builder.add(Dense(), flat, weights, layer="dense")
    return _bias(builder, random, y, "dense", 2)
