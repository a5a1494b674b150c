"""Residual networks: ResNet-18 and the ResNet-8 of MLPerf Tiny, with their batch normalisations."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from network import Network, Pads, Tensor

Block = Callable[[Network, str, Tensor, int, int], Tensor]

BRANCH = 0.5  # spread a residual branch adds to its shortcut's, so that depth does not pile up


def resnet18(seed: int) -> onnx.ModelProto:
    """ResNet-18 for 1x3x224x224 and 1000 classes, layer for layer as torchvision exports it.

    He et al., 2015, arXiv:1512.03385, table 1; names as in `torchvision.models.resnet18`.
    """
    net = Network("resnet18", seed)
    x = net.input("input", (1, 3, 224, 224))
    x = net.conv("conv1", x, 64, 7, stride=2, pads=3)
    x = net.relu("relu", net.batch_norm("bn1", x))
    x = net.max_pool("maxpool", x, 3, stride=2, pad=1)
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        x = _basic_block(net, f"layer{stage}.0", x, channels, stride=1 if stage == 1 else 2)
        x = _basic_block(net, f"layer{stage}.1", x, channels, stride=1)
    x = net.flatten("flatten", net.global_average_pool("avgpool", x))
    net.output("output", net.dense("fc", x, 1000, spread=4.0))
    return net.model()


def resnet34(seed: int) -> onnx.ModelProto:
    """ResNet-34 for 1x3x224x224 and 1000 classes, as torchvision's."""
    return _residual("resnet34", seed, _basic_block, 1)


def resnet50(seed: int) -> onnx.ModelProto:
    """ResNet-50 for 1x3x224x224 and 1000 classes, as torchvision's: stride in the 3x3 (v1.5)."""
    return _residual("resnet50", seed, _bottleneck, 4)


def _residual(name: str, seed: int, block: Block, expansion: int) -> onnx.ModelProto:
    """A network of 3, 4, 6 and 3 blocks."""
    net = Network(name, seed)
    x = net.input("input", (1, 3, 224, 224))
    x = net.conv("conv1", x, 64, 7, stride=2, pads=3)
    x = net.relu("relu", net.batch_norm("bn1", x))
    x = net.max_pool("maxpool", x, 3, stride=2, pad=1)
    for stage, count in enumerate((3, 4, 6, 3), start=1):
        for index in range(count):
            stride = 2 if stage > 1 and index == 0 else 1
            x = block(net, f"layer{stage}.{index}", x, 32 * 2**stage * expansion, stride)
    x = net.flatten("flatten", net.global_average_pool("avgpool", x))
    net.output("output", net.dense("fc", x, 1000, spread=4.0))
    return net.model()


def resnet8(seed: int) -> onnx.ModelProto:
    """ResNet-8, the image classification network of MLPerf Tiny: 1x3x32x32, 10 classes.

    Topology of `resnet_v1_eembc` (mlcommons/tiny, benchmark/training/image_classification): as it
    comes from Keras, so convolutions have biases as well, and "same" padding at stride 2 is uneven
    (one row and column at the end).
    """
    net = Network("resnet8", seed)
    x = net.input("input", (1, 3, 32, 32))
    x = _keras_conv(net, "stem", x, 16, stride=1)
    x = net.relu("stem.relu", x)
    for stage, channels in enumerate((16, 32, 64), start=1):
        stride = 1 if stage == 1 else 2
        y = _keras_conv(net, f"stack{stage}.1", x, channels, stride)
        y = net.relu(f"stack{stage}.relu1", y)
        y = _keras_conv(net, f"stack{stage}.2", y, channels, 1, spread=BRANCH)
        if stride > 1:
            name = f"stack{stage}.shortcut"
            x = net.conv(name, x, channels, 1, stride=stride, bias=True, spread=1 - BRANCH)
        x = net.relu(f"stack{stage}.relu2", net.add(f"stack{stage}.add", x, y))
    x = net.flatten("flatten", net.average_pool("pool", x, 8, stride=8))
    net.output("output", net.softmax("softmax", net.dense("dense", x, 10, spread=4.0)))
    return net.model()


def _bottleneck(net: Network, name: str, x: Tensor, channels: int, stride: int) -> Tensor:
    """A 3x3 convolution of a quarter of the channels between two of 1x1, beside a shortcut."""
    y = net.conv(f"{name}.conv1", x, channels // 4, 1)
    y = net.relu(f"{name}.relu1", net.batch_norm(f"{name}.bn1", y))
    y = net.conv(f"{name}.conv2", y, channels // 4, 3, stride=stride, pads=1)
    y = net.relu(f"{name}.relu2", net.batch_norm(f"{name}.bn2", y))
    y = net.batch_norm(f"{name}.bn3", net.conv(f"{name}.conv3", y, channels, 1), spread=BRANCH)
    if stride > 1 or x.shape[1] != channels:
        x = net.conv(f"{name}.downsample.0", x, channels, 1, stride=stride)
        x = net.batch_norm(f"{name}.downsample.1", x, spread=1 - BRANCH)
    return net.relu(f"{name}.relu3", net.add(f"{name}.add", x, y))


def _basic_block(net: Network, name: str, x: Tensor, channels: int, stride: int) -> Tensor:
    """Two 3x3 convolutions beside a shortcut, which is 1x1 where the shape changes."""
    y = net.conv(f"{name}.conv1", x, channels, 3, stride=stride, pads=1)
    y = net.relu(f"{name}.relu1", net.batch_norm(f"{name}.bn1", y))
    y = net.conv(f"{name}.conv2", y, channels, 3, pads=1)
    y = net.batch_norm(f"{name}.bn2", y, spread=BRANCH)
    if stride > 1 or x.shape[1] != channels:
        x = net.conv(f"{name}.downsample.0", x, channels, 1, stride=stride)
        x = net.batch_norm(f"{name}.downsample.1", x, spread=1 - BRANCH)
    return net.relu(f"{name}.relu2", net.add(f"{name}.add", x, y))


def _keras_conv(
    net: Network, name: str, x: Tensor, channels: int, stride: int, spread: float = 1.0
) -> Tensor:
    """A 3x3 convolution with "same" padding and a bias, then its normalisation."""
    pads: Pads = (1, 1, 1, 1) if stride == 1 else (0, 0, 1, 1)
    x = net.conv(f"{name}.conv", x, channels, 3, stride=stride, pads=pads, bias=True)
    return net.batch_norm(f"{name}.bn", x, spread=spread)
