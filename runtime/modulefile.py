"""The file that holds a module: a ZIP of JSON, NumPy arrays and the host's object code."""

import json
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from ..isa.config import Config, ConfigError
from .buffers import Segment, Tensor
from .module import (
    Array,
    Copy,
    DeviceStep,
    HostStep,
    Module,
    ModuleError,
    Step,
)
from .native.errors import NativeError
from .native.programfile import read_program, write_program
from .stream import Mark, Stream

FORMAT = "vtakit module"
VERSION = 3
MANIFEST = "module.json"

_Json: TypeAlias = dict[str, Any]


def write_module(module: Module, file: IO[bytes]) -> None:
    """Write a module to a binary file."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def put(name: str, array: Array) -> str:
            # ZipInfo without a date: the same module makes the same file.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)
            return name

        document: _Json = {
            "format": FORMAT,
            "version": VERSION,
            "name": module.name,
            "config": module.config.to_json(),
            "arena_bytes": module.arena_bytes,
            "tensors": [vars(tensor) for tensor in module.tensors],
            "segments": [
                {"offset": segment.offset, "data": put(f"segments/{i}", segment.data)}
                for i, segment in enumerate(module.segments)
            ],
            "steps": [
                {"kind": type(step).__name__, **_step_document(f"steps/{i}", step, put)}
                for i, step in enumerate(module.steps)
            ],
        }
        archive.writestr(zipfile.ZipInfo(MANIFEST), json.dumps(document, indent=1))
        write_program(module.host, archive)


def _step_document(prefix: str, step: Step, put: Callable[[str, Array], str]) -> _Json:
    if isinstance(step, HostStep):
        copies = [vars(copy) for copy in step.copies]
        return {"entry": step.entry, "copies": copies, "reads": step.reads}
    return {
        "insns": put(f"{prefix}/insns", step.stream.insns),
        "uops": put(f"{prefix}/uops", step.stream.uops),
        "marks": [mark._asdict() for mark in step.stream.marks],
    }


def read_module(archive: zipfile.ZipFile) -> Module:
    """Read a module from an open archive.

    Raises
    ------
    ModuleError
        When the archive holds something else, or another version, or not all of it.
    """
    try:
        document = json.loads(archive.read(MANIFEST))
    except (KeyError, json.JSONDecodeError, UnicodeDecodeError):
        raise ModuleError(f"no module: it holds no readable {MANIFEST}") from None
    if not isinstance(document, dict) or cast(_Json, document).get("format") != FORMAT:
        raise ModuleError(f"no module: its {MANIFEST} does not say {FORMAT!r}")
    version = cast(_Json, document).get("version")
    if version != VERSION:
        raise ModuleError(
            f"a module of format version {version!r}; this program reads version {VERSION}; "
            f"compile the network again"
        )
    try:
        return _module(cast(_Json, document), archive)
    except KeyError as error:
        raise ModuleError(f"a damaged module: {error} is missing") from None
    except (TypeError, AttributeError, ValueError, ConfigError, NativeError) as error:
        if isinstance(error, ModuleError):
            raise
        raise ModuleError(f"a damaged module: {error}") from None


def _module(document: _Json, archive: zipfile.ZipFile) -> Module:
    def get(name: str) -> Array:
        with archive.open(f"{name}.npy") as member:
            return cast(Array, np.lib.format.read_array(member, allow_pickle=False))

    config = Config.from_json(document["config"])
    return Module(
        name=document["name"],
        config=config,
        host=read_program(archive),
        arena_bytes=document["arena_bytes"],
        tensors=tuple(
            Tensor(item["name"], item["offset"], item["dtype"], tuple(item["shape"]))
            for item in document["tensors"]
        ),
        segments=tuple(
            Segment(item["offset"], _uint8(get(item["data"]), 1)) for item in document["segments"]
        ),
        steps=tuple(_step(item, config, get) for item in document["steps"]),
    )


def _step(item: Mapping[str, Any], config: Config, get: Callable[[str], Array]) -> Step:
    match item["kind"]:
        case "HostStep":
            copies = tuple(Copy(**copy) for copy in item["copies"])
            reads = tuple((int(offset), int(size)) for offset, size in item["reads"])
            return HostStep(item["entry"], copies, reads)
        case "DeviceStep":
            marks = tuple(Mark(m["layer"], m["begin"], m["macs"]) for m in item["marks"])
            insns = _uint8(get(item["insns"]), 2)
            return DeviceStep(Stream(config, insns, _uint8(get(item["uops"]), 1), marks))
        case kind:
            raise ModuleError(f"a damaged module: {kind!r} is no kind of step")


def _uint8(array: Array, dimensions: int) -> npt.NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.ndim != dimensions:
        raise ModuleError(
            f"a damaged module: an array is {array.dtype} {array.shape} where uint8 with "
            f"{dimensions} dimensions should be"
        )
    return array.view(np.uint8)
