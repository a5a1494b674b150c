"""Bad input to `vtakit run`: one line on standard error, exit status 2, nothing written."""

import json
import os
import platform
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import Refused

onnx = pytest.importorskip("onnx")

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
QUANTIZED = ROOT / "examples" / "digits" / "digits_int8.onnx"
X86 = platform.machine() == "x86_64"
IMAGE = np.zeros((1, 1, 8, 8), np.float32)


# Model files.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello, this is text", "not an ONNX file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an ONNX file"),
        (b"PK\x03\x04" + bytes(100), "not an ONNX file"),
        (bytes(64), "not an ONNX file"),
    ],
    ids=["empty", "text", "picture", "archive", "zeros"],
)
def test_what_is_no_model_is_named(
    refused: Refused, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert refused("run", path) == f"{path}: {message}"


def test_a_model_that_cannot_be_read_is_named(refused: Refused, tmp_path: Path) -> None:
    none = tmp_path / "none.onnx"
    assert refused("run", none) == f"{none}: cannot be read: No such file or directory"
    assert refused("run", tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.parametrize("model", [DIGITS, QUANTIZED], ids=["float", "quantized"])
def test_a_truncated_model_is_named_wherever_it_ends(
    refused: Refused, tmp_path: Path, model: Path
) -> None:
    data, path = model.read_bytes(), tmp_path / "cut.onnx"
    ends = {1, 5, 100, len(data) // 3, len(data) // 2, *range(len(data) - 40, len(data), 3)}
    said: list[str] = []
    for end in sorted(ends):
        path.write_bytes(data[:end])
        line = refused("run", path)
        assert line.startswith(f"{path}: "), line
        said.append(line)
    assert sum("truncated: it has" in line for line in said) > len(said) // 2
    assert all("truncated" in line or "cut short" in line for line in said), said


def save_model(
    path: Path,
    nodes: Sequence[Any],
    *weights: Any,
    shape: Sequence[int | str] | None = (1, 3, 8, 8),
    kind: str = "FLOAT",
    opset: int = 17,
) -> Path:
    """Write a model whose nodes lead from x to y."""
    dtype = onnx.TensorProto.DataType.Value(kind)
    helper = onnx.helper
    x = helper.make_tensor_value_info("x", dtype, shape)
    y = helper.make_tensor_value_info("y", dtype, ["a", "b"])
    graph = helper.make_graph(nodes, "graph", [x], [y], weights)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("mine", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports), path)
    return path


def node(operator: str, inputs: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(operator, inputs.split(), ["y"], "the node", **attributes)


def weights(*shape: int, fill: float = 0.5) -> Any:
    return onnx.numpy_helper.from_array(np.full(shape, fill, np.float32), "w")


RELU = node("Relu", "x")
MODELS: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "complex": (
        [RELU],
        {"kind": "COMPLEX64"},
        "x is of type complex64, which is not supp",
    ),
    "strings": ([node("Identity", "x")], {"kind": "STRING"}, "x is of type string, which is not"),
    "open batch": (
        [RELU],
        {"shape": ("N", 3, 8, 8)},
        "input x is (N, 3, 8, 8): its extent N is not fixed; give a batch",
    ),
    "open width": (
        [RELU],
        {"shape": (1, 3, 8, "W")},
        "its extent W is not fixed; ",
    ),
    "no shape": ([RELU], {"shape": None}, "input x has no shape; export the model with fixed"),
    "operator": ([node("NonZero", "x")], {}, "NonZero node the node: the operator NonZero is not"),
    "own operator": ([node("Blur", "x", domain="mine")], {}, "the operator Blur of mine is not"),
    "control flow": (
        [node("If", "x", then_branch=onnx.helper.make_graph([], "then", [], []))],
        {},
        "it holds a subgraph, which is not supported",
    ),
    "undefined": ([node("Relu", "q")], {}, "reads q, which no input, initializer or earlier node"),
    "old": ([RELU], {"opset": 5}, "opset 5 is too old; 7 and later are supported"),
    "channels": ([node("Conv", "x w")], {"weights": weights(4, 5, 3, 3)}, "cannot take float32(1"),
    "stride 0": (
        [node("Conv", "x w", strides=[0, 1])],
        {"weights": weights(4, 3, 3, 3)},
        "strides [0, 1] do not fit",
    ),
    "kernel": (
        [node("Conv", "x w")],
        {"weights": weights(4, 3, 9, 3)},
        "kernel spans [9, 3], more",
    ),
    "four axes": (
        [node("Conv", "x w")],
        {"weights": weights(4, 3, 3, 3, 3, 3), "shape": (1, 3, 4, 4, 4, 4)},
        "Conv node the node: x is float32(1, 3, 4, 4, 4, 4)",
    ),
    "no number": (
        [node("Conv", "x w")],
        {"weights": weights(4, 3, 3, 3, fill=float("nan"))},
        "w holds a NaN, for which there is no integer",
    ),
    "infinity": (
        [node("Conv", "x w")],
        {"weights": weights(4, 3, 3, 3, fill=float("inf"))},
        "w holds an infinity, for which there is no integer",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_is_not_supported_says_why(
    refused: Refused, tmp_path: Path, name: str
) -> None:
    nodes, options, message = MODELS[name]
    given = [options[key] for key in options if key == "weights"]
    others = {key: value for key, value in options.items() if key != "weights"}
    path = save_model(tmp_path / "m.onnx", nodes, *given, **others)
    line = refused("run", path)
    assert line.startswith(f"{path}: ")
    assert message in line


def test_weights_in_another_file_that_is_missing_are_named(
    refused: Refused, tmp_path: Path
) -> None:
    path = save_model(tmp_path / "m.onnx", [node("Conv", "x w")], weights(64, 3, 3, 3))
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    (tmp_path / "weights.bin").unlink()
    line = refused("run", path)
    assert line.startswith(f"{path}: its weights are in other files, which cannot be read")


# Inputs and calibration samples.


@pytest.mark.parametrize("option", ["--inputs", "--calibration"])
def test_what_holds_no_arrays_is_named(refused: Refused, tmp_path: Path, option: str) -> None:
    path = tmp_path / "in.npz"
    np.savez_compressed(path, image=np.random.default_rng(0).random((9, 1, 8, 8), np.float32))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 0xFF
    contents = [b"", b"text", whole[:50], whole[: len(whole) // 2], whole[:-9], bytes(damaged)]
    message = f"{option} {path} is no .npz file of plain arrays, or one that was cut short"
    for content in contents:
        path.write_bytes(content)
        assert refused("run", DIGITS, option, path) == message
    np.save(tmp_path / "in.npy", IMAGE)
    (tmp_path / "in.npy").replace(path)
    assert refused("run", DIGITS, option, path) == message
    np.savez(path, image=np.array([{"an": "object"}], object))
    assert refused("run", DIGITS, option, path) == message
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': ")
    assert refused("run", DIGITS, option, path) == message
    path.unlink()
    assert refused("run", DIGITS, option, path) == f"{option} {path}: No such file or directory"
    assert refused("run", DIGITS, option, tmp_path) == f"{option} {tmp_path}: Is a directory"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "input image is missing; it is float32(1, 1, 8, 8)"),
        ({"picture": IMAGE}, "there is no input picture; digits has image"),
        ({"image": IMAGE, "label": IMAGE}, "there is no input label; digits has image"),
        (
            {"image": IMAGE[0]},
            "input image is float32(1, 8, 8); digits takes float32(1, 1, 8, 8)",
        ),
        ({"image": IMAGE.astype(np.float64)}, "input image is float64(1, 1, 8, 8); digits takes"),
        ({"image": IMAGE.astype(np.uint8)}, "input image is uint8(1, 1, 8, 8); digits takes"),
    ],
)
def test_inputs_that_do_not_fit_say_what_would(
    refused: Refused, tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    path = tmp_path / "in.npz"
    np.savez(path, **arrays)
    line = refused("run", DIGITS, "--inputs", path)
    assert line.startswith(f"--inputs {path}: ")
    assert message in line


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "samples of input 'image' are missing; what is given has no array"),
        ({"images": IMAGE}, "samples of input 'image' are missing; what is given has images"),
        ({"image": IMAGE[0]}, "are float32 (1, 8, 8); they must be numbers (samples, 1, 8, 8)"),
        ({"image": IMAGE[:0]}, "are float32 (0, 1, 8, 8); they must be numbers"),
        ({"image": IMAGE.astype(str)}, "they must be numbers (samples, 1, 8, 8), 1 or more"),
        ({"image": IMAGE * np.nan}, "hold a NaN or an infinity; give finite numbers"),
    ],
)
def test_calibration_samples_that_do_not_fit_say_what_would(
    refused: Refused, tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    path = tmp_path / "c.npz"
    np.savez(path, **arrays)
    assert message in refused("run", DIGITS, "--calibration", path)


# Machines, engines, other options.


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "is not JSON: Expecting property name"),
        ("[]", "holds no JSON object"),
        ({"block_in": 12}, "block_in is 12; it must be a power of two"),
        ({"block_in": 32}, "block_in is 32 and block_out 16; they must be equal"),
        ({"blok_in": 16}, "'blok_in' is no field of a configuration; did you mean 'block_in'?"),
        ({"batch": "two"}, "batch is 'two'; it must be a whole number"),
        ({"batch": 0}, "batch is 0; it must be at least 1"),
        ({"bus_bits": 16}, "bus_bits is 16; a memory port has 32 to 512 bits"),
        ({"acc_bits": 16}, "acc_bits is 16; only 32 can be built"),
        ({"wgt_buffer_bytes": 256}, "it must hold at least 2 elements of 256 bytes"),
        ({"uop_buffer_bytes": 1 << 20}, "its index takes 18 bits and LOAD has 16 for it"),
        ({"acc_buffer_bytes": 4 << 20, "wgt_buffer_bytes": 4 << 20}, "make acc_buffer_bytes, inp"),
        ({"LOG_BLOCK": 4, "LOG_BLOK": 3}, "'LOG_BLOK' is no key of the original VTA's"),
        ({"LOG_BLOCK": 4, "LOG_WGT_BUFF_SIZE": 41}, "it must be a logarithm from 0 to 40"),
        ({"LOG_BLOCK": 4, "LOG_INP_WIDTH": 4}, "inp_bits is 16; only 8 can be built"),
    ],
)
def test_a_machine_that_cannot_be_built_is_refused(
    refused: Refused, tmp_path: Path, document: object, message: str
) -> None:
    path = tmp_path / "machine.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    line = refused("run", DIGITS, "--config", path)
    assert f"'{path}'" in line
    assert message in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--config", "huge"],
            "'huge' is neither a preset (default, tiny, small, batch2, big, banked) nor",
        ),
        (["--engine", "cpu", "--trace", "t.json"], "--trace needs --engine sim; cpu runs no VTA"),
        (["--engine", "cpu", "--module", "m.vta"], "--module needs --engine sim; cpu runs no VTA"),
        (["--engine", "cpu", "--memory-latency", 3], "--memory-latency needs --engine sim; cpu"),
        (["--engine", "cpu", "--wave", "t.vcd"], "--wave needs --engine rtl; cpu runs no VTA"),
        (["--engine", "cpu", "--threads", 9999], "--threads 9999: this process may use"),
        (["--engine", "cpu", "--threads", 0], "Invalid value for '--threads': "),
        (["--engine", "cpu", "--config", "huge"], "'huge' is neither a preset"),
        (["--engine", "cpu", "--precision", "int4"], "--precision 'int4' does not exist"),
        (["--threads", 1], "--threads needs --engine cpu; sim runs the integer network on VTA"),
        (["--precision", "float32"], "--precision float32 needs --engine cpu; sim runs the int"),
        (["--engine", "cuda", "--threads", 1], "--threads needs --engine cpu; cuda has neither"),
        (["--engine", "cuda", "--target", "native"], "--target needs --engine cpu; cuda has nei"),
        (["--target", "native"], "--target needs --engine cpu; sim runs the integer network on"),
        (["--engine", "cpu", "--target", "x86"], "target 'x86': there is no CPU 'x86'; did you"),
        (["--engine", "cpu", "--target", "aarch64" if X86 else "x86-64"], "native code is for "),
        (["--engine", "cuda", "--trace", "t.json"], "--trace needs --engine sim; cuda runs no VTA"),
        (["--wave", "t.vcd"], "--wave needs --engine rtl; sim has no wires"),
        (["--engine", "simm"], "--engine 'simm' does not exist; did you mean 'sim'?"),
        (["--engine", "arty"], "--engine 'arty' does not exist; known are sim, functional"),
        (["--engine", "functional", "--memory-latency", 3], "--memory-latency needs --engine sim"),
        (["--engine", "functional", "--trace", "t.json"], "--trace needs --engine sim"),
        (["--memory-latency", -1], "Invalid value for '--memory-latency': "),
        (["--tries", 0], "Invalid value for '--tries': "),
        (["--batch", 2], "input image is (1, 1, 8, 8), which cannot be (2, 1, 8, 8)"),
        (["--seed", -1], "Invalid value for '--seed': "),
        (["--fast"], "No such option: --fast"),
    ],
)
def test_options_that_make_no_sense_are_explained(
    refused: Refused, words: list[object], message: str
) -> None:
    assert message in refused("run", DIGITS, *words)


# What is to be written.


ORDER = ("--save", "--module", "--trace")


@pytest.mark.parametrize("option", ORDER)
def test_what_cannot_be_written_is_refused_before_the_work(
    refused: Refused, tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object, **named: object) -> None:
        pytest.fail("it was compiled")

    monkeypatch.setattr("vtakit.compiler.cache.build_module", never)
    model = tmp_path / "m.onnx"
    model.write_bytes(DIGITS.read_bytes())
    lost = tmp_path / "no" / "out"
    message = f"{option} {lost}: there is no folder {lost.parent}; make it first"
    assert refused("run", model, option, lost) == message
    message = f"{option} {tmp_path} is a folder; give the name of a file"
    assert refused("run", model, option, tmp_path) == message
    message = f"{option} {model} would write over {model}; give another name"
    assert refused("run", model, option, model) == message
    other = "--trace" if option == "--save" else "--save"
    line = refused("run", model, option, tmp_path / "o", other, tmp_path / "o")
    first, last = sorted((option, other), key=ORDER.index)
    assert line == f"{last} {tmp_path / 'o'} would write over {first}; give another name"
    if os.geteuid():  # root writes everywhere
        tmp_path.chmod(0o500)
        message = f"{option} {tmp_path / 'o'}: the folder {tmp_path} cannot be written to"
        assert refused("run", model, option, tmp_path / "o") == message
        tmp_path.chmod(0o700)


def test_a_bad_run_leaves_what_was_saved_before(refused: Refused, tmp_path: Path) -> None:
    saved = tmp_path / "out.npz"
    saved.write_bytes(b"of an earlier run")
    (tmp_path / "m.onnx").write_bytes(DIGITS.read_bytes()[:1000])
    refused("run", tmp_path / "m.onnx", "--save", saved)
    assert saved.read_bytes() == b"of an earlier run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "out.npz"]
