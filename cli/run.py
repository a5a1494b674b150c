"""`vtakit run`: an ONNX network on an engine, checked, and reported by layer."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .network import closeness, finite, load_arrays, network_inputs, prepare_simulator
from .options import (
    BatchOption,
    CalibrationOption,
    ConfigOption,
    InputsOption,
    JsonOption,
    MemoryLatencyOption,
    ModelArgument,
    UsageError,
    WaveOption,
    choose,
)
from .output import print_json, print_line, progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..compiler.build import Compiled
    from ..compiler.check import Check
    from ..isa.config import Config
    from ..runtime.session import RunReport

ENGINES = ("sim", "functional", "rtl")
LATER_ENGINES = ("cpu", "cuda")


def run(
    model: ModelArgument,
    config: ConfigOption = None,
    engine: Annotated[
        str,
        typer.Option(
            help="sim counts cycles; functional leaves time out and is faster; rtl is the hardware "
            "itself, compiled by Verilator."
        ),
    ] = "sim",
    inputs: InputsOption = None,
    calibration: CalibrationOption = None,
    seed: Annotated[
        int,
        typer.Option(help="Where random inputs come from, and what hardware holds first.", min=0),
    ] = 0,
    batch: BatchOption = None,
    save: Annotated[
        Path | None, typer.Option(metavar="OUT.npz", help="Write the outputs by name.")
    ] = None,
    module: Annotated[
        Path | None,
        typer.Option(metavar="OUT.vta", help="Write the compiled network, to be loaded again."),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Write a timeline, for Perfetto.")
    ] = None,
    memory_latency: MemoryLatencyOption = None,
    wave: WaveOption = None,
    tries: Annotated[
        int,
        typer.Option(help="Tilings of each layer that the cycle model compares.", min=1),
    ] = 6,
    as_json: JsonOption = False,
) -> int:
    """Compile an ONNX network, run it on an engine, check every layer, report by layer.

    Exit status 1 when a result differs from the independent evaluation of the same network.

    Example: vtakit run examples/digits/digits.onnx
    """
    choose("--engine", engine, ENGINES, LATER_ENGINES)
    if engine == "functional" and (trace or memory_latency is not None):
        option = "--trace" if trace else "--memory-latency"
        raise UsageError(f"{option} needs --engine sim; functional has no clock")
    if wave and engine != "rtl":
        raise UsageError(f"--wave needs --engine rtl; {engine} has no wires")
    from ..compiler.build import build_module
    from ..compiler.check import check_run
    from ..compiler.network import load_network
    from ..isa.config import load_config
    from ..runtime.drivers.find import DeviceOptions, open_device
    from ..runtime.session import Session

    machine = load_config(config or "default")
    _check_outputs(
        [path for path in (model, inputs, calibration) if path],
        {"--save": save, "--module": module, "--trace": trace, "--wave": wave},
    )
    console = progress()
    with console.status(f"reading {model}") as status:
        begun = perf_counter()
        samples = load_arrays(calibration, "--calibration") if calibration else None
        network = load_network(model, calibration=samples, batch=batch, seed=seed)
        if samples and not network.was_float:
            print_line(f"vtakit run: {model} is quantized already: --calibration is not used")
        arrays = network_inputs(network, inputs, seed)
        read_after = perf_counter() - begun
        status.update("preparing the simulator; the first time LLVM compiles it")
        begun = perf_counter()
        prepare_simulator(machine, engine)
        prepared_after = perf_counter() - begun
        begun = perf_counter()

        def show(layer: str, done: int, total: int) -> None:
            status.update(f"compiled {layer} ({done}/{total})")

        compiled = build_module(network.integers, machine, keep=True, measured=tries, progress=show)
        compiled_after = read_after + perf_counter() - begun
        if module:
            compiled.module.save(module)
        status.update(f"running on {engine}")
        options = DeviceOptions(
            memory_latency=memory_latency, seed=seed, wave=wave, say=status.update
        )
        with (
            open_device(engine, machine, options) as device,
            Session(compiled.module, device) as session,
        ):
            report = session.run(arrays)
            status.update("checking")
            check = check_run(compiled, session, report, arrays)
        against_float = _against_float(model, report.outputs, arrays)
    if save:
        _save(save, report.outputs)
    if trace:
        _trace(trace, compiled, report)
    seconds = {"prepare": prepared_after, "compile": compiled_after, "run": report.seconds}
    _print(model, machine, engine, compiled, report, check, against_float, seconds, as_json=as_json)
    return 0 if check.equal else 1


def _check_outputs(given: list[Path], outputs: Mapping[str, Path | None]) -> None:
    """Refuse, before all the work, files that could not be written or that are read."""
    taken = {path.resolve(): str(path) for path in given}
    for option, path in outputs.items():
        if path is None:
            continue
        if path.is_dir():
            raise UsageError(f"{option} {path} is a folder; give the name of a file")
        if not path.parent.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {path.parent}; make it first")
        if not os.access(path.parent, os.W_OK):
            raise UsageError(f"{option} {path}: the folder {path.parent} cannot be written to")
        other = taken.setdefault(path.resolve(), option)
        if other != option:
            raise UsageError(f"{option} {path} would write over {other}; give another name")


def _against_float(
    model: Path, outputs: Mapping[str, NDArray[Any]], inputs: Mapping[str, NDArray[Any]]
) -> dict[str, float | None] | None:
    """Compare with ONNX Runtime on the model as given; None where it is missing or cannot.

    What is not finite is None: JSON has no name for it.
    """
    try:
        import onnxruntime
    except ImportError:
        print_line("vtakit run: no comparison in float; pip install onnxruntime would do")
        return None
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Without it, int8 products saturate in 16 bits on x86 without VNNI.
        options.add_session_config_entry("session.x64quantprecision", "1")
        session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        results: Any = session.run(names, dict(inputs))
    except Exception as error:  # onnxruntime raises classes of its own that share no base
        print_line(f"vtakit run: ONNX Runtime could not run {model}: {error}")
        return None
    cosine, difference = closeness(outputs, dict(zip(names, results, strict=True)))
    return {"cosine": finite(cosine), "max_abs_difference": finite(difference)}


def _save(path: Path, outputs: Mapping[str, NDArray[Any]]) -> None:
    """Write an .npz file; `np.savez` has no place for outputs named as its own parameters."""
    from zipfile import ZipFile

    import numpy as np

    from ..isa.files import replacing

    with replacing(path) as file, ZipFile(file, "w") as archive:
        for name, array in outputs.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _trace(path: Path, compiled: Compiled, report: RunReport) -> None:
    from ..runtime.module import DeviceStep
    from ..sim.trace import Run, write_traces

    streams = [step.stream for step in compiled.module.steps if isinstance(step, DeviceStep)]
    runs = [
        Run(stream.insns, result, [(mark.layer, mark.begin) for mark in stream.marks])
        for stream, result in zip(streams, report.results, strict=True)
    ]
    write_traces(path, runs, compiled.module.config)


def _print(
    model: Path,
    machine: Config,
    engine: str,
    compiled: Compiled,
    report: RunReport,
    check: Check,
    against_float: dict[str, float | None] | None,
    seconds: dict[str, float],
    *,
    as_json: bool,
) -> None:
    from .report import network_report, print_layers

    rows = network_report(compiled, report)
    if as_json:
        print_json(
            {
                "model": str(model),
                "config": machine.to_json(),
                "engine": engine,
                "checked": {
                    "against": "integer reference",
                    "equal": check.equal,
                    "max_abs_difference": finite(check.max_abs_difference),
                    "layers_compared": check.compared,
                    "layers_differing": list(check.layers),
                },
                "float": against_float,
                **rows.document(),
                "seconds": seconds,
            }
        )
        return
    print_layers(rows)
    verdict = "equal" if check.equal else f"DIFFERENT in {', '.join(check.layers)}"
    print(f"checked      {check.compared} layers on VTA against the integer reference: {verdict}")
    if against_float is not None:
        cosine, difference = (
            "not finite" if value is None else f"{value:.5g}" for value in against_float.values()
        )
        print(
            f"float        cosine {cosine}, largest difference {difference}, against ONNX Runtime"
        )
    print(
        f"seconds      prepare the simulator {seconds['prepare']:.1f}, compile the network "
        f"{seconds['compile']:.1f}, run {seconds['run']:.2f}"
    )
