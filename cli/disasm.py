"""`vtakit disasm`: a program file to text."""

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption
from .output import print_json


def disasm(
    program: Annotated[Path, typer.Argument(metavar="PROGRAM.npz", help="The program file.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write the text to this file instead of printing it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a program file as text, from which `vtakit asm` makes the identical program.

    Example: echo FINISH | vtakit asm - -o nothing.npz && vtakit disasm nothing.npz
    """
    import sys

    from ..isa.asm import disassemble_instructions
    from ..isa.files import replacing
    from ..isa.listing import disassemble
    from ..isa.program import Program

    contents = Program.load(program)
    text = disassemble(contents)
    if output is not None:
        with replacing(output) as stream:
            stream.write(text.encode())
    if as_json:
        print_json(
            {
                "program": str(program),
                "config": contents.config.to_json(),
                "note": contents.note,
                "instructions": disassemble_instructions(contents.insns, contents.config),
                "text": text,
            }
        )
    elif output is None:
        sys.stdout.write(text)
