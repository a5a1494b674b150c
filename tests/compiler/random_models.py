"""Random ONNX models, as Hypothesis draws them: branches, residuals, and layers that a CPU runs."""

from dataclasses import dataclass, field
from math import prod

import numpy as np
from hypothesis import strategies as st

from .onnx_models import ModelBuilder

MOST_ELEMENTS = 3000
"""Of a value from which another layer may read; what is larger is pooled first."""


@dataclass
class Drawing:
    """A model in the making: every value that a layer may read, and its shape (N, C, H, W)."""

    draw: st.DrawFn
    net: ModelBuilder
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])

    def whole(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def one_of(self, *choices: object) -> object:
        return self.draw(st.sampled_from(choices))

    def put(self, name: str, *shape: int) -> str:
        self.shapes[name] = shape
        return name


@st.composite
def models(draw: st.DrawFn, most_layers: int = 6, most_channels: int = 24) -> ModelBuilder:
    """Draw a float model with one input `x` and, `ends` of it, one or two outputs."""
    net = ModelBuilder(draw(st.integers(0, 1 << 30)))
    made = Drawing(draw, net)
    shape = (made.whole(1, 4), made.whole(1, 8), made.whole(4, 12), made.whole(4, 12))
    x = made.put(net.input("x", shape), *shape)
    for _ in range(made.whole(1, most_layers)):
        x = made.one_of(x, x, *made.shapes)
        assert isinstance(x, str)
        if prod(made.shapes[x]) > MOST_ELEMENTS:
            x = _pool(made, x)
        x = draw(st.sampled_from(LAYERS))(made, x, most_channels)
    if made.whole(0, 2) == 0:
        x = _head(made, x)
    return net


def ends(net: ModelBuilder) -> list[str]:
    """Return what no node reads: the outputs."""
    read = {name for node in net.nodes for name in node.input}
    return [node.output[0] for node in net.nodes if node.output[0] not in read]


def _activated(made: Drawing, x: str) -> str:
    net, shape = made.net, made.shapes[x]
    kind = made.one_of("none", "relu", "relu", "clip", "leaky", "hard", "sigmoid", "tanh", "prelu")
    match kind:
        case "relu":
            y = net.add("Relu", x)
        case "clip":
            low, high = net.weight(np.float32(0)), net.weight(np.float32(6))
            y = net.add("Clip", x, low, high)
        case "leaky":
            y = net.add("LeakyRelu", x, alpha=0.1)
        case "hard":
            y = net.add("HardSwish", x)
        case "sigmoid":
            y = net.add("Sigmoid", x)
        case "tanh":
            y = net.add("Tanh", x)
        case "prelu":
            y = net.add("PRelu", x, net.weight(np.full((shape[1], 1, 1), 0.2, np.float32)))
        case _:
            return x
    return made.put(y, *shape)


def _conv(made: Drawing, x: str, most_channels: int) -> str:
    n, c, rows, cols = made.shapes[x]
    kernel = [made.whole(1, min(4, extent)) for extent in (rows, cols)]
    pads = [made.whole(0, 2) for _ in range(4)]
    strides = [made.whole(1, 2), made.whole(1, 2)]
    groups = made.one_of(1, 1, 1, c, *(g for g in range(2, c) if c % g == 0))
    assert isinstance(groups, int)
    outputs = -(-made.whole(1, most_channels) // groups) * groups
    spread = (2 / (c // groups * prod(kernel))) ** 0.5
    weights = made.net.normal(outputs, c // groups, *kernel, spread=spread)
    bias = [made.net.normal(outputs, spread=0.1)] if made.whole(0, 3) else []
    options = {"pads": pads, "strides": strides, "group": groups, "kernel_shape": kernel}
    y = made.net.add("Conv", x, weights, *bias, **options)
    out = [
        (extent + pads[axis] + pads[axis + 2] - kernel[axis]) // strides[axis] + 1
        for axis, extent in enumerate((rows, cols))
    ]
    y = made.put(y, n, outputs, *out)
    if made.whole(0, 3) == 0:
        y = made.put(made.net.batch_norm(y, outputs), *made.shapes[y])
    return _activated(made, y)


def _transposed(made: Drawing, x: str, most_channels: int) -> str:
    n, c, rows, cols = made.shapes[x]
    outputs, k, s = made.whole(1, most_channels), made.whole(2, 4), made.whole(1, 2)
    pad = made.whole(0, 1) if min(rows, cols) > 1 else 0  # something must be left
    weights = made.net.normal(c, outputs, k, k, spread=(2 / (c * k * k)) ** 0.5)
    y = made.net.add("ConvTranspose", x, weights, strides=[s, s], pads=[pad] * 4)
    out = [(extent - 1) * s + k - 2 * pad for extent in (rows, cols)]
    return _activated(made, made.put(y, n, outputs, *out))


def _residual(made: Drawing, x: str, most_channels: int) -> str:
    c = made.shapes[x][1]
    y = made.put(made.net.conv(x, c, c), *made.shapes[x])
    y = _activated(made, y)
    operator = made.one_of("Add", "Add", "Add", "Sub", "Mul", "Max", "Min")
    assert isinstance(operator, str)
    y = made.put(made.net.add(operator, y, x), *made.shapes[x])
    return _activated(made, y)


def _branches(made: Drawing, x: str, most_channels: int) -> str:
    n, c, rows, cols = made.shapes[x]
    outputs = [made.whole(1, most_channels) for _ in range(made.whole(1, 2))]
    if made.whole(0, 1):
        outputs = [-(-o // 16) * 16 for o in outputs]
    parts = [
        _activated(made, made.put(made.net.conv(x, c, o, k), n, o, rows, cols))
        for o, k in zip(outputs, (1, 3), strict=False)
    ]
    if made.whole(0, 1):
        parts.append(x)
        outputs.append(c)
    y = made.net.add("Concat", *parts, axis=1)
    return made.put(y, n, sum(outputs), rows, cols)


def _scaled(made: Drawing, x: str, most_channels: int) -> str:
    """Multiply by channel, as squeeze and excitation do, or by numbers that broadcast."""
    shape = made.shapes[x]
    if made.whole(0, 1):
        y = made.net.add("GlobalAveragePool", x)
        y = made.net.add("Sigmoid", made.net.conv(y, shape[1], shape[1], 1))
        y = made.net.add("Mul", x, y)
    else:
        broadcast = [made.one_of(1, extent) for extent in shape[1:]]
        factors = made.net.normal(*map(int, map(str, broadcast)))
        y = made.net.add(str(made.one_of("Mul", "Add", "Sub")), x, factors)
    return _activated(made, made.put(y, *shape))


def _resized(made: Drawing, x: str, most_channels: int) -> str:
    n, c, rows, cols = made.shapes[x]
    times = [made.whole(1, 3), made.whole(1, 2)]
    scales = made.net.weight(np.array([1, 1, *times], np.float32))
    y = made.net.add(
        "Resize",
        x,
        "",
        scales,
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )
    return made.put(y, n, c, times[0] * rows, times[1] * cols)


def _pooled(made: Drawing, x: str, most_channels: int) -> str:
    return _pool(made, x)


def _pool(made: Drawing, x: str) -> str:
    n, c, rows, cols = made.shapes[x]
    operator = made.one_of("MaxPool", "AveragePool")
    assert isinstance(operator, str)
    window = [min(made.whole(1, 3), extent) for extent in (rows, cols)]
    y = made.net.add(operator, x, kernel_shape=window, strides=[2, 2])
    out = [(extent - size) // 2 + 1 for extent, size in zip((rows, cols), window, strict=True)]
    return made.put(y, n, c, *out)


def _moved(made: Drawing, x: str, most_channels: int) -> str:
    n, c, rows, cols = made.shapes[x]
    if made.whole(0, 1):
        return made.put(made.net.add("Transpose", x, perm=[0, 1, 3, 2]), n, c, cols, rows)
    pads = made.net.weight(np.array([0, 0, 1, 0, 0, 0, 0, 2], np.int64))
    return made.put(made.net.add("Pad", x, pads), n, c, rows + 1, cols + 2)


def _head(made: Drawing, x: str) -> str:
    n, c, rows, cols = made.shapes[x]
    outputs = made.whole(1, 20)
    flat = made.net.add("Flatten", x)
    y = made.net.dense(flat, c * rows * cols, outputs)
    return made.net.add("Softmax", y) if made.whole(0, 1) else y


LAYERS = (
    _conv,
    _conv,
    _conv,
    _transposed,
    _residual,
    _branches,
    _scaled,
    _resized,
    _pooled,
    _moved,
)
