"""A program as a file: instructions, the DRAM they start from, and what is known to come out."""

import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from .config import DRAM_ADDRESS_BITS, Config, ConfigError
from .files import replacing

Bytes: TypeAlias = npt.NDArray[np.uint8]

COUNTERS = {
    "inp_load_nbytes": "bytes that LOAD read for the input buffer",
    "wgt_load_nbytes": "bytes that LOAD read for the weight buffer",
    "acc_load_nbytes": "bytes that LOAD ACC and ACC_8BIT filled, counted as 32-bit elements",
    "uop_load_nbytes": "bytes that LOAD read for the micro-op buffer",
    "out_store_nbytes": "bytes that STORE wrote",
    "gemm_counter": "micro-ops that GEMM executed, those that reset left out",
    "alu_counter": "micro-ops that ALU executed",
}
"""The counters of the original VTA, by the names it gives them, and what each counts."""


class ProgramFileError(ValueError):
    """A file that holds no program, or parts that make none."""


@dataclass(frozen=True, eq=False)
class Program:
    """An instruction stream and the memory it works on.

    Parameters
    ----------
    config : Config
        The machine it is for.
    insns : uint8 (n, 16)
        The instructions. They are not part of the DRAM image.
    dram_before : uint8 (bytes)
        DRAM from address 0 on; what lies behind it is zero.
    dram_after : uint8 (bytes) or None
        The same bytes when the program has run, where that is known.
    counters : mapping or None
        The `COUNTERS` of the run, where they are known.
    note, tags, info
        For people: what it exercises, words to find it by, and facts about it.

    Raises
    ------
    ProgramFileError
        For arrays of another type or shape.
    """

    config: Config
    insns: Bytes
    dram_before: Bytes
    dram_after: Bytes | None = None
    counters: Mapping[str, int] | None = None
    note: str = ""
    tags: tuple[str, ...] = ()
    info: Mapping[str, object] = field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        _check_array("insns", self.insns, 2)
        if self.insns.shape[1] != 16:
            raise ProgramFileError(
                f"insns is uint8 {self.insns.shape}; an instruction is 16 bytes, so it must be "
                f"(n, 16)"
            )
        _check_array("dram_before", self.dram_before, 1)
        if self.dram_before.size > 1 << DRAM_ADDRESS_BITS:
            raise ProgramFileError(
                f"dram_before has {self.dram_before.size} bytes; {DRAM_ADDRESS_BITS} bits address "
                f"{1 << DRAM_ADDRESS_BITS}"
            )
        if self.dram_after is not None:
            _check_array("dram_after", self.dram_after, 1)
            if self.dram_after.size != self.dram_before.size:
                raise ProgramFileError(
                    f"dram_after has {self.dram_after.size} bytes and dram_before "
                    f"{self.dram_before.size}; they must be the same piece of memory"
                )

    def __eq__(self, other: object) -> bool:
        """Whether everything is equal, arrays by their contents."""
        if not isinstance(other, Program):
            return NotImplemented
        return (
            (self.config, self.counters, self.note, self.tags, self.info)
            == (other.config, other.counters, other.note, other.tags, other.info)
            and np.array_equal(self.insns, other.insns)
            and np.array_equal(self.dram_before, other.dram_before)
            and (self.dram_after is None) == (other.dram_after is None)
            and (
                self.dram_after is None
                or other.dram_after is None
                or np.array_equal(self.dram_after, other.dram_after)
            )
        )

    def save(self, path: Path) -> None:
        """Write it as an `.npz` file, whole or not at all.

        The configuration is written with the original VTA's keys where those say all of it, else
        with ours.

        Raises
        ------
        OSError
            When the file cannot be written.
        """
        vta = self.config.to_vta_json()
        own = self.config.to_json()
        arrays: dict[str, Any] = {
            "config": json.dumps(vta if Config.from_json(vta) == self.config else own),
            "insns": self.insns,
            "dram_before": self.dram_before,
        }
        if self.dram_after is not None:
            arrays["dram_after"] = self.dram_after
        if self.counters is not None:
            arrays["counters"] = json.dumps(dict(self.counters))
        if self.note:
            arrays["note"] = self.note
        if self.tags:
            arrays["tags"] = json.dumps(self.tags)
        if self.info:
            arrays["info"] = json.dumps(dict(self.info))
        with replacing(path) as stream:
            np.savez_compressed(stream, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read an `.npz` file; `config`, `insns` and `dram_before` must be there.

        Raises
        ------
        ProgramFileError
            For a file that cannot be read, is none, is cut short, or whose contents make no
            program; the message begins with the path.
        """
        try:
            return cls._load(path)
        except ProgramFileError as error:
            raise ProgramFileError(f"{path}: {error}") from None

    @classmethod
    def _load(cls, path: Path) -> Self:
        entries = _read_entries(path)
        missing = [name for name in ("config", "insns", "dram_before") if name not in entries]
        if missing:
            raise ProgramFileError(
                f"has no {missing[0]!r} and is no program; of one's keys it has "
                f"{', '.join(entries) or 'none'}"
            )
        document = _json_object(entries, "config")
        try:
            config = Config.from_json(document or {})
        except ConfigError as error:
            raise ProgramFileError(f"config: {error}") from None
        counters = _json_object(entries, "counters")
        for name, value in (counters or {}).items():
            if isinstance(value, bool) or not isinstance(value, int):
                raise ProgramFileError(f"counters: {name} is {value!r}; it must be a whole number")
        tags = _json(entries, "tags")
        if tags is not None and not isinstance(tags, list):
            raise ProgramFileError(f"tags is {tags!r}; it must be a JSON list")
        return cls(
            config=config,
            insns=entries["insns"],
            dram_before=entries["dram_before"],
            dram_after=entries.get("dram_after"),
            counters=cast("dict[str, int] | None", counters),
            note=_text(entries, "note") or "",
            tags=tuple(str(tag) for tag in cast("list[object]", tags or [])),
            info=_json_object(entries, "info") or {},
        )


def _check_array(name: str, array: Bytes, dimensions: int) -> None:
    if array.dtype != np.uint8 or array.ndim != dimensions:
        raise ProgramFileError(
            f"{name} is {array.dtype} {array.shape}; it must be uint8 with {dimensions} "
            f"dimension{'s' * (dimensions > 1)}"
        )


def _read_entries(path: Path) -> dict[str, npt.NDArray[Any]]:
    entries: dict[str, npt.NDArray[Any]] = {}
    name = ""
    try:
        with zipfile.ZipFile(path) as archive:
            present = archive.namelist()
            for name in (field.name for field in fields(Program)):
                if f"{name}.npy" in present:
                    data = io.BytesIO(archive.read(f"{name}.npy"))
                    entries[name] = np.lib.format.read_array(data, allow_pickle=False)
    except OSError as error:
        raise ProgramFileError(f"cannot be read: {error.strerror or error}") from None
    except _DAMAGE as error:
        if not name:
            raise ProgramFileError(
                "is no .npz file, or one that was cut short; `vtakit asm` makes one from text"
            ) from None
        cause = str(error) or type(error).__name__
        raise ProgramFileError(f"{name!r} in it is damaged ({cause}); make it again") from None
    return entries


_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    MemoryError,
    RuntimeError,  # zipfile, for an encrypted entry or an unknown compression
    SyntaxError,  # NumPy, for the header of an array
    tokenize.TokenError,
)
"""What zipfile and NumPy raise over bytes that are not what they should be."""


def _text(entries: Mapping[str, npt.NDArray[Any]], name: str) -> str | None:
    if name not in entries:
        return None
    entry = entries[name]
    if entry.dtype.kind not in "US" or entry.size != 1:
        raise ProgramFileError(f"{name} is {entry.dtype} {entry.shape}; it must be one string")
    value = entry.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _json(entries: Mapping[str, npt.NDArray[Any]], name: str) -> object:
    text = _text(entries, name)
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProgramFileError(f"{name} is not JSON: {error}") from None


def _json_object(entries: Mapping[str, npt.NDArray[Any]], name: str) -> dict[str, object] | None:
    document = _json(entries, name)
    if document is not None and not isinstance(document, dict):
        raise ProgramFileError(f"{name} is {document!r}; it must be a JSON object")
    return cast("dict[str, object] | None", document)
