"""`vtakit replay`: recorded instruction streams on an engine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonOption, MemoryLatencyOption, UsageError, WaveOption, choose
from .output import print_json, print_line, print_table, progress

if TYPE_CHECKING:
    from ..isa.program import Bytes, Program
    from ..runtime.drivers.find import DeviceOptions
    from ..sim.machine import Result

ENGINES = ("sim", "functional", "rtl")


@dataclass
class Row:
    """What became of one program: an entry of the JSON document."""

    name: str
    match: bool | None = None
    counters_match: bool | None = None
    counters: dict[str, object] | None = None
    cycles: int | None = None
    instructions: list[list[int]] | None = None
    difference: Difference | None = None
    seconds: float | None = None
    error: str | None = None

    @property
    def differs(self) -> bool:
        """Whether the program ran and did not do what is recorded."""
        return self.match is False or self.counters_match is False


@dataclass(frozen=True)
class Difference:
    """Where memory after the run is not what is recorded: the first such byte, and how many."""

    address: int
    expected: int
    found: int
    bytes: int


def replay(
    programs: Annotated[
        list[Path], typer.Argument(metavar="PROGRAM.npz ...", help="Program files.")
    ],
    engine: Annotated[
        str,
        typer.Option(
            help="sim counts cycles; functional leaves time out and is faster; rtl is the hardware "
            "itself, compiled by Verilator."
        ),
    ] = "sim",
    memory_latency: MemoryLatencyOption = None,
    seed: Annotated[
        int | None,
        typer.Option(help="With --engine rtl: what the hardware holds first; else zeros.", min=0),
    ] = None,
    wave: WaveOption = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each program there with what it left in DRAM."),
    ] = None,
    timing: Annotated[
        bool, typer.Option("--timing", help="Report each instruction's first and last cycle.")
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write a timeline, for Perfetto, of one program."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Run recorded instruction streams and compare what they leave with what is recorded.

    Exit status 1 when memory or counters differ.

    Example: echo FINISH | vtakit asm - -o nothing.npz && vtakit replay nothing.npz
    """
    choose("--engine", engine, ENGINES)
    if engine == "functional" and (timing or trace or memory_latency is not None):
        option = "--timing" if timing else "--trace" if trace else "--memory-latency"
        raise UsageError(f"{option} needs --engine sim; functional has no clock")
    if engine != "rtl" and (wave or seed is not None):
        raise UsageError(f"{'--wave' if wave else '--seed'} needs --engine rtl")
    for option, file in (("--trace", trace), ("--wave", wave)):
        if file and len(programs) > 1:
            raise UsageError(f"{option} shows one program and there are {len(programs)}")
    if save:
        _check_names(programs)
        save.mkdir(parents=True, exist_ok=True)
    from ..runtime.drivers.find import DeviceOptions

    rows: list[Row] = []
    console = progress()
    for index, path in enumerate(programs, 1):
        with console.status(f"{index}/{len(programs)} {path.stem}") as status:
            options = DeviceOptions(
                memory_latency, record=timing or trace is not None, seed=seed, wave=wave,
                say=status.update,
            )  # fmt: skip
            rows.append(_replay(path, engine, options, save=save, trace=trace))
        if rows[-1].error:
            print_line(f"vtakit replay: {rows[-1].error}")
    if as_json:
        print_json({"programs": [asdict(row) for row in rows]})
    else:
        _print(rows)
    if any(row.error for row in rows):
        return 2
    return int(any(row.differs for row in rows))


def _check_names(programs: list[Path]) -> None:
    first: dict[str, Path] = {}
    for path in programs:
        other = first.setdefault(path.name, path)
        if other is not path:
            raise UsageError(f"--save would write {path.name} twice, for {other} and for {path}")


def _replay(
    path: Path,
    engine: str,
    options: DeviceOptions,
    *,
    save: Path | None,
    trace: Path | None,
) -> Row:
    from ..isa.program import Program, ProgramFileError
    from ..runtime.drivers.find import open_machine
    from ..sim.errors import ProgramError

    row = Row(path.stem)
    try:
        program = Program.load(path)
    except ProgramFileError as error:
        row.error = str(error)
        return row
    size = program.dram_before.size
    with open_machine(engine, program.config, options, dram_bytes=size) as machine:
        machine.dram[:size] = program.dram_before
        start = perf_counter()
        try:
            result = machine.run(
                program.insns, timing=engine != "functional", record=options.record
            )
        except ProgramError as error:
            row.error = f"{path}: {error}"
            return row
        row.seconds = perf_counter() - start
    _compare(row, program, result, machine.dram[:size])
    if options.record and result.starts is not None and result.ends is not None:
        row.instructions = [
            list(pair) for pair in zip(result.starts.tolist(), result.ends.tolist(), strict=True)
        ]
    if save:
        after = replace(
            program,
            dram_after=machine.dram[:size].copy(),
            counters=result.counters.original(),
        )
        after.save(save / path.name)
    if trace:
        from ..sim.trace import write_trace

        write_trace(trace, program.insns, result, program.config)
    return row


def _compare(row: Row, program: Program, result: Result, after: Bytes) -> None:
    import numpy as np

    row.cycles = result.cycles
    row.counters = asdict(result.counters)
    if program.counters is not None:
        found = result.counters.original()
        row.counters_match = all(
            found.get(name) == value for name, value in program.counters.items()
        )
    if program.dram_after is not None:
        wrong = np.flatnonzero(after != program.dram_after)
        row.match = not wrong.size
        if wrong.size:
            address = int(wrong[0])
            row.difference = Difference(
                address, int(program.dram_after[address]), int(after[address]), int(wrong.size)
            )


def _print(rows: list[Row]) -> None:
    from rich.table import Table

    table = Table("program", "memory", "counters", "cycles", "seconds", box=None)
    for column in table.columns[3:]:
        column.justify = "right"
    words = {True: "equal", False: "[red]differ[/]", None: "not recorded"}
    for row in rows:
        if row.error:
            table.add_row(row.name, "[red]error[/]", "", "", "")
            continue
        memory = words[row.match]
        if row.difference:
            where = row.difference
            memory += (
                f": byte {where.address:#x} is {where.found}, not {where.expected}"
                f" ({where.bytes} bytes in all)"
            )
        cycles = "" if row.cycles is None else f"{row.cycles:,}"
        table.add_row(row.name, memory, words[row.counters_match], cycles, f"{row.seconds:.3f}")
    print_table(table)
