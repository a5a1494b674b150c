"""`vtakit bitstream`: the accelerator for a board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import ConfigOption, JsonOption
from .output import print_json, progress

if TYPE_CHECKING:
    from ..bitstreams.boards import BoardFacts
    from ..bitstreams.build import Built
    from ..isa.config import Config


def bitstream(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="As `vtakit boards` lists them.")],
    config: ConfigOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The folder to write to; else vtakit-BOARD."),
    ] = None,
    clock: Annotated[
        float | None,
        typer.Option(
            "--clock", metavar="MHZ", help="The accelerator's clock; else the board's.", min=1
        ),
    ] = None,
    no_build: Annotated[
        bool, typer.Option("--no-build", help="Only write the sources and scripts.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Build a bitstream of the accelerator, with memory and a link to a host, for a board.

    It needs no vendor's tools: pip install 'vtakit[bitstreams]'. Exit status 1 when the clock that
    was asked for is not reached.

    Example: vtakit bitstream ulx3s-85f --no-build --out /tmp/ulx3s
    """
    from ..bitstreams.boards import board_named
    from ..bitstreams.build import build
    from ..isa.config import load_config

    facts = board_named(board)
    machine = load_config(config or facts.preset)
    folder = out or Path(f"vtakit-{board}")
    with progress().status(f"building {board}") as status:
        built = build(
            facts, machine, folder, clock_mhz=clock, tools=not no_build, say=status.update
        )
    if as_json:
        print_json(_document(facts, machine, built))
    else:
        _print(facts, built)
    return 0 if no_build or built.met else 1


def _document(facts: BoardFacts, machine: Config, built: Built) -> dict[str, Any]:
    return {
        "board": facts.name,
        "config": machine.to_json(),
        "bitstream": str(built.bitstream) if built.bitstream else None,
        "folder": str(built.folder),
        "sha256": built.sha256 or None,
        "timing": {
            "clock_mhz": built.clock_mhz,
            "achieved_mhz": built.achieved_mhz or None,
            "met": built.met if built.bitstream else None,
        },
        "resources": built.resources,
        "seconds": built.seconds,
        "tools": built.tools,
    }


def _print(facts: BoardFacts, built: Built) -> None:
    seconds = ", ".join(f"{stage} {after:.0f}" for stage, after in built.seconds.items())
    if built.bitstream is None:
        print(f"sources     {built.folder}")
        print(f"seconds     {seconds}")
        return
    verdict = "met" if built.met else "NOT met"
    print(f"board       {facts.title} ({facts.chip})")
    print(
        f"timing      {verdict}: {built.clock_mhz:.2f} MHz asked for, "
        f"{built.achieved_mhz:.2f} MHz reached"
    )
    for kind, (used, available) in built.resources.items():
        print(f"{kind:11} {used:,} of {available:,} ({100 * used / available:.0f} %)")
    print(f"seconds     {seconds}")
    for tool, said in built.tools.items():
        print(f"tool        {tool}: {said}")
    print(f"sha256      {built.sha256}")
    print(f"bitstream   {built.bitstream}")
