"""What the tests of the examples share: running a model through ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import onnx
import pytest

Arrays = dict[str, npt.NDArray[np.float32]]
Run = Callable[[onnx.ModelProto, Mapping[str, npt.NDArray[np.float32]]], Arrays]


@pytest.fixture(scope="session")
def run() -> Run:
    """A function: model and stacked samples -> stacked outputs by name, one sample at a time."""
    ort = pytest.importorskip("onnxruntime")

    def run_samples(
        model: onnx.ModelProto, samples: Mapping[str, npt.NDArray[np.float32]]
    ) -> Arrays:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        count = len(next(iter(samples.values())))
        rows = [
            session.run(None, {name: values[i : i + 1] for name, values in samples.items()})
            for i in range(count)
        ]
        names = [output.name for output in session.get_outputs()]
        return {
            name: np.concatenate(column)
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        }

    return run_samples
