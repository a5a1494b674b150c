"""A float model in 8 bits, as ONNX Runtime quantizes it: its own answer to our integers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from .rival import Case, RivalError


@lru_cache(maxsize=4)
def quantize(case: Case, *, signed: bool = False) -> bytes:
    """Return the model of a case with uint8 activations and int8 weights by channel, as a file.

    With `signed` activations are int8.

    It is ONNX Runtime's `quantize_static` in QDQ form, calibrated on the samples that our own
    integers come from. Weights use 7 of their 8 bits, with which its products are exact on every
    CPU (`reduce_range`); none is faster for it.

    Raises
    ------
    RivalError
        When ONNX Runtime is missing or cannot quantize the model.
    """
    try:
        import onnxruntime.quantization as ort
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise RivalError(f"quantizing with ONNX Runtime needs {error.name}") from None

    class Reader(ort.CalibrationDataReader):
        def __init__(self) -> None:
            self.samples = iter(case.samples)

        def get_next(self) -> Any:
            return next(self.samples, None)

    with tempfile.TemporaryDirectory() as folder, _silent():
        prepared, quantized = (Path(folder) / name for name in ("prepared.onnx", "int8.onnx"))
        try:
            # Shapes are static, so the symbolic inference (which needs SymPy) has nothing to find.
            quant_pre_process(str(case.model), str(prepared), skip_symbolic_shape=True)
            ort.quantize_static(
                str(prepared),
                str(quantized),
                Reader(),
                quant_format=ort.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=ort.QuantType.QInt8 if signed else ort.QuantType.QUInt8,
                weight_type=ort.QuantType.QInt8,
            )
        except Exception as error:  # onnxruntime and onnx raise classes that share no base
            raise RivalError(f"ONNX Runtime could not quantize {case.model}: {error}") from None
        return quantized.read_bytes()


@contextmanager
def _silent() -> Generator[None]:
    """Leave out what its logger has to say, which is advice to whoever calls it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
