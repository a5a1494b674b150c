"""Write a network of the zoo as ONNX: `python examples/zoo.py resnet18 -o resnet18.onnx`.

The weights are random but seeded, and keep activations in range (network.py says how): good for
checking and timing, useless for telling cats from dogs. The same seed gives the same file.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from files import ExampleError, save_arrays, save_model
from quantize import add_options, chosen_scheme, quantize
from zoo_images import dcgan, unet, yolo_tiny
from zoo_mobilenet import ds_cnn, mobilenetv1, mobilenetv1_quarter, mobilenetv2
from zoo_resnet import resnet8, resnet18, resnet34, resnet50
from zoo_small import autoencoder, lenet5, mlp, squeezenet

NETWORKS: dict[str, Callable[[int], onnx.ModelProto]] = {
    "autoencoder": autoencoder,
    "dcgan": dcgan,
    "ds-cnn": ds_cnn,
    "lenet5": lenet5,
    "mlp": mlp,
    "mobilenetv1": mobilenetv1,
    "mobilenetv1-0.25": mobilenetv1_quarter,
    "mobilenetv2": mobilenetv2,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet8": resnet8,
    "squeezenet": squeezenet,
    "unet": unet,
    "yolo-tiny": yolo_tiny,
}

CALIBRATION_SAMPLES = 8


def build(name: str, seed: int = 0) -> onnx.ModelProto:
    """The network called `name`, in float32, with weights from `seed`.

    Raises
    ------
    ExampleError
        There is no network of that name; the message lists those there are.
    """
    if name not in NETWORKS:
        raise ExampleError(f"no network is called {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name](seed)


def samples(name: str, count: int, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Random pictures for the network called `name`: its input's name -> (count, ...).

    Each is a sum of noise at several scales, smooth as photographs are (white noise would average
    out to the same result for every picture), with mean 0 and variance 1. What has no rows and
    columns is white: the seeds of generated images are.
    """
    network = build(name).graph.input[0]
    shape = tuple(dim.dim_value for dim in network.type.tensor_type.shape.dim)[1:]
    random = np.random.default_rng([seed, count])
    channels = shape[0] if len(shape) == 3 else 1
    side = math.isqrt(math.prod(shape))
    rows, cols = shape[1:] if len(shape) == 3 else (side, side)
    if rows * cols == 1 or rows * cols * channels != math.prod(shape):
        return {network.name: random.standard_normal((count, *shape)).astype(np.float32)}
    pictures = _pictures(random, (count, channels, rows, cols))
    return {network.name: pictures.reshape(count, *shape)}


def _pictures(
    random: np.random.Generator, shape: tuple[int, int, int, int]
) -> npt.NDArray[np.float32]:
    """Noise (N, C, H, W): every octave, from the whole picture to a pixel, weighs the same."""
    count, channels, rows, cols = shape
    total = np.zeros(shape)
    for octave in range((max(rows, cols) - 1).bit_length() + 1):
        cells = min(2**octave, rows), min(2**octave, cols)
        coarse = random.standard_normal((count, channels, *cells))
        total += _stretch(_stretch(coarse, rows, axis=2), cols, axis=3)
    total -= total.mean(axis=(1, 2, 3), keepdims=True)
    total /= total.std(axis=(1, 2, 3), keepdims=True)
    return total.astype(np.float32)


def _stretch(values: npt.NDArray[np.float64], size: int, axis: int) -> npt.NDArray[np.float64]:
    """Resample an axis to `size` points by linear interpolation, ends on ends."""
    at = np.linspace(0, values.shape[axis] - 1, size)
    left = np.floor(at).astype(int)
    right = np.ceil(at).astype(int)
    weight = (at - left).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    return values.take(left, axis) * (1 - weight) + values.take(right, axis) * weight


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit status."""
    parser = argparse.ArgumentParser(
        description="Write a network with seeded random weights as ONNX.",
        epilog="example: python examples/zoo.py resnet8 -o resnet8.onnx --quantized",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"one of {', '.join(NETWORKS)}")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.onnx", help="where to write it")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the weights (0)")
    parser.add_argument(
        "--samples", type=Path, metavar="FILE.npz", help="also write random pictures for it"
    )
    parser.add_argument(
        "--count",
        type=int,
        default=CALIBRATION_SAMPLES,
        metavar="N",
        help=f"how many pictures, to write or to calibrate with ({CALIBRATION_SAMPLES})",
    )
    group = parser.add_argument_group("quantization", "by ONNX Runtime's quantize_static, as QDQ")
    group.add_argument("--quantized", action="store_true", help="8-bit, calibrated on pictures")
    add_options(group)
    options = parser.parse_args(arguments)
    try:
        _write(options)
    except (ExampleError, OSError) as error:
        print(f"zoo.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _write(options: argparse.Namespace) -> None:
    if options.list:
        print("\n".join(NETWORKS))
        return
    if options.name is None or options.output is None:
        raise ExampleError("give a NAME and -o FILE.onnx, or --list for the names")
    if options.count < 1 or options.seed < 0:
        given = f"--count {options.count} --seed {options.seed}"
        raise ExampleError(f"{given}: the count is at least 1, the seed at least 0")
    model = build(options.name, options.seed)
    pictures = samples(options.name, options.count, options.seed)
    if options.quantized:
        model = quantize(model, pictures, chosen_scheme(options))
    save_model(model, options.output)
    if options.samples is not None:
        save_arrays(pictures, options.samples)


if __name__ == "__main__":
    sys.exit(main())
