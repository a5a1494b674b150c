"""`vtakit verilog`: the accelerator as Verilog."""

from pathlib import Path
from typing import Annotated

import typer

from .options import ConfigOption, JsonOption, UsageError
from .output import print_json


def verilog(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE.v", help="The file to write."),
    ] = Path("vta.v"),
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the accelerator of a configuration as one Verilog file, module `vta`.

    Its ports are an AXI4 master, an AXI4-Lite slave with the registers (`vtakit asm --manual` has
    their table), an interrupt, and a trace of starts and ends.

    Example: vtakit verilog --config tiny -o vta.v
    """
    from hashlib import sha256

    from ..isa.config import load_config
    from ..isa.files import replacing

    machine = load_config(config or "default")
    try:
        from ..hw.verilog import TOP, write_verilog
    except ImportError as error:
        raise UsageError(f"needs Amaranth ({error}): pip install 'vtakit[hw]'") from error
    text = write_verilog(machine).encode()
    with replacing(output) as file:
        file.write(text)
    if as_json:
        print_json(
            {
                "file": str(output),
                "module": TOP,
                "config": machine.to_json(),
                "bytes": len(text),
                "sha256": sha256(text).hexdigest(),
            }
        )
    else:
        print(f"{output}: module {TOP}, {len(text):,} bytes")
