"""`vtakit compare`: one network on VTA and on this machine's CPU, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .network import load_arrays, network_inputs, prepare_simulator
from .options import (
    BatchOption,
    CalibrationOption,
    ConfigOption,
    InputsOption,
    JsonOption,
    ModelArgument,
    UsageError,
    cpus_for,
)
from .output import print_json, print_line, progress, still_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..compiler.build import Compiled
    from ..compiler.network import Network
    from .rivals.rival import Case

CLOCK_MHZ = 100.0
"""That of the original VTA on its first board, the PYNQ-Z1."""

ROUNDS = 30


def compare(
    model: ModelArgument,
    config: ConfigOption = None,
    threads: Annotated[
        int, typer.Option(help="Threads that compute on the CPU, each pinned to a core.", min=1)
    ] = 1,
    clock_mhz: Annotated[
        float | None,
        typer.Option(
            metavar="F", help=f"The clock that VTA's cycles become time with; else {CLOCK_MHZ:g}."
        ),
    ] = None,
    board: Annotated[
        str | None, typer.Option(metavar="NAME", help="Take the clock measured on that board.")
    ] = None,
    repeat: Annotated[
        int, typer.Option(metavar="N", help="Rounds in which everyone takes a turn.", min=3)
    ] = ROUNDS,
    inputs: InputsOption = None,
    calibration: CalibrationOption = None,
    seed: Annotated[int, typer.Option(help="Where random inputs come from.", min=0)] = 0,
    batch: BatchOption = None,
    as_json: JsonOption = False,
) -> int:
    """Compare a network on VTA with the same on this CPU, by layer and in total.

    VTA is the cycle model. Everything else is timed in turns, warm, pinned, and
    again where others disturbed: our own code from LLVM, and ONNX Runtime with the
    fastest of its settings. A float network is compared in int8 and in float32.

    Exit status 1 when our own code for the CPU gives other results than VTA.

    Example: vtakit compare examples/digits/digits.onnx --clock-mhz 150
    """
    clock = _clock(clock_mhz, board)
    cpus = cpus_for(threads)
    from ..compiler.cache import cached_module
    from ..compiler.network import load_network
    from ..isa.config import load_config
    from .compare_report import Setting, comparison
    from .rivals.contest import entered
    from .rivals.cpus import pinned, quieten
    from .rivals.measure import measure
    from .rivals.vta import vta_cost
    from .rivals.watch import Watch, machine

    target = load_config(config or "default")
    facts = machine(cpus)
    with progress().status(f"reading {model}") as status:
        samples = load_arrays(calibration, "--calibration") if calibration else None
        network = load_network(model, calibration=samples, batch=batch, seed=seed)
        if samples and not network.was_float:
            print_line(f"vtakit compare: {model} is quantized already: --calibration is not used")
        arrays = network_inputs(network.source, inputs, seed)
        status.update("preparing the simulator; the first time LLVM compiles it")
        prepare_simulator(target, "sim")
        compiled, _ = cached_module(
            network.integers,
            target,
            progress=lambda layer, done, total: status.update(f"compiled {layer} ({done}/{total})"),
        )
        case = _case(model, network, compiled, arrays, samples, seed, threads, cpus)
    with (
        still_progress() as say,
        pinned(cpus[:1]),
        entered(case, say=say) as (rivals, missing),
    ):
        say("running on the cycle model")
        vta = vta_cost(compiled, arrays)
        found = measure(
            rivals,
            repeat,
            Watch(cpus),
            quieten=quieten if threads > 1 else lambda: None,
            progress=lambda done, total: say(f"round {done}/{total}"),
        )
        say("asking for time by layer")
        setting = Setting(str(model), config or "default", target, clock, threads, facts)
        report = comparison(setting, compiled, vta, rivals, found, missing)
    if as_json:
        print_json(report.document())
    else:
        from .compare_table import print_comparison

        print_comparison(report)
    return int(bool(report.differing))


def _clock(clock_mhz: float | None, board: str | None) -> float:
    if board is not None:
        raise UsageError(
            f"--board {board}: no board's clock has been measured yet; give --clock-mhz"
        )
    if clock_mhz is None:
        return CLOCK_MHZ
    if not 0 < clock_mhz < 1e6:
        raise UsageError(f"--clock-mhz {clock_mhz:g} is no clock; give megahertz, such as 100")
    return clock_mhz


def _case(
    model: Path,
    network: Network,
    compiled: Compiled,
    arrays: dict[str, NDArray[Any]],
    calibration: dict[str, NDArray[Any]] | None,
    seed: int,
    threads: int,
    cpus: Sequence[int],
) -> Case:
    from ..compiler.network import RANDOM_SAMPLES, split_samples
    from ..compiler.passes.quantize import random_samples
    from .rivals.rival import Case

    samples: list[dict[str, NDArray[Any]]] = []
    if network.was_float and calibration is not None:
        samples = split_samples(network.source, calibration)
    elif network.was_float:
        samples = random_samples(network.source, RANDOM_SAMPLES, seed)
    names = dict.fromkeys(layer.name for layer in compiled.layers)
    return Case(model, network, tuple(names), arrays, samples, threads, tuple(cpus))
