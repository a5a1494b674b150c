"""A network on VTA: compiled to a module, run on the engine, every layer checked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .network import peak_memory_bytes, prepare_simulator
from .ran import Ran

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..compiler.build import Compiled
    from ..compiler.graph import Graph
    from ..isa.config import Config
    from ..runtime.drivers.find import DeviceOptions
    from ..runtime.session import RunReport


def run_on_vta(
    graph: Graph,
    arrays: Mapping[str, NDArray[Any]],
    machine: Config,
    engine: str,
    options: DeviceOptions,
    say: Callable[[str], None],
    *,
    tries: int,
    on_cpu: Collection[str] = (),
    cpu_macs: float | None = None,
    module: Path | None = None,
) -> Ran:
    """Run an integer graph; write the module where that is asked for."""
    from ..compiler.cache import cached_module
    from ..compiler.check import check_run
    from ..runtime.drivers.find import open_device
    from ..runtime.session import Session
    from .report import network_report, print_layers

    say("preparing the simulator; the first time LLVM compiles it")
    begun = perf_counter()
    prepare_simulator(machine, engine)
    prepared_after = perf_counter() - begun
    begun = perf_counter()
    compiled, kept = cached_module(
        graph,
        machine,
        keep=True,
        measured=tries,
        on_cpu=on_cpu,
        cpu_macs=cpu_macs,
        progress=lambda layer, done, total: say(f"compiled {layer} ({done}/{total})"),
    )
    compiled_after = perf_counter() - begun
    memory = peak_memory_bytes()
    if module:
        compiled.module.save(module)
    say(f"running on {engine}")
    with (
        open_device(engine, machine, options) as device,
        Session(compiled.module, device) as session,
    ):
        report = session.run(arrays)
        say("checking")
        check = check_run(compiled, session, report, arrays)
    return Ran(
        rows=network_report(compiled, report),
        outputs=report.outputs,
        check=check,
        against="integer reference",
        unit="layers",
        seconds={"prepare": prepared_after, "compile": compiled_after, "run": report.seconds},
        show=print_layers,
        lines={"compiled": _how(kept, memory)},
        config=machine.to_json(),
        facts={"compiled": {"from_cache": kept, "peak_memory_bytes": memory}},
        write_trace=partial(_write_trace, compiled, report),
    )


def _how(kept: bool, memory: int) -> str:
    """Say where the module is from and what it took."""
    source = "taken from the cache" if kept else "anew"
    return f"{source}, in {memory / 1e6:,.0f} MB at most"


def _write_trace(compiled: Compiled, report: RunReport, path: Path) -> None:
    from ..runtime.module import DeviceStep
    from ..sim.trace import Run, write_traces

    streams = [step.stream for step in compiled.module.steps if isinstance(step, DeviceStep)]
    runs = [
        Run(stream.insns, result, [(mark.layer, mark.begin) for mark in stream.marks])
        for stream, result in zip(streams, report.results, strict=True)
    ]
    write_traces(path, runs, compiled.module.config)
