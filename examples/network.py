"""Put an ONNX network together layer by layer, with seeded weights that keep activations in range.

A random network is only worth running when its numbers look like those of a trained one: outputs
of each layer about as large as its inputs, about half of them positive before a rectifier, and
results that depend on the input. Three rules give that without looking at any data, so that a seed
gives the same file everywhere:

- Each value carries an estimate of its mean and spread (its variance); the weights that read it are
  drawn so that the output's spread is as asked (after He et al., 2015, arXiv:1502.01852).
- Each filter sums to zero. Rectified inputs have a large common mean; a filter that let it through
  would bury the part that depends on the input (Qiao et al., 2019, arXiv:1903.10520).
- Shortcuts add spreads; the branch beside one is scaled down, so that depth does not pile up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8  # what opset 17 came with: old readers accept the file

Pads = tuple[int, int, int, int]  # top, left, bottom, right: ONNX's order for two axes
Pair = tuple[int, int]  # rows and columns


class NetworkError(ValueError):
    """A layer that does not fit the value it is put on."""


@dataclass(frozen=True)
class Tensor:
    """A value of the network: its ONNX name and shape, its expected mean and variance."""

    name: str
    shape: tuple[int, ...]
    mean: float
    spread: float


class Network:
    """An ONNX graph under construction; batch 1, float32, NCHW.

    Each method adds one layer and gives its output. A layer's nodes and weights are named after
    `name`, as exporters do: `layer1.0.conv1`, `layer1.0.conv1.weight`.

    Parameters
    ----------
    name : str
        The graph's name.
    seed : int
        Where the weights come from: the same calls in the same order give the same bytes.
    """

    def __init__(self, name: str, seed: int):
        self.name = name
        self.seed = seed
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[int]) -> Tensor:
        """An input of the network, expected with mean 0 and variance 1."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        return Tensor(name, tuple(shape), 0.0, 1.0)

    def output(self, name: str, x: Tensor) -> None:
        """Make `x` an output, called `name`."""
        node = next(node for node in self._nodes if node.output[0] == x.name)
        if any(x.name in other.input for other in self._nodes):
            raise NetworkError(f"{x.name} is read by another layer: only a last value is renamed")
        node.output[0] = name
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(x.shape)))

    def conv(
        self,
        name: str,
        x: Tensor,
        channels: int,
        kernel: int | Pair,
        *,
        stride: int = 1,
        pads: int | Pads = 0,
        groups: int = 1,
        bias: bool = False,
        spread: float = 1.0,
    ) -> Tensor:
        """Convolve with `channels` filters; `groups` = channels of `x` is depthwise."""
        _, depth, height, width = x.shape
        if depth % groups or channels % groups:
            raise NetworkError(f"{name}: {depth} -> {channels} channels do not cut into {groups}")
        top, left, bottom, right = pads if isinstance(pads, tuple) else (pads,) * 4
        rows, cols = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        out_height = (height + top + bottom - rows) // stride + 1
        out_width = (width + left + right - cols) // stride + 1
        shape = (channels, depth // groups, rows, cols)
        inputs = [x.name, self._filters(name, shape, x, spread)]
        if bias:
            inputs.append(self._bias(name, channels, spread))
        return self._node(
            "Conv",
            name,
            inputs,
            (1, channels, out_height, out_width),
            spread=spread,
            dilations=[1, 1],
            group=groups,
            kernel_shape=[rows, cols],
            pads=[top, left, bottom, right],
            strides=[stride, stride],
        )

    def conv_transpose(
        self,
        name: str,
        x: Tensor,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        pad: int = 0,
        bias: bool = False,
    ) -> Tensor:
        """The transpose of a convolution: each pixel of `x` adds a square of `kernel` pixels.

        Pixels of the result whose rows and columns leave the same rest over `stride` read the same
        weights; those sum to zero.
        """
        _, depth, height, width = x.shape
        taps = -(-kernel // stride)
        weights = self._random.standard_normal((depth, channels, kernel, kernel))
        for row in range(min(stride, kernel)):
            for col in range(min(stride, kernel)):
                part = weights[:, :, row::stride, col::stride]
                part -= part.mean(axis=(0, 2, 3), keepdims=True)
        weights *= self._random.uniform(0.7, 1.3, (1, channels, 1, 1))
        weights *= math.sqrt(1 / (depth * taps * taps * x.spread))
        inputs = [x.name, self._weight(f"{name}.weight", weights)]
        if bias:
            inputs.append(self._bias(name, channels, 1.0))
        size = [(extent - 1) * stride + kernel - 2 * pad for extent in (height, width)]
        return self._node(
            "ConvTranspose",
            name,
            inputs,
            (1, channels, *size),
            spread=1.0,
            dilations=[1, 1],
            group=1,
            kernel_shape=[kernel, kernel],
            pads=[pad] * 4,
            strides=[stride, stride],
        )

    def dense(self, name: str, x: Tensor, units: int, *, spread: float = 1.0) -> Tensor:
        """Multiply (1, K) by weights (units, K) and add a bias, as PyTorch exports `Linear`."""
        weights = self._filters(name, (units, x.shape[1]), x, spread)
        inputs = [x.name, weights, self._bias(name, units, spread)]
        return self._node(
            "Gemm", name, inputs, (1, units), spread=spread, alpha=1.0, beta=1.0, transB=1
        )

    def batch_norm(self, name: str, x: Tensor, *, spread: float = 1.0) -> Tensor:
        """Normalise each channel by its statistics, then scale and shift it.

        The statistics differ from channel to channel, as trained ones do: variances near the spread
        of `x`, means and shifts a fraction of its standard deviation. They are those of the
        network as exported before folding: nothing here folds them into the convolution.
        """
        channels = x.shape[1]
        before, after = math.sqrt(x.spread), math.sqrt(spread)
        parameters = {
            "weight": after * self._random.uniform(0.8, 1.2, channels),
            "bias": after * self._random.normal(0, 0.1, channels),
            "running_mean": before * self._random.normal(0, 0.1, channels),
            "running_var": x.spread * self._random.uniform(0.6, 1.6, channels),
        }
        inputs = [x.name]
        inputs += [self._weight(f"{name}.{key}", values) for key, values in parameters.items()]
        return self._node(
            "BatchNormalization", name, inputs, x.shape, spread=spread, epsilon=1e-5, momentum=0.9
        )

    def relu(self, name: str, x: Tensor) -> Tensor:
        """max(x, 0)."""
        mean, spread = _rectified(x)
        return self._node("Relu", name, [x.name], x.shape, mean=mean, spread=spread)

    def relu6(self, name: str, x: Tensor) -> Tensor:
        """min(max(x, 0), 6), as the Clip that exporters write."""
        bounds = [
            self._weight(f"{name}.min", np.zeros(())),
            self._weight(f"{name}.max", np.full((), 6.0)),
        ]
        mean, spread = _rectified(x)
        return self._node("Clip", name, [x.name, *bounds], x.shape, mean=mean, spread=spread)

    def leaky_relu(self, name: str, x: Tensor, alpha: float) -> Tensor:
        """x where it is positive, alpha x elsewhere."""
        mean, spread = _rectified(x)
        square = spread + mean**2  # of the positive part, and of the negative one below
        below, below_square = x.mean - mean, x.spread + x.mean**2 - square
        mean += alpha * below
        spread = square + alpha**2 * below_square - mean**2
        shape = x.shape
        return self._node("LeakyRelu", name, [x.name], shape, mean=mean, spread=spread, alpha=alpha)

    def tanh(self, name: str, x: Tensor) -> Tensor:
        """The hyperbolic tangent, of numbers about zero."""
        points, weights = np.polynomial.hermite_e.hermegauss(32)
        squares = np.tanh(x.mean + points * math.sqrt(x.spread)) ** 2
        spread = float((squares * weights).sum() / weights.sum())
        return self._node("Tanh", name, [x.name], x.shape, spread=spread)

    def concat(self, name: str, *parts: Tensor) -> Tensor:
        """Channels of several images one after the other."""
        channels = sum(part.shape[1] for part in parts)
        mean = sum(part.mean * part.shape[1] for part in parts) / channels
        squares = sum((part.spread + part.mean**2) * part.shape[1] for part in parts) / channels
        shape = (1, channels, *parts[0].shape[2:])
        names = [part.name for part in parts]
        return self._node("Concat", name, names, shape, mean=mean, spread=squares - mean**2, axis=1)

    def resize_nearest(self, name: str, x: Tensor, scale: int) -> Tensor:
        """Each pixel repeated `scale` times, down and across, as PyTorch exports it."""
        scales = self._weight(f"{name}.scales", np.asarray([1, 1, scale, scale], np.float64))
        shape = (*x.shape[:2], x.shape[2] * scale, x.shape[3] * scale)
        return self._node(
            "Resize",
            name,
            [x.name, "", scales],
            shape,
            mean=x.mean,
            spread=x.spread,
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )

    def add(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """x + y, elementwise."""
        if x.shape != y.shape:
            raise NetworkError(f"{name}: cannot add {x.shape} and {y.shape}")
        mean, spread = x.mean + y.mean, x.spread + y.spread
        return self._node("Add", name, [x.name, y.name], x.shape, mean=mean, spread=spread)

    def max_pool(
        self,
        name: str,
        x: Tensor,
        kernel: int,
        *,
        stride: int,
        pad: int | Pads = 0,
        ceil: bool = False,
    ) -> Tensor:
        """The largest of each square window: about one deviation above its mean."""
        mean = x.mean + math.sqrt(x.spread)
        return self._pool("MaxPool", name, x, kernel, stride, pad, mean, 1.5 * x.spread, ceil=ceil)

    def average_pool(self, name: str, x: Tensor, kernel: int, *, stride: int) -> Tensor:
        """The mean of each square window, without padding."""
        return self._pool("AveragePool", name, x, kernel, stride, 0, x.mean, x.spread / kernel)

    def global_average_pool(self, name: str, x: Tensor) -> Tensor:
        """The mean of each channel: (1, C, H, W) -> (1, C, 1, 1)."""
        shape = (*x.shape[:2], 1, 1)
        spread = x.spread / x.shape[2]
        return self._node("GlobalAveragePool", name, [x.name], shape, mean=x.mean, spread=spread)

    def flatten(self, name: str, x: Tensor) -> Tensor:
        """(1, C, H, W) -> (1, C*H*W)."""
        shape = (1, math.prod(x.shape))
        return self._node("Flatten", name, [x.name], shape, mean=x.mean, spread=x.spread, axis=1)

    def softmax(self, name: str, x: Tensor) -> Tensor:
        """Probabilities along the last axis."""
        return self._node("Softmax", name, [x.name], x.shape, spread=x.spread, axis=-1)

    def model(self) -> onnx.ModelProto:
        """The finished network, checked by ONNX."""
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, self._weights
        )
        model = helper.make_model(
            graph,
            producer_name="vtakit examples/zoo.py",
            doc_string=f"{self.name} with random weights, seed {self.seed}",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _filters(self, name: str, shape: tuple[int, ...], x: Tensor, spread: float) -> str:
        """Weights (channels, ...) that turn the spread of `x` into `spread`.

        Every filter sums to zero, and channels differ in size, as those of trained networks do.
        """
        axes = tuple(range(1, len(shape)))
        reads = math.prod(shape[1:])
        weights = self._random.standard_normal(shape)
        weights -= weights.mean(axis=axes, keepdims=True)
        sizes = self._random.uniform(0.7, 1.3, (shape[0],) + (1,) * len(axes))
        deviation = math.sqrt(spread / (reads * x.spread))
        return self._weight(f"{name}.weight", weights * sizes * deviation)

    def _bias(self, name: str, channels: int, spread: float) -> str:
        bias = self._random.normal(0, 0.1 * math.sqrt(spread), channels)
        return self._weight(f"{name}.bias", bias)

    def _weight(self, name: str, values: npt.NDArray[np.float64]) -> str:
        self._weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def _pool(
        self,
        op: str,
        name: str,
        x: Tensor,
        kernel: int,
        stride: int,
        pad: int | Pads,
        mean: float,
        spread: float,
        *,
        ceil: bool = False,
    ) -> Tensor:
        top, left, bottom, right = pads = pad if isinstance(pad, tuple) else (pad,) * 4
        height, width = (
            (size + around - kernel + (stride - 1) * ceil) // stride + 1
            for size, around in zip(x.shape[2:], (top + bottom, left + right), strict=True)
        )
        return self._node(
            op,
            name,
            [x.name],
            (*x.shape[:2], height, width),
            mean=mean,
            spread=spread,
            kernel_shape=[kernel, kernel],
            pads=list(pads),
            strides=[stride, stride],
            **({"ceil_mode": 1} if ceil else {}),
        )

    def _node(
        self,
        op: str,
        name: str,
        inputs: Sequence[str],
        shape: tuple[int, ...],
        *,
        mean: float = 0.0,
        spread: float,
        **attributes: int | float | str | list[int],
    ) -> Tensor:
        output = f"{name}.output"
        node = helper.make_node(op, inputs, [output], name=name)
        node.attribute.extend(helper.make_attribute(*pair) for pair in attributes.items())
        self._nodes.append(node)
        return Tensor(output, shape, mean, spread)


def _rectified(x: Tensor) -> tuple[float, float]:
    """Mean and variance of max(x, 0), if `x` is normally distributed."""
    deviation = math.sqrt(x.spread)
    density = math.exp(-(x.mean**2) / (2 * x.spread)) / math.sqrt(2 * math.pi)
    positive = 0.5 * (1 + math.erf(x.mean / (deviation * math.sqrt(2))))
    mean = x.mean * positive + deviation * density
    return mean, (x.mean**2 + x.spread) * positive + x.mean * deviation * density - mean**2
