"""Networks quantized by ONNX Runtime: the outputs of the VTA run beside ONNX Runtime's own.

    python benchmarks/agreement.py [NAME ...] [--pictures N] [--layers] [--json]

NAME is one of the zoo or `digits`. ONNX Runtime runs with its default optimizations; where it would
run int8 activations partly in float (`session`), it is asked for its int8 kernels. `within 1` is
the share of outputs at most one unit of their last place apart.
"""

import sys
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import onnx
import zoo
from files import load_arrays, load_model
from numpy.typing import NDArray
from quantize import Activations, Scheme, quantize

NAMES = ("digits", "mlp", "lenet5", "resnet8", "resnet18")
DIGITS = Path(__file__).parents[1] / "examples" / "digits"
SCHEMES = [Scheme(kind, channels) for kind, channels in product(Activations, (True, False))]

Arrays = dict[str, NDArray[Any]]


def pictures(name: str, count: int) -> Arrays:
    """Pictures to compare on, stacked, by the input's name; not those of the calibration."""
    if name == "digits":
        test = load_arrays(DIGITS / "test.npz")
        (key,) = (key for key in test if key in _digits_inputs())
        return {key: test[key][:count]}
    return zoo.samples(name, count, seed=1)


def _digits_inputs() -> list[str]:
    return [value.name for value in load_model(DIGITS / "digits.onnx").graph.input]


def quantized(name: str, scheme: Scheme) -> onnx.ModelProto:
    """The network as `quantize_static` writes it."""
    if name == "digits":
        calibration = load_arrays(DIGITS / "calibration.npz")
        return quantize(load_model(DIGITS / "digits.onnx"), calibration, scheme)
    calibration = zoo.samples(name, zoo.CALIBRATION_SAMPLES)
    return quantize(zoo.build(name), calibration, scheme)


def last_place(model: onnx.ModelProto) -> float:
    """The scale of the output."""
    scales = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    output = model.graph.output[0].name
    (node,) = (node for node in model.graph.node if output in node.output)
    return float(scales[node.input[1]])
