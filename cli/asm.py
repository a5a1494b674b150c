"""`vtakit asm`: text to a program file."""

from pathlib import Path
from typing import Annotated

import typer

from .options import ConfigOption, JsonOption, UsageError
from .output import print_json


def asm(
    source: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The text; - is standard input.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The program file; FILE with .npz when left out."),
    ] = None,
    config: ConfigOption = None,
    manual: Annotated[
        bool, typer.Option("--manual", help="Print the language and every format, in Markdown.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a program file from text.

    The text's own .config stands before --config. `vtakit asm --manual` describes the language.

    Example: echo FINISH | vtakit asm - -o nothing.npz
    """
    import sys

    from ..isa.config import load_config
    from ..isa.source import assemble

    machine = load_config(config or "default")
    if manual:
        from ..isa.manual import manual as text_of

        text = text_of(machine)
        if as_json:
            print_json({"config": machine.to_json(), "manual": text})
        else:
            sys.stdout.write(text)
        return
    if source is None:
        raise UsageError("needs a FILE of program text, or - for standard input")
    if source == Path("-") and output is None:
        raise UsageError("needs -o PROGRAM.npz, since standard input has no name")
    name = "standard input" if source == Path("-") else str(source)
    try:
        text = sys.stdin.read() if source == Path("-") else source.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(
            f"{name} is no text; `vtakit disasm` makes text from a program file"
        ) from None
    target = output or source.with_suffix(".npz")
    if target == source:
        raise UsageError(f"would write over its own input, {source}; give another name with -o")
    program = assemble(text, config=machine, source=name)
    program.save(target)
    if as_json:
        print_json(
            {
                "program": str(target),
                "config": program.config.to_json(),
                "instructions": len(program.insns),
                "dram_bytes": program.dram_before.size,
            }
        )
    else:
        sys.stdout.write(
            f"{target}: {len(program.insns)} instructions, {program.dram_before.size} bytes of "
            f"DRAM\n"
        )
