"""MobileNets, and DS-CNN: depthwise convolutions, each followed by one of 1x1."""

from __future__ import annotations

import onnx
from network import Network, Pads, Tensor

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


# Howard et al., 2017, arXiv:1704.04861, table 1: channels and strides of the separable blocks.
SEPARABLE = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5,
    (1024, 2), (1024, 1),
)  # fmt: skip


def mobilenetv1(seed: int) -> onnx.ModelProto:
    """MobileNetV1 for 1x3x224x224 and 1000 classes."""
    net = Network("mobilenetv1", seed)
    x = net.input("input", (1, 3, 224, 224))
    x = _separable_blocks(net, x, 1.0, bias=False)
    x = net.flatten("flatten", net.global_average_pool("avgpool", x))
    net.output("output", net.dense("fc", x, 1000, spread=4.0))
    return net.model()


def mobilenetv1_quarter(seed: int) -> onnx.ModelProto:
    """MobileNetV1 of a quarter of the channels: visual wake words of MLPerf Tiny, 1x3x96x96.

    Topology of `vww_model.py` (mlcommons/tiny): from Keras, with biases and uneven padding.
    """
    net = Network("mobilenetv1-0.25", seed)
    x = net.input("input", (1, 3, 96, 96))
    x = _separable_blocks(net, x, 0.25, bias=True)
    x = net.flatten("flatten", net.average_pool("pool", x, 3, stride=3))
    net.output("output", net.softmax("softmax", net.dense("dense", x, 2, spread=4.0)))
    return net.model()


def ds_cnn(seed: int) -> onnx.ModelProto:
    """DS-CNN: keyword spotting of MLPerf Tiny, 49 frames of 10 coefficients, 12 words.

    Zhang et al., 2017, arXiv:1711.07128; topology of `keras_model.py` (mlcommons/tiny).
    """
    net = Network("ds-cnn", seed)
    x = net.input("input", (1, 1, 49, 10))
    x = net.conv("stem.conv", x, 64, (10, 4), stride=2, pads=(4, 1, 5, 1), bias=True)
    x = net.relu("stem.relu", net.batch_norm("stem.bn", x))
    for block in range(1, 5):
        x = _separable(net, f"block{block}", x, 64, 1, (1, 1, 1, 1), bias=True)
    x = net.global_average_pool("pool", x)
    x = net.flatten("flatten", x)
    net.output("output", net.softmax("softmax", net.dense("dense", x, 12, spread=4.0)))
    return net.model()


def _separable_blocks(net: Network, x: Tensor, width: float, *, bias: bool) -> Tensor:
    """A convolution and 13 separable blocks; `width` scales their channels."""
    halved: Pads = (0, 0, 1, 1) if bias else (1, 1, 1, 1)
    x = net.conv("stem.conv", x, int(32 * width), 3, stride=2, pads=halved, bias=bias)
    x = net.relu("stem.relu", net.batch_norm("stem.bn", x))
    for number, (channels, stride) in enumerate(SEPARABLE, start=1):
        pads: Pads = halved if stride == 2 else (1, 1, 1, 1)
        x = _separable(net, f"block{number}", x, int(channels * width), stride, pads, bias=bias)
    return x


def _separable(
    net: Network, name: str, x: Tensor, channels: int, stride: int, pads: Pads, *, bias: bool
) -> Tensor:
    y = net.conv(
        f"{name}.depthwise", x, x.shape[1], 3, stride=stride, pads=pads, groups=x.shape[1],
        bias=bias,
    )  # fmt: skip
    y = net.relu(f"{name}.relu1", net.batch_norm(f"{name}.bn1", y))
    y = net.conv(f"{name}.pointwise", y, channels, 1, bias=bias)
    return net.relu(f"{name}.relu2", net.batch_norm(f"{name}.bn2", y))


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
