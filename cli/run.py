"""`vtakit run`: an ONNX network on an engine, checked, and reported by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .model import PRECISIONS, check_outputs, read_graph
from .network import closeness, finite, network_inputs
from .options import (
    NATIVE,
    BatchOption,
    CalibrationOption,
    ConfigOption,
    InputsOption,
    JsonOption,
    MemoryLatencyOption,
    ModelArgument,
    TargetOption,
    UsageError,
    WaveOption,
    choose,
    cpus_for,
)
from .output import print_json, print_line, progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..runtime.cuda.gpu import Gpu

WHOLE = ("cpu", "cuda")
"""Engines that run the whole network as their own code, without VTA."""

ENGINES = ("sim", "functional", "rtl", *WHOLE)


def run(
    model: ModelArgument,
    config: ConfigOption = None,
    engine: Annotated[
        str,
        typer.Option(
            help="sim counts cycles; functional leaves time out and is faster; rtl is the hardware "
            "itself, compiled by Verilator; cpu runs the whole network on this CPU, compiled by "
            "LLVM, and times its layers; so does cuda, on an NVIDIA GPU. These two have no VTA, "
            "so that --config and --tries mean nothing there. A board's name (vtakit boards) is "
            "that board, at the other end of a serial line."
        ),
    ] = "sim",
    inputs: InputsOption = None,
    calibration: CalibrationOption = None,
    seed: Annotated[
        int,
        typer.Option(help="Where random inputs come from, and what hardware holds first.", min=0),
    ] = 0,
    batch: BatchOption = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="With --engine cpu: threads, each pinned to a core; else 1.",
            min=1,
            show_default=False,
        ),
    ] = None,
    target: TargetOption = None,
    precision: Annotated[
        str,
        typer.Option(
            help="int8 is the integer network; with --engine cpu or cuda float32 is a float model "
            "as given."
        ),
    ] = "int8",
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
    on_cpu: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER", help="A layer that runs on the CPU though VTA could; may be repeated."
        ),
    ] = None,
    cpu_macs: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="MACs that the CPU beside VTA does in a cycle of VTA: a layer that would take VTA "
            "longer runs there. Without it whatever VTA can run runs on it.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(
            metavar="PORT",
            help="With a board as engine: its serial port; else the only one with its USB bridge.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Compile an ONNX network, run it on an engine, check every layer, report by layer.

    Exit status 1 when a result differs from the independent evaluation of the same network.

    Example: vtakit run examples/digits/digits.onnx
    """
    from ..bitstreams.boards import BOARDS

    choose("--engine", engine, (*ENGINES, *BOARDS))
    choose("--precision", precision, PRECISIONS)
    of_vta = {
        "--trace": trace,
        "--memory-latency": memory_latency,
        "--module": module,
        "--wave": wave,
        "--on-cpu": on_cpu,
        "--cpu-macs": cpu_macs,
    }
    of_whole = {"--precision float32": precision == "float32" or None}
    if cpu_macs is not None and not (0 < cpu_macs < float("inf")):
        raise UsageError(f"--cpu-macs {cpu_macs:g}: it has to be a number above 0, such as 8")
    _check_engine(engine, of_vta, of_whole, {"--threads": threads, "--target": target})
    facts = BOARDS.get(engine)
    if port is not None and facts is None:
        raise UsageError(f"--port needs a board as --engine, one of {', '.join(BOARDS)}")
    from ..isa.config import load_config
    from ..runtime.drivers.find import DeviceOptions
    from ..runtime.drivers.serial_port import SerialOptions
    from .run_cpu import run_on_cpu
    from .run_cuda import run_on_cuda
    from .run_vta import run_on_vta

    machine = load_config(config or (facts.preset if facts else "default"))
    cpus = cpus_for(threads or 1) if engine == "cpu" else ()
    gpu = _gpu() if engine == "cuda" else None
    check_outputs(
        [path for path in (model, inputs, calibration) if path],
        {"--save": save, "--module": module, "--trace": trace, "--wave": wave},
    )
    console = progress()
    with console.status(f"reading {model}") as status:
        begun = perf_counter()
        source, graph = read_graph("run", model, precision, calibration, batch, seed)
        arrays = network_inputs(source, inputs, seed)
        read_after = perf_counter() - begun
        if gpu is not None:
            ran = run_on_cuda(graph, arrays, precision, gpu, status.update)
        elif engine == "cpu":
            ran = run_on_cpu(
                graph, arrays, precision, target or NATIVE, cpus, threads or 1, status.update
            )
        else:
            ran = run_on_vta(
                graph,
                arrays,
                machine,
                "serial" if facts else engine,
                DeviceOptions(
                    memory_latency=memory_latency,
                    seed=seed,
                    wave=wave,
                    serial=SerialOptions(facts.name, facts.baud, facts.usb, port)
                    if facts
                    else None,
                    say=status.update,
                ),
                status.update,
                tries=tries,
                on_cpu=on_cpu or (),
                cpu_macs=cpu_macs,
                module=module,
            )
        distance = _against_float(model, ran.outputs, arrays)
    if save:
        _save(save, ran.outputs)
    if trace and ran.write_trace:
        ran.write_trace(trace)
    compiled_after = ran.seconds["compile"] + read_after
    ran = replace(ran, seconds={**ran.seconds, "compile": compiled_after})
    if as_json:
        print_json(ran.document(model, engine, distance))
    else:
        ran.print(distance)
    return 0 if ran.check.equal else 1


def _gpu() -> Gpu:
    from ..runtime.cuda.gpu import Gpu

    return Gpu()


def _check_engine(
    engine: str,
    of_vta: Mapping[str, object],
    of_whole: Mapping[str, object],
    of_cpu: Mapping[str, object],
) -> None:
    """Refuse options that the engine has no use for; those that are None were not given."""
    for option, value in of_cpu.items():
        if value is not None and engine == "cuda":
            raise UsageError(f"{option} needs --engine cpu; cuda has neither threads nor a target")
    of_whole = {**of_cpu, **of_whole}
    for option, value in of_vta.items() if engine in WHOLE else of_whole.items():
        if value is None:
            continue
        if engine in WHOLE:
            needed = "rtl" if option == "--wave" else "sim"
            raise UsageError(f"{option} needs --engine {needed}; {engine} runs no VTA")
        raise UsageError(f"{option} needs --engine cpu; {engine} runs the integer network on VTA")
    for option in ("--trace", "--memory-latency") if engine not in ("sim", "rtl") else ():
        if of_vta[option] is not None:
            why = "functional has no clock" if engine == "functional" else f"{engine} has none"
            raise UsageError(f"{option} needs --engine sim; {why}")
    if of_vta["--wave"] is not None and engine != "rtl":
        raise UsageError(f"--wave needs --engine rtl; {engine} has no wires")


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
