"""`python -m vtakit.hw`: write the accelerator as Verilog."""

import argparse
import sys
from pathlib import Path

from ..isa.config import ConfigError, load_config
from ..isa.files import replacing


def main() -> int:
    """Run from the command line; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m vtakit.hw",
        description="Write the accelerator as Verilog.",
        epilog="example: python -m vtakit.hw --config tiny -o vta.v",
    )
    parser.add_argument("--config", default="default", help="a preset or a JSON file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.v")
    options = parser.parse_args()
    try:
        from .verilog import write_verilog

        text = write_verilog(load_config(options.config))
        with replacing(options.output) as file:
            file.write(text.encode())
    except ImportError as error:
        print(f"vtakit.hw: {error}: pip install 'vtakit[hw]'", file=sys.stderr)
        return 2
    except (ConfigError, OSError) as error:
        print(f"vtakit.hw: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
