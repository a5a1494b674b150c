"""Options that several subcommands take."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..isa.config import PRESETS, nearest


class UsageError(ValueError):
    """A command line that cannot be followed."""


ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The network.")]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="CONFIG",
        help=f"The machine: a preset's name ({', '.join(PRESETS)}) or a JSON file, ours or the "
        f"original VTA's.",
    ),
]
InputsOption = Annotated[
    Path | None,
    typer.Option(
        "--inputs", metavar="FILE.npz", help="Arrays by the model's input names; else random."
    ),
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="FILE.npz",
        help="Samples, stacked on the first axis, to quantize a float model with; else random.",
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option("--batch", help="The batch size, where the model leaves it open.", min=1),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on standard output."),
]
NATIVE = "native"
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="CPU",
        help="The CPU that code is compiled for: native, x86-64, x86-64-v2, -v3, -v4 or aarch64, "
        "with what else it has, as x86-64-v4+avx512vnni, x86-64-v3+avxvnni, aarch64+dotprod.",
        show_default=False,
    ),
]
MemoryLatencyOption = Annotated[
    int | None,
    typer.Option(
        "--memory-latency",
        metavar="N",
        min=0,
        help="Cycles from a memory request to its first word.",
    ),
]
WaveOption = Annotated[
    Path | None,
    typer.Option(
        "--wave", metavar="FILE", help="With --engine rtl: a waveform, FILE.fst or FILE.vcd."
    ),
]


def choose(option: str, value: str, known: Sequence[str]) -> str:
    """Return `value` when it is one of `known`.

    Raises
    ------
    UsageError
        When it is not.
    """
    if value in known:
        return value
    raise UsageError(f"{option} {value!r} does not exist{nearest(value, known)}")


def cpus_for(threads: int) -> tuple[int, ...]:
    """Return the CPUs to pin threads to, one each; none where the operating system cannot.

    Raises
    ------
    UsageError
        When there are fewer.
    """
    from .rivals.cpus import usable

    cpus = usable()
    if cpus and threads > len(cpus):
        raise UsageError(
            f"--threads {threads}: this process may use {len(cpus)} "
            f"CPU{'s' * (len(cpus) > 1)}, and each thread needs one of its own"
        )
    return cpus[:threads]
