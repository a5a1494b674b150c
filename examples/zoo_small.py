"""Networks without shortcuts: LeNet-5, a multilayer perceptron, an autoencoder, SqueezeNet."""

from __future__ import annotations

import onnx
from network import Network, Tensor


def lenet5(seed: int) -> onnx.ModelProto:
    """LeNet-5 for 1x1x28x28 and 10 classes (LeCun et al., 1998), with rectifiers.

    Its channel counts (6, 16, 120, 84) are no multiples of a VTA block, and it averages where
    newer networks take the maximum.
    """
    net = Network("lenet5", seed)
    x = net.input("input", (1, 1, 28, 28))
    x = net.relu("relu1", net.conv("conv1", x, 6, 5, pads=2, bias=True))
    x = net.average_pool("pool1", x, 2, stride=2)
    x = net.relu("relu2", net.conv("conv2", x, 16, 5, bias=True))
    x = net.average_pool("pool2", x, 2, stride=2)
    x = net.flatten("flatten", x)
    x = net.relu("relu3", net.dense("fc1", x, 120))
    x = net.relu("relu4", net.dense("fc2", x, 84))
    net.output("output", net.dense("fc3", x, 10, spread=4.0))
    return net.model()


def mlp(seed: int) -> onnx.ModelProto:
    """Three dense layers, 784-256-128-10: an image of 28x28 as one vector of 1x784."""
    net = Network("mlp", seed)
    x = net.input("input", (1, 784))
    x = net.relu("relu1", net.dense("fc1", x, 256))
    x = net.relu("relu2", net.dense("fc2", x, 128))
    net.output("output", net.dense("fc3", x, 10, spread=4.0))
    return net.model()


def autoencoder(seed: int) -> onnx.ModelProto:
    """The autoencoder of MLPerf Tiny for anomalies in sound: 640-128x4-8-128x4-640.

    Topology of `keras_model.py` (mlcommons/tiny, anomaly_detection).
    """
    net = Network("autoencoder", seed)
    x = net.input("input", (1, 640))
    for number, units in enumerate((128, 128, 128, 128, 8, 128, 128, 128, 128), start=1):
        x = net.batch_norm(f"bn{number}", net.dense(f"dense{number}", x, units))
        x = net.relu(f"relu{number}", x)
    net.output("output", net.dense("dense10", x, 640))
    return net.model()


def squeezenet(seed: int) -> onnx.ModelProto:
    """SqueezeNet 1.1 for 1x3x224x224 and 1000 classes, as torchvision's.

    Iandola et al., 2016, arXiv:1602.07360.
    """
    net = Network("squeezenet", seed)
    x = net.input("input", (1, 3, 224, 224))
    x = net.relu("relu", net.conv("conv1", x, 64, 3, stride=2, bias=True))
    for number, narrow in enumerate((16, 16, 32, 32, 48, 48, 64, 64), start=2):
        if number in (2, 4, 6):
            x = net.max_pool(f"pool{number // 2}", x, 3, stride=2, ceil=True)
        x = _fire(net, f"fire{number}", x, narrow)
    x = net.relu("relu10", net.conv("conv10", x, 1000, 1, bias=True))
    net.output("output", net.flatten("flatten", net.global_average_pool("avgpool", x)))
    return net.model()


def _fire(net: Network, name: str, x: Tensor, narrow: int) -> Tensor:
    """Few channels by 1x1, then four times as many by 1x1 and as many again by 3x3."""
    x = net.relu(f"{name}.relu", net.conv(f"{name}.squeeze", x, narrow, 1, bias=True))
    sides = [
        net.relu(f"{name}.relu{k}", net.conv(f"{name}.expand{k}", x, 4 * narrow, k, pads=k // 2,
                                              bias=True))
        for k in (1, 3)
    ]  # fmt: skip
    return net.concat(f"{name}.concat", *sides)
