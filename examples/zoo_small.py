"""Small networks without shortcuts: LeNet-5 and a multilayer perceptron."""

from __future__ import annotations

import onnx
from network import Network


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
