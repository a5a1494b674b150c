"""Read models and arrays, and write them: whole or not at all, the same bytes every time."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError


class ExampleError(ValueError):
    """What an example cannot do, said in one line."""


def load_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX model; `ExampleError` where the file is none."""
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ExampleError(f"cannot read {path}: not an ONNX model, or cut short") from error
    return model


def load_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an .npz by name; `ExampleError` where the file is none."""
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if isinstance(arrays, np.lib.npyio.NpzFile):
                return dict(arrays)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ExampleError(f"cannot read {path}: not an .npz archive, or cut short") from error
    raise ExampleError(f"cannot read {path}: a single array, where an .npz of named ones is needed")


def save_model(model: onnx.ModelProto, path: Path) -> None:
    """Write an ONNX model."""
    save_bytes(model.SerializeToString(deterministic=True), path)


def save_arrays(arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    """Write arrays as a compressed .npz."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(values), allow_pickle=False)
    save_bytes(buffer.getvalue(), path)


def save_bytes(content: bytes, path: Path) -> None:
    """Write a file under another name beside `path`, then rename it: nobody sees half a file.

    Raises
    ------
    ExampleError
        The folder to write in does not exist.
    OSError
        It cannot be written; `path` is as it was.
    """
    if not path.parent.is_dir():
        raise ExampleError(f"cannot write {path}: there is no folder {path.parent}")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
