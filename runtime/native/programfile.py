"""The file that holds a network compiled for a CPU: a ZIP of JSON, object code and constants."""

import json
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, cast

from .code import NativeCode
from .errors import NativeError
from .program import NativeArray, NativeProgram

FORMAT = "vtakit native program"
VERSION = 2
DAMAGED = (
    zipfile.BadZipFile,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What reading a damaged ZIP or document may raise."""
MANIFEST, OBJECT, CONSTANTS = "program.json", "code.o", "constants.bin"


def save(program: NativeProgram, path: str | Path) -> None:
    """Write a program to one file, which exists whole or not at all; the same bytes each time.

    Raises
    ------
    NativeError
        When it cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            with open(partial, "xb") as file, zipfile.ZipFile(file, "w") as archive:
                write_program(program, archive)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise NativeError(f"cannot write native program {str(path)!r}: {error.strerror}") from None


def write_program(program: NativeProgram, archive: zipfile.ZipFile) -> None:
    """Add a program's files to an archive that is being written."""
    code = program.code
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": program.name,
        "arena_bytes": program.arena_bytes,
        "shared": program.shared,
        "inputs": [vars(item) for item in program.inputs],
        "outputs": [vars(item) for item in program.outputs],
        "code": {
            "triple": code.triple,
            "cpu": code.cpu,
            "features": code.features,
            "entries": code.entries,
            "layers": code.layers,
        },
    }
    parts = {
        MANIFEST: json.dumps(document).encode(),
        OBJECT: code.object_code,
        CONSTANTS: program.constants,
    }
    for name, data in parts.items():
        archive.writestr(zipfile.ZipInfo(name), data)


def load(path: str | Path) -> NativeProgram:
    """Read what `save` wrote; its checksums are held against the bytes.

    Raises
    ------
    NativeError
        When there is no such file, it is no native program, is damaged, or is of another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return read_program(archive)
    except OSError as error:
        reason = error.strerror or str(error)
        raise NativeError(f"cannot read native program {str(path)!r}: {reason}") from None
    except DAMAGED as error:
        raise NativeError(
            f"{str(path)!r} is no native program, or a damaged one: {error}"
        ) from None


def read_program(archive: zipfile.ZipFile) -> NativeProgram:
    """Return the program whose files an archive holds.

    Raises
    ------
    NativeError
        When it is of another version.
    KeyError, TypeError, ValueError or what `zipfile` raises
        When it is damaged.
    """
    document, object_code, constants = (archive.read(n) for n in (MANIFEST, OBJECT, CONSTANTS))
    found = cast("dict[str, Any]", json.loads(document))
    if (found["format"], found["version"]) != (FORMAT, VERSION):
        raise NativeError(f"it is {found['format']} {found['version']}, not {FORMAT} {VERSION}")
    code = found["code"]
    return NativeProgram(
        found["name"],
        NativeCode(
            object_code,
            code["triple"],
            code["cpu"],
            code["features"],
            tuple(code["entries"]),
            tuple(tuple(layers) for layers in code["layers"]),
        ),
        found["arena_bytes"],
        constants,
        tuple(_array(item) for item in found["inputs"]),
        tuple(_array(item) for item in found["outputs"]),
        found["shared"],
    )


def _array(item: Any) -> NativeArray:
    return NativeArray(item["name"], item["dtype"], tuple(item["shape"]), item["offset"])
