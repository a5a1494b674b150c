"""Networks that give images: tiny YOLOv3, a U-Net, the generator of DCGAN."""

from __future__ import annotations

import onnx
from network import Network, Tensor

LEAK = 0.1
ANCHORS, CLASSES = 3, 80


def yolo_tiny(seed: int) -> onnx.ModelProto:
    """Tiny YOLOv3 for 1x3x416x416, layer for layer as `yolov3-tiny.cfg` of darknet.

    Redmon and Farhadi, 2018, arXiv:1804.02767. Two outputs, of 13x13 and of 26x26 cells; what
    decodes boxes is no part of the network.
    """
    net = Network("yolo-tiny", seed)
    x = net.input("input", (1, 3, 416, 416))
    for number, channels in enumerate((16, 32, 64, 128), start=1):
        x = net.max_pool(f"pool{number}", _leaky(net, f"conv{number}", x, channels, 3), 2, stride=2)
    fine = _leaky(net, "conv5", x, 256, 3)
    x = _leaky(net, "conv6", net.max_pool("pool5", fine, 2, stride=2), 512, 3)
    x = net.max_pool("pool6", x, 2, stride=1, pad=(0, 0, 1, 1))
    x = _leaky(net, "conv8", _leaky(net, "conv7", x, 1024, 3), 256, 1)
    outputs = ANCHORS * (5 + CLASSES)
    coarse = net.conv("conv10", _leaky(net, "conv9", x, 512, 3), outputs, 1, bias=True)
    x = net.resize_nearest("upsample", _leaky(net, "conv11", x, 128, 1), 2)
    x = _leaky(net, "conv12", net.concat("concat", x, fine), 256, 3)
    net.output("output", coarse)
    net.output("output26", net.conv("conv13", x, outputs, 1, bias=True))
    return net.model()


def _leaky(net: Network, name: str, x: Tensor, channels: int, kernel: int) -> Tensor:
    x = net.conv(name, x, channels, kernel, pads=kernel // 2)
    return net.leaky_relu(f"{name}.leaky", net.batch_norm(f"{name}.bn", x), LEAK)


def unet(seed: int) -> onnx.ModelProto:
    """A U-Net for 1x3x128x128 and two classes: four levels of 32 to 256 channels, 512 below.

    Ronneberger et al., 2015, arXiv:1505.04597, with padded convolutions and normalisation, as most
    implementations have it.
    """
    net = Network("unet", seed)
    x = net.input("input", (1, 3, 128, 128))
    skips: list[Tensor] = []
    for level, channels in enumerate((32, 64, 128, 256), start=1):
        skips.append(_double(net, f"down{level}", x, channels))
        x = net.max_pool(f"pool{level}", skips[-1], 2, stride=2)
    x = _double(net, "bottom", x, 512)
    for level, channels in ((4, 256), (3, 128), (2, 64), (1, 32)):
        x = net.conv_transpose(f"up{level}", x, channels, 2, stride=2, bias=True)
        x = _double(net, f"merge{level}", net.concat(f"concat{level}", skips.pop(), x), channels)
    net.output("output", net.conv("head", x, 2, 1, bias=True))
    return net.model()


def _double(net: Network, name: str, x: Tensor, channels: int) -> Tensor:
    for part in (1, 2):
        x = net.conv(f"{name}.conv{part}", x, channels, 3, pads=1)
        x = net.relu(f"{name}.relu{part}", net.batch_norm(f"{name}.bn{part}", x))
    return x


def dcgan(seed: int) -> onnx.ModelProto:
    """The generator of DCGAN: 100 random numbers to 1x3x64x64, as PyTorch's example has it.

    Radford et al., 2015, arXiv:1511.06434.
    """
    net = Network("dcgan", seed)
    x = net.input("input", (1, 100, 1, 1))
    for number, channels in enumerate((512, 256, 128, 64), start=1):
        stride, pad = (1, 0) if number == 1 else (2, 1)
        x = net.conv_transpose(f"up{number}", x, channels, 4, stride=stride, pad=pad)
        x = net.relu(f"relu{number}", net.batch_norm(f"bn{number}", x))
    x = net.conv_transpose("up5", x, 3, 4, stride=2, pad=1)
    net.output("output", net.tanh("tanh", x))
    return net.model()
