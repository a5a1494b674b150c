"""Which rivals there are, and who takes part."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from .cuda import cuda, cuda_float
from .native import native, native_float
from .onnx_runtime import as_given, quantized
from .openvino import openvino_as_given, openvino_quantized
from .rival import Case, Factory, Rival, RivalError


@dataclass(frozen=True)
class Candidate:
    """A rival by its name for people, and what makes it."""

    title: str
    make: Factory


CANDIDATES = (
    Candidate("LLVM", native),
    Candidate("LLVM, float32", native_float),
    Candidate("CUDA", cuda),
    Candidate("CUDA, float32", cuda_float),
    Candidate("ONNX Runtime", as_given),
    Candidate("ONNX Runtime, int8", quantized),
    Candidate("OpenVINO", openvino_as_given),
    Candidate("OpenVINO, int8", openvino_quantized),
)
"""In the order of the table."""


@dataclass(frozen=True)
class Missing:
    """A candidate that does not take part, and why."""

    title: str
    reason: str


@contextmanager
def entered(
    case: Case,
    candidates: Sequence[Candidate] = CANDIDATES,
    say: Callable[[str], None] = lambda text: None,
) -> Generator[tuple[list[Rival], list[Missing]]]:
    """Give the rivals that are prepared for a case, and those that are not; close them at last."""
    rivals: list[Rival] = []
    missing: list[Missing] = []
    with ExitStack() as stack:
        for candidate in candidates:
            say(f"preparing {candidate.title}")
            try:
                rival = candidate.make(case)
                if rival is None:
                    continue
                stack.callback(rival.close)
                rival.prepare()
            except RivalError as error:
                missing.append(Missing(candidate.title, " ".join(str(error).split())))
                continue
            rivals.append(rival)
        yield rivals, missing
