"""What `make demo` runs: the digits' accuracy on VTA, then ResNet-18 by layer."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import zoo
from files import load_arrays, save_arrays, save_model
from vtakit.cli.main import main as vtakit
from vtakit.compiler.build import build_module
from vtakit.compiler.network import load_network
from vtakit.isa.config import Config
from vtakit.runtime.drivers.find import open_device
from vtakit.runtime.session import Session

DIGITS = Path(__file__).parent / "digits"


def digits(config: Config) -> tuple[float, float, int]:
    """Return the share of held-back digits right in float and on VTA, and cycles for one image."""
    model = DIGITS / "digits.onnx"
    test = load_arrays(DIGITS / "test.npz")
    images, labels = test["images"], test["labels"]
    network = load_network(model, calibration=load_arrays(DIGITS / "calibration.npz"))
    module = build_module(network.integers, config).module
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    runtime = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (name,), (output,) = module.inputs, module.outputs
    right_float = right_vta = 0
    cycles = 0
    with open_device("sim", config) as device, Session(module, device) as session:
        for image, label in zip(images, labels, strict=True):
            inputs = {name: image[np.newaxis]}
            report = session.run(inputs)
            assert report.cycles is not None
            cycles = report.cycles
            right_vta += int(np.argmax(report.outputs[output]) == label)
            scores = np.asarray(runtime.run([output], inputs)[0])
            right_float += int(np.argmax(scores) == label)
    return right_float / len(labels), right_vta / len(labels), cycles


def resnet18() -> int:
    """Run ResNet-18 with `vtakit run` and return its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        model, calibration = Path(folder) / "resnet18.onnx", Path(folder) / "calibration.npz"
        inputs = Path(folder) / "inputs.npz"
        save_model(zoo.build("resnet18"), model)
        save_arrays(zoo.samples("resnet18", 4), calibration)
        save_arrays(zoo.samples("resnet18", 1, seed=1), inputs)
        command = ["run", str(model), "--calibration", str(calibration), "--inputs", str(inputs)]
        try:
            vtakit(command)
        except SystemExit as left:
            return left.code if isinstance(left.code, int) else 1
        return 0


def main() -> int:
    """Run both and return the exit status: 0 when every result was right."""
    config = Config()
    print("Handwritten digits (examples/digits), on the default machine:")
    in_float, on_vta, cycles = digits(config)
    print(f"  accuracy in float {100 * in_float:.2f} %, on VTA {100 * on_vta:.2f} %")
    print(f"  {cycles:,} cycles an image\n")
    print("ResNet-18, 224 x 224, seeded weights, on the same machine:")
    sys.stdout.flush()
    return resnet18()


if __name__ == "__main__":
    sys.exit(main())
