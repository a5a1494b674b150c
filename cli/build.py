"""`vtakit build`: a network compiled for a CPU, this one or another, to a file."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from .model import PRECISIONS, check_outputs, read_graph
from .options import (
    NATIVE,
    BatchOption,
    CalibrationOption,
    JsonOption,
    ModelArgument,
    TargetOption,
    choose,
)
from .output import print_json, progress


def build(
    model: ModelArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The file to write; else MODEL.native here."
        ),
    ] = None,
    target: TargetOption = None,
    precision: Annotated[
        str,
        typer.Option(help="int8 is the integer network; float32 is a float model as given."),
    ] = "int8",
    calibration: CalibrationOption = None,
    batch: BatchOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compile a whole network for a CPU, by default this one, and write it to one file.

    What runs it there is vtakit too, without its compiler: `runtime.native` (the README shows how).

    Example: vtakit build examples/digits/digits.onnx --target aarch64+dotprod -o digits.native
    """
    from ..compiler.cpu.cache import cached_native
    from ..compiler.cpu.targets import target as cpu_of
    from ..runtime.native.programfile import save

    choose("--precision", precision, PRECISIONS)
    cpu = cpu_of(target or NATIVE)
    path = output or Path(f"{model.stem}.native")
    check_outputs([one for one in (model, calibration) if one], {"--output": path})
    begun = perf_counter()
    with progress().status(f"reading {model}") as status:
        _, graph = read_graph("build", model, precision, calibration, batch, seed=0)
        status.update("compiling with LLVM")
        program = cached_native(graph, cpu)
    save(program, path)
    code_bytes = len(program.code.object_code)
    if as_json:
        print_json(
            {
                "model": str(model),
                "file": str(path),
                "precision": precision,
                "target": target or NATIVE,
                "triple": cpu.triple,
                "cpu": cpu.name,
                "features": [name for name in cpu.features.split(",") if name.startswith("+")],
                "bytes": {
                    "code": code_bytes,
                    "constants": len(program.constants),
                    "arena": program.arena_bytes,
                    "file": path.stat().st_size,
                },
                "seconds": perf_counter() - begun,
            }
        )
    else:
        print(
            f"{path}: {program.name} in {precision} for {cpu.architecture}, {target or cpu.name}; "
            f"{code_bytes:,} bytes of code, {len(program.constants):,} of constants, "
            f"{program.arena_bytes:,} to run in"
        )
