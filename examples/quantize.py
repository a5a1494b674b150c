"""Quantize an ONNX model to 8 bits with ONNX Runtime, as most people would:

    python examples/quantize.py MODEL.onnx -c SAMPLES.npz -o QUANTIZED.onnx

gives `quantize_static`'s QDQ form. Weights use 7 of their 8 bits unless --full-range says
otherwise. On x86 ONNX Runtime makes int8 activations uint8 and multiplies them by int8 weights
with an instruction that adds two products in 16 bits and saturates, unless the CPU has VNNI: with
weights up to 127 its results can then be wrong by the whole range; with weights up to 64 they are
exact on every CPU. A session with the entry `session.x64quantprecision` = `1` is exact for both.

Activations are uint8, for which a session on x86 has int8 kernels of everything; of a network with
int8 activations it runs layers whose input several read in float, unless told otherwise
(`session.qdqisint8allowed`).
"""

from __future__ import annotations

import argparse
import enum
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from files import ExampleError, load_arrays, load_model, save_model

Samples = Mapping[str, npt.NDArray[np.float32]]


class Activations(enum.Enum):
    """Type of quantized activations; both have zero points."""

    INT8 = "int8"
    UINT8 = "uint8"


@dataclass(frozen=True)
class Scheme:
    """How to quantize; weights are symmetric int8.

    Parameters
    ----------
    activations : Activations
        Their type.
    per_channel : bool
        A scale for each output channel of the weights instead of one for all.
    full_range : bool
        Weights from -127 to 127 instead of -64 to 64 (see above).
    """

    activations: Activations = Activations.UINT8
    per_channel: bool = True
    full_range: bool = False


DEFAULT = Scheme()


def quantize(
    model: onnx.ModelProto, calibration: Samples, scheme: Scheme = DEFAULT
) -> onnx.ModelProto:
    """The model with 8-bit weights and activations, calibrated by the range of each value.

    Parameters
    ----------
    calibration : mapping
        Samples by the model's input names, stacked on the first axis; each is run as a batch of 1.
    scheme : Scheme
        Types and ranges.

    Raises
    ------
    ExampleError
        ONNX Runtime is missing, or the samples do not fit the model.
    """
    try:
        import onnxruntime.quantization as ort
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ExampleError(
            f"quantizing needs ONNX Runtime ({error}): pip install onnxruntime"
        ) from error
    feeds = _feeds(model, calibration)

    class Reader(ort.CalibrationDataReader):
        def get_next(self) -> dict[str, npt.NDArray[np.float32]]:
            return next(feeds, {})

    with tempfile.TemporaryDirectory() as folder:
        given, prepared, quantized = (
            Path(folder) / name for name in ("given.onnx", "prepared.onnx", "quantized.onnx")
        )
        onnx.save(model, given)  # a model passed as an object would be changed
        # Shapes are static, so the symbolic inference (which needs SymPy) has nothing to find.
        quant_pre_process(str(given), str(prepared), skip_symbolic_shape=True)
        ort.quantize_static(
            str(prepared),
            str(quantized),
            Reader(),
            quant_format=ort.QuantFormat.QDQ,
            per_channel=scheme.per_channel,
            reduce_range=not scheme.full_range,
            activation_type=ort.QuantType.QInt8
            if scheme.activations is Activations.INT8
            else ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
        )
        return onnx.load(quantized)


def add_options(parser: argparse._ActionsContainer) -> None:
    """The options of a `Scheme`, for a command."""
    parser.add_argument(
        "--activations",
        choices=[kind.value for kind in Activations],
        default=DEFAULT.activations.value,
        help="type of quantized activations (%(default)s)",
    )
    parser.add_argument(
        "--per-tensor",
        dest="per_channel",
        action="store_false",
        help="one scale for a whole weight tensor",
    )
    parser.add_argument(
        "--per-channel",
        dest="per_channel",
        action="store_true",
        default=DEFAULT.per_channel,
        help="a scale for each output channel of the weights (default)",
    )
    parser.add_argument(
        "--full-range",
        action="store_true",
        help="8-bit weights instead of 7-bit: ONNX Runtime itself is inexact then without VNNI",
    )


def chosen_scheme(options: argparse.Namespace) -> Scheme:
    """What the options of `add_options` say."""
    return Scheme(Activations(options.activations), options.per_channel, options.full_range)


def _feeds(
    model: onnx.ModelProto, calibration: Samples
) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    """One feed per sample, checked against the model's inputs."""
    shapes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in model.graph.input
    }
    if set(shapes) != set(calibration):
        raise ExampleError(
            f"the samples are called {', '.join(calibration) or 'nothing'}; "
            f"the model's inputs are {', '.join(shapes)}"
        )
    counts = {len(values) for values in calibration.values()}
    if len(counts) != 1 or counts == {0}:
        numbers = ", ".join(f"{name} {len(values)}" for name, values in calibration.items())
        raise ExampleError(f"samples: {numbers}; need at least one, as many for each input")
    for name, shape in shapes.items():
        if calibration[name].shape[1:] != shape[1:] or shape[0] != 1:
            raise ExampleError(
                f"samples of {name} are {calibration[name].shape}, stacked on the first axis; "
                f"the model takes {shape}, and must take a batch of 1"
            )
    return (
        {name: values[index : index + 1] for name, values in calibration.items()}
        for index in range(counts.pop())
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit status."""
    parser = argparse.ArgumentParser(
        description="Quantize an ONNX model to 8 bits with ONNX Runtime (QDQ).",
        epilog="example: python examples/quantize.py examples/digits/digits.onnx "
        "-c examples/digits/calibration.npz -o digits_int8.onnx",
    )
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument(
        "-c", "--calibration", type=Path, required=True, metavar="SAMPLES.npz",
        help="samples by input name, stacked on the first axis",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="QUANTIZED.onnx")
    add_options(parser)
    options = parser.parse_args(arguments)
    try:
        model, calibration = load_model(options.model), load_arrays(options.calibration)
        save_model(quantize(model, calibration, chosen_scheme(options)), options.output)
    except (ExampleError, OSError) as error:
        print(f"quantize.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
