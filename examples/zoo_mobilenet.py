"""MobileNetV2: inverted residuals over depthwise convolutions."""

from __future__ import annotations

import onnx
from network import Network, Tensor

# Sandler et al., 2018, arXiv:1801.04381, table 2: expansion, channels, blocks, first stride.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
BRANCH = 0.25  # spread a residual branch adds: shortcuts here have no rectifier to shrink them


def mobilenetv2(seed: int) -> onnx.ModelProto:
    """MobileNetV2 for 1x3x224x224 and 1000 classes, layer for layer as torchvision's.

    A depthwise filter that summed to zero would be a band-pass alone; those of trained networks
    are not, but the rule of network.py is kept, because the mean it removes carries no image.
    """
    net = Network("mobilenetv2", seed)
    x = net.input("input", (1, 3, 224, 224))
    x = _conv_relu6(net, "features.0", x, 32, 3, stride=2)
    block = 1
    for expansion, channels, blocks, first_stride in STAGES:
        for index in range(blocks):
            stride = first_stride if index == 0 else 1
            x = _inverted_residual(net, f"features.{block}", x, channels, stride, expansion)
            block += 1
    x = _conv_relu6(net, f"features.{block}", x, 1280, 1)
    x = net.flatten("flatten", net.global_average_pool("avgpool", x))
    net.output("output", net.dense("classifier.1", x, 1000, spread=4.0))
    return net.model()


def _inverted_residual(
    net: Network, name: str, x: Tensor, channels: int, stride: int, expansion: int
) -> Tensor:
    """Widen by 1x1, filter each channel by 3x3, narrow by 1x1 without a rectifier."""
    hidden = x.shape[1] * expansion
    y = x if expansion == 1 else _conv_relu6(net, f"{name}.expand", x, hidden, 1)
    y = _conv_relu6(net, f"{name}.depthwise", y, hidden, 3, stride=stride, groups=hidden)
    y = net.conv(f"{name}.project.0", y, channels, 1)
    shortcut = stride == 1 and x.shape[1] == channels
    y = net.batch_norm(f"{name}.project.1", y, spread=BRANCH if shortcut else 1.0)
    return net.add(f"{name}.add", x, y) if shortcut else y


def _conv_relu6(
    net: Network, name: str, x: Tensor, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> Tensor:
    x = net.conv(f"{name}.0", x, channels, kernel, stride=stride, pads=kernel // 2, groups=groups)
    return net.relu6(f"{name}.2", net.batch_norm(f"{name}.1", x))
