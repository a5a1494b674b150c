"""A convolutional network that learns, in NumPy: layers with their gradients, and Adam.

A layer's `forward(x)` remembers what its gradient needs. `backward(grad)` takes the loss's gradient
by the layer's output, leaves those by its parameters in `gradients`, gives the one by its input.
Activations are float arrays (N, C, H, W) or (N, K); weights have ONNX's layouts, so that nothing is
turned around on the way into a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]


class Layer(Protocol):
    """A differentiable function with parameters."""

    parameters: list[Array]
    gradients: list[Array]

    def forward(self, x: Array) -> Array: ...
    def backward(self, grad: Array) -> Array: ...


class Conv:
    """Convolution at stride 1 by weights (O, C, k, k), plus biases (O).

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel, pad : int
        Side of the filters; rows and columns of zeros added on every side.
    """

    def __init__(
        self, random: np.random.Generator, inputs: int, outputs: int, kernel: int, pad: int
    ):
        self.kernel = kernel
        self.pad = pad
        shape = (outputs, inputs, kernel, kernel)
        weights = _he(random, shape, reads=inputs * kernel**2)
        self.use([weights, np.zeros(outputs, np.float32)])

    def use(self, parameters: Sequence[Array]) -> None:
        """Take these weights and biases, and their type."""
        self.parameters = list(parameters)
        self.gradients = [np.zeros_like(parameter) for parameter in parameters]

    def forward(self, x: Array) -> Array:
        self._windows = _windows(x, self.kernel, self.pad)
        weights, biases = self.parameters
        return _apply(self._windows, weights) + biases[:, None, None]

    def backward(self, grad: Array) -> Array:
        self.gradients[0][:] = np.tensordot(grad, self._windows, axes=((0, 2, 3), (0, 2, 3)))
        self.gradients[1][:] = grad.sum(axis=(0, 2, 3))
        mirrored = self.parameters[0].transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        return _apply(_windows(grad, self.kernel, self.kernel - 1 - self.pad), mirrored)


class Dense:
    """x (N, K) times weights (O, K) plus biases (O)."""

    def __init__(self, random: np.random.Generator, inputs: int, outputs: int):
        weights = _he(random, (outputs, inputs), reads=inputs)
        self.use([weights, np.zeros(outputs, np.float32)])

    def use(self, parameters: Sequence[Array]) -> None:
        """Take these weights and biases, and their type."""
        self.parameters = list(parameters)
        self.gradients = [np.zeros_like(parameter) for parameter in parameters]

    def forward(self, x: Array) -> Array:
        self._x = x
        weights, biases = self.parameters
        return x @ weights.T + biases

    def backward(self, grad: Array) -> Array:
        self.gradients[0][:] = grad.T @ self._x
        self.gradients[1][:] = grad.sum(axis=0)
        return grad @ self.parameters[0]


class Relu:
    """max(x, 0)."""

    parameters: list[Array] = []
    gradients: list[Array] = []

    def forward(self, x: Array) -> Array:
        self._positive = x > 0
        return x * self._positive

    def backward(self, grad: Array) -> Array:
        return grad * self._positive


class MaxPool:
    """The largest of each 2x2 window, stride 2; a tie shares the gradient."""

    parameters: list[Array] = []
    gradients: list[Array] = []

    def forward(self, x: Array) -> Array:
        count, channels, height, width = x.shape
        cells = x.reshape(count, channels, height // 2, 2, width // 2, 2)
        largest = cells.max(axis=(3, 5), keepdims=True)
        winners = (cells == largest).astype(x.dtype)
        self._share = winners / winners.sum(axis=(3, 5), keepdims=True)
        return largest[:, :, :, 0, :, 0]

    def backward(self, grad: Array) -> Array:
        spread = self._share * grad[:, :, :, None, :, None]
        count, channels, rows, _, columns, _ = spread.shape
        return spread.reshape(count, channels, 2 * rows, 2 * columns)


class Flatten:
    """(N, C, H, W) -> (N, C*H*W)."""

    parameters: list[Array] = []
    gradients: list[Array] = []

    def forward(self, x: Array) -> Array:
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, grad: Array) -> Array:
        return grad.reshape(self._shape)


class Adam:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019, arXiv:1711.05101)."""

    def __init__(self, layers: Sequence[Layer], *, decay: float):
        self.layers = layers
        self.decay = decay
        self._steps = 0
        self._mean = [[np.zeros_like(p) for p in layer.parameters] for layer in layers]
        self._square = [[np.zeros_like(p) for p in layer.parameters] for layer in layers]

    def step(self, rate: float) -> None:
        """Move every parameter against its gradient."""
        self._steps += 1
        for layer, means, squares in zip(self.layers, self._mean, self._square, strict=True):
            for value, grad, mean, square in zip(
                layer.parameters, layer.gradients, means, squares, strict=True
            ):
                mean += 0.1 * (grad - mean)
                square += 0.001 * (grad**2 - square)
                unbiased = mean / (1 - 0.9**self._steps)
                size = np.sqrt(square / (1 - 0.999**self._steps)) + 1e-8
                value -= rate * (unbiased / size + self.decay * value)


def predict(layers: Sequence[Layer], x: Array) -> Array:
    """The network's outputs, one row of scores for each of `x`."""
    for layer in layers:
        x = layer.forward(x)
    return x


def learn(layers: Sequence[Layer], x: Array, labels: npt.NDArray[np.integer]) -> float:
    """Leave the gradients of the mean cross-entropy in the layers; the loss."""
    scores = predict(layers, x)
    scores = scores - scores.max(axis=1, keepdims=True)
    logarithms = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    rows = np.arange(len(x))
    grad = np.exp(logarithms)
    grad[rows, labels] -= 1
    grad /= len(x)
    for layer in reversed(layers):
        grad = layer.backward(grad)
    return float(-logarithms[rows, labels].mean())


def _he(random: np.random.Generator, shape: tuple[int, ...], *, reads: int) -> Array:
    """Normal weights of variance 2 / reads (He et al., 2015, arXiv:1502.01852)."""
    return (random.standard_normal(shape) * np.sqrt(2 / reads)).astype(np.float32)


def _windows(x: Array, kernel: int, pad: int) -> Array:
    """Every square window of (N, C, H, W), zeros around: a view (N, C, H', W', k, k)."""
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    return np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))


def _apply(windows: Array, weights: Array) -> Array:
    """Windows (N, C, H, W, k, k) by weights (O, C, k, k) -> (N, O, H, W)."""
    return np.tensordot(windows, weights, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
