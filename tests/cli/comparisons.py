"""Comparisons made of claimed times: three layers, and rivals that say how long they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from vtakit.cli.compare_report import Comparison, Setting, comparison
from vtakit.cli.rivals.contest import Missing
from vtakit.cli.rivals.measure import Measured
from vtakit.cli.rivals.vta import VtaCost
from vtakit.cli.rivals.watch import MachineFacts
from vtakit.isa.config import PRESETS

from .rivals.fakes import FakeRival

LAYERS = (
    ("conv1", "Conv", "vta", 2000),
    ("softmax", "Softmax", "cpu", 0),
    ("fc", "Gemm", "vta", 64),
)
OUTPUTS = {"y": np.arange(4.0)}

llvm = FakeRival(
    "llvm", by_layer={"conv1": 3, "softmax": 1, "fc": 1}, results=OUTPUTS, ours=True,
    exact=True, name="vtakit's LLVM code",
)  # fmt: skip
llvm_float = FakeRival(
    "llvm-float32", by_layer={"conv1": 5, "fc": 1}, results=OUTPUTS, ours=True,
    arithmetic="float32", name="vtakit's LLVM code",
)  # fmt: skip
ort = FakeRival(
    "ort", by_layer={"conv1": 2, "fc": 2}, results=OUTPUTS, arithmetic="float32",
    name="ONNX Runtime 1.32.0",
)  # fmt: skip
ort_int8 = FakeRival(
    "ort-int8", by_layer={"conv1": 1, "fc": 1, "elsewhere": 2}, results={"y": np.arange(4.0) + 1},
    name="ONNX Runtime 1.32.0",
)  # fmt: skip


def facts(**changes: Any) -> MachineFacts:
    """Return a machine with two CPUs, of which the first is used."""
    found: dict[str, Any] = {
        "cpu": "AMD EPYC", "cpus": (0,), "of": 2, "shared_cores": False, "watched": True,
        "load_average": 0.25,
    }  # fmt: skip
    return MachineFacts(**{**found, **changes})


def made(
    samples: Mapping[str, Sequence[float]],
    *,
    rivals: Sequence[FakeRival] = (llvm, llvm_float, ort, ort_int8),
    vta: Mapping[str, Any] | None = None,
    clock_mhz: float = 100.0,
    threads: int = 1,
    machine: MachineFacts | None = None,
    missing: Sequence[Missing] = (),
    rejected: int = 0,
    busy: int = 0,
) -> Comparison:
    """Return the comparison of those rivals for which there are samples.

    VTA takes 1,000,000 cycles for conv1, 500 for fc and 100 for none of them, and its host 0.1 ms
    for softmax and 0.02 ms for packing.
    """
    cost: dict[str, Any] = {
        "cycles": 1_000_600,
        "layers": {"conv1": 1_000_000, "fc": 500},
        "host": {"softmax": 1e-4, "": 2e-5},
        "outputs": OUTPUTS,
        **(vta or {}),
    }
    layers = [
        SimpleNamespace(name=name, kind=kind, device=device, macs=macs)
        for name, kind, device, macs in LAYERS
    ]
    graph = SimpleNamespace(nodes=(), outputs=())
    compiled: Any = SimpleNamespace(layers=layers, graph=graph)
    setting = Setting(
        "nets/resnet.onnx", "default", PRESETS["default"], clock_mhz, threads, machine or facts()
    )
    taking = [rival for rival in rivals if rival.key in samples]
    seconds = {rival.key: list(samples[rival.key]) for rival in taking}
    measured = Measured(seconds, {key: 7 for key in seconds}, rejected, busy)
    return comparison(setting, compiled, VtaCost(**cost), taking, measured, missing)
