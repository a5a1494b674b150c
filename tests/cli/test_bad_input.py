"""Bad input to `vtakit run`: one line on standard error, exit status 2, and nothing written."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from vtakit.cli.main import main

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"

Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def vtakit(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> tuple[int, list[str]]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        assert isinstance(left.value.code, int)
        return left.value.code, capsys.readouterr().err.splitlines()

    return run


def model(path: Path, op: str, dtype: int, shape: list[int | str]) -> Path:
    x = helper.make_tensor_value_info("x", dtype, shape)
    y = helper.make_tensor_value_info("y", dtype, shape)
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_named(vtakit: Run, tmp_path: Path, share: float) -> None:
    data = DIGITS.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * share)])
    status, lines = vtakit("run", path)
    assert status == 2
    assert len(lines) == 1
    assert "cut.onnx" in lines[0]


def test_what_is_no_model_is_named(vtakit: Run, tmp_path: Path) -> None:
    text, empty = tmp_path / "text.onnx", tmp_path / "empty.onnx"
    text.write_text("hello")
    empty.write_bytes(b"")
    for path, says in (
        (text, "not an ONNX file"),
        (empty, "empty"),
        (tmp_path / "none.onnx", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        status, lines = vtakit("run", path)
        assert status == 2
        assert len(lines) == 1
        assert path.name in lines[0]
        assert says in lines[0]


@pytest.mark.parametrize(
    ("op", "dtype", "shape", "says"),
    [
        ("Relu", TensorProto.FLOAT16, [1, 4], "float16"),
        ("Relu", TensorProto.FLOAT, ["N", 4], "its extent N is not fixed"),
        ("Relu", TensorProto.FLOAT, [1, "W"], "its extent W is not fixed"),
        ("NonZero", TensorProto.FLOAT, [1, 4], "NonZero"),
    ],
)
def test_a_model_that_is_not_supported_is_explained(
    vtakit: Run, tmp_path: Path, op: str, dtype: int, shape: list[int | str], says: str
) -> None:
    status, lines = vtakit("run", model(tmp_path / "m.onnx", op, dtype, shape))
    assert status == 2
    assert len(lines) == 1
    assert "m.onnx" in lines[0]
    assert says in lines[0]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"image": np.zeros((1, 1, 9, 8), np.float32)}, "(1, 1, 8, 8)"),
        ({"image": np.zeros((1, 1, 8, 8), np.float64)}, "float32"),
        ({"picture": np.zeros((1, 1, 8, 8), np.float32)}, "there is no input picture"),
        ({}, "image"),
    ],
)
def test_inputs_that_do_not_fit_are_explained(
    vtakit: Run, tmp_path: Path, arrays: dict[str, np.ndarray], says: str
) -> None:
    np.savez(tmp_path / "in.npz", allow_pickle=False, **arrays)
    status, lines = vtakit("run", DIGITS, "--inputs", tmp_path / "in.npz")
    assert status == 2
    assert len(lines) == 1
    assert says in lines[0]


def test_calibration_that_does_not_fit_is_explained(vtakit: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "c.npz", image=np.zeros((4, 1, 9, 8), np.float32))
    status, lines = vtakit("run", DIGITS, "--calibration", tmp_path / "c.npz")
    assert status == 2
    assert len(lines) == 1
    assert "calibration samples of input 'image' are float32 (4, 1, 9, 8)" in lines[0]


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut short"])
def test_arrays_that_are_none_are_named(vtakit: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    for option in ("--inputs", "--calibration"):
        status, lines = vtakit("run", DIGITS, option, path)
        assert status == 2
        assert len(lines) == 1
        assert f"{option} {path}" in lines[0]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"block_in": 12}, "block_in is 12; it must be a power of two"),
        ({"blok_in": 16}, "did you mean 'block_in'"),
        ({"wgt_buffer_bytes": 256}, "at least 2 elements of 256 bytes"),
        ({"bus_bits": 16}, "bus_bits is 16"),
        ({"LOG_BLOCK": 3, "LOG_WGT_BUFF_SIZE": 40}, "wgt_buffer_bytes"),
    ],
)
def test_a_machine_that_cannot_be_built_is_refused(
    vtakit: Run, tmp_path: Path, document: dict[str, int], says: str
) -> None:
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(document))
    status, lines = vtakit("run", DIGITS, "--config", path)
    assert status == 2
    assert len(lines) == 1
    assert "machine.json" in lines[0]
    assert says in lines[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--engine", "rtl"], "not in this version; it has sim and functional"),
        (["--engine", "simm"], "did you mean 'sim'"),
        (["--engine", "functional", "--memory-latency", "3"], "functional has no clock"),
        (["--memory-latency", "-1"], "--memory-latency"),
        (["--config", "huge"], "'huge' is neither a preset"),
    ],
)
def test_options_that_make_no_sense_are_explained(
    vtakit: Run, options: list[str], says: str
) -> None:
    status, lines = vtakit("run", DIGITS, *options)
    assert status == 2
    assert len(lines) == 1
    assert says in lines[0]


def test_a_folder_that_is_missing_is_named(vtakit: Run, tmp_path: Path) -> None:
    status, lines = vtakit("run", DIGITS, "--tries", 1, "--save", tmp_path / "no" / "out.npz")
    assert status == 2
    assert len(lines) == 1
    assert "there is no folder" in lines[0]


@pytest.mark.parametrize("after_seconds", [2.0, 5.0])
def test_an_interruption_leaves_one_line_and_nothing_written(
    tmp_path: Path, after_seconds: float
) -> None:
    sys.path.insert(0, str(ROOT / "examples"))
    import zoo

    onnx.save(zoo.build("resnet18"), tmp_path / "resnet18.onnx")
    command = "from vtakit.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "run", "resnet18.onnx", "--save", "out.npz"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / ".root")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(after_seconds)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines() == ["vtakit run: interrupted"]
    assert [path.name for path in tmp_path.iterdir()] == ["resnet18.onnx"]
