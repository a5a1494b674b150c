"""The table of subcommands, and how an error becomes one line and an exit status."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any

import typer

from ..isa.config import nearest
from .interruption import answered
from .options import UsageError
from .output import print_line, progress

BAD_INPUT = 2
BUG = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130
READER_LEFT = 141  # as a shell reports a program that SIGPIPE ended

DEBUG_VARIABLE = "VTAKIT_DEBUG"


@dataclass(frozen=True)
class Subcommand:
    """A subcommand: its module has a function of the same name, whose signature is its options."""

    name: str
    help: str


SUBCOMMANDS = (
    Subcommand("run", "Compile an ONNX network, run it on an engine, check it, report by layer."),
    Subcommand("build", "Compile an ONNX network for a CPU, this one or another, to a file."),
    Subcommand("replay", "Run recorded instruction streams and compare what they leave."),
    Subcommand("compare", "Compare a network on VTA with the same on this CPU, by layer."),
    Subcommand("asm", "Make a program file from text."),
    Subcommand("disasm", "Show a program file as text."),
    Subcommand("verilog", "Write the accelerator as Verilog."),
    Subcommand("boards", "List the boards that a bitstream can be built for."),
    Subcommand("bitstream", "Build a bitstream of the accelerator for a board."),
    Subcommand("doctor", "List the engines and toolchains of this machine, and what is missing."),
)
NAMES = [row.name for row in SUBCOMMANDS]


class _Raised(Exception):
    """Carries what a subcommand raised past typer, which has answers of its own to some of it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]

    def answer() -> None:
        progress().show_cursor()
        _status(_name(words), KeyboardInterrupt())

    with answered(answer, INTERRUPTED):
        status = _run(words)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = READER_LEFT
    if status == READER_LEFT:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _run(words: Sequence[str]) -> int:
    asked, name = _asked(words), _name(words)
    try:
        if asked is not None and asked not in NAMES:
            raise UsageError(f"{asked!r} is no subcommand{nearest(asked, NAMES)}")
        application = _application(asked)
        result = application(list(words), prog_name="vtakit", standalone_mode=False)
    except _Raised as raised:
        return _status(name, raised.error)
    except SystemExit as left:  # typer, when --help is cut off by a closed pipe
        return READER_LEFT if left.code else 0
    except BaseException as error:
        return _status(name, error)
    return result if isinstance(result, int) else 0


def _asked(words: Sequence[str]) -> str | None:
    return next((word for word in words if not word.startswith("-")), None)


def _name(words: Sequence[str]) -> str:
    """Return what its messages begin with."""
    asked = _asked(words)
    return f"vtakit {asked}" if asked in NAMES else "vtakit"


def _application(asked: str | None) -> typer.Typer:
    """Return the command with all its subcommands, of which only the one asked for is real."""
    application = typer.Typer(
        name="vtakit",
        help="Compile networks for the VTA tensor accelerator and run them on a simulated one.",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback()(_top)
    for row in SUBCOMMANDS:
        if row.name == asked:
            module = import_module(f".{row.name}", __package__)
            application.command(row.name)(_carrying(getattr(module, row.name)))
        else:
            application.command(row.name, help=row.help)(_top)
    return application


def _top() -> None:
    """Compile networks for the VTA tensor accelerator and run them on a simulated one."""


def _carrying(function: Callable[..., int | None]) -> Callable[..., int]:
    @wraps(function)
    def call(*values: Any, **named: Any) -> int:
        try:
            return function(*values, **named) or 0
        except BaseException as error:
            raise _Raised(error) from None

    return call


def _status(name: str, error: BaseException) -> int:
    """Print the one line that an error deserves and return the exit status."""
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    if isinstance(error, _USAGE):
        usage: Any = error
        print_line(f"{name}: {usage.format_message()} Try: {name} --help")
        return BAD_INPUT
    match error:
        case KeyboardInterrupt() | typer.Abort():
            print_line(f"{name}: interrupted")
            return INTERRUPTED
        case typer.Exit():
            return error.exit_code
        case BrokenPipeError():
            return READER_LEFT
        case _ if _is_ours(error):
            print_line(f"{name}: {error}")
            return BAD_INPUT
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            print_line(f"{name}: {where}{error.strerror or error}")
            return BAD_INPUT
        case ModuleNotFoundError() if error.name and not _in_vtakit(error.name):
            print_line(
                f"{name}: needs the Python package {error.name}; vtakit doctor says how to get it"
            )
            return BAD_INPUT
        case MemoryError():
            print_line(f"{name}: this machine has too little memory for that")
            return BAD_INPUT
        case _:
            print_line(
                f"{name}: this is a bug of vtakit's: {type(error).__name__}: {error} "
                f"({_place(error)}). Please report it with what {DEBUG_VARIABLE}=1 shows."
            )
            return BUG


_USAGE: type = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")
"""The base of typer's own errors, which has changed its home from click to typer."""


def _is_ours(error: BaseException) -> bool:
    """Whether an error was declared by a layer of ours: its message is for the user."""
    return _in_vtakit(type(error).__module__)


def _in_vtakit(module: str) -> bool:
    return module.partition(".")[0] == __name__.partition(".")[0]


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "nowhere"
    folder, _, file = frames[-1].filename.rpartition(os.sep)
    return f"{folder.rpartition(os.sep)[2]}/{file}:{frames[-1].lineno}"
