"""The command as a program, refused and interrupted: one line, and nothing half written."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from vtakit.cli.main import BAD_INPUT, INTERRUPTED
from vtakit.isa.config import PRESETS
from vtakit.isa.instructions import Finish, Gemm
from vtakit.isa.program import Program
from vtakit.isa.stream import encode_stream
from vtakit.sim.machine import Machine

from .conftest import heed_interrupts

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"


STOPPED = """
import sys
import time
import {module}

def stop(*arguments, **named):
    print("here", flush=True)
    time.sleep(60)

{module}.{name} = stop
from vtakit.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("vtakit.compiler.importers.onnx_model", "load"),
        ("vtakit.compiler.passes.quantize_calibrate", "walk"),
        ("vtakit.compiler.vta.search", "measure"),
        ("vtakit.compiler.build", "emit"),
        ("vtakit.sim.machine", "Machine.run"),
        ("vtakit.compiler.check", "evaluate"),
        ("numpy.lib.format", "write_array"),
        ("vtakit.sim.trace", "_events"),
    ],
)
def test_an_interruption_anywhere_is_one_line_and_leaves_nothing(
    tmp_path: Path, shell: dict[str, str], module: str, name: str
) -> None:
    outputs = ("--save", "o.npz", "--trace", "t.json")
    if name in {"measure", "emit"}:  # nobody has compiled it yet
        shell = {**shell, "XDG_CACHE_HOME": str(tmp_path / "bin")}
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED.format(module=module, name=name)]
        + ["run", str(DIGITS), "--tries", "2", *outputs],
        cwd=tmp_path,
        env=shell,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert err == "vtakit run: interrupted\n"
    assert process.returncode == INTERRUPTED
    left = {path.name for path in tmp_path.iterdir()} - {"bin"}
    assert left <= {"o.npz"} if name == "_events" else not left


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("vtakit.compiler.cpu.cache", "cached_native"),
        ("vtakit.runtime.native.program", "NativeSession.execute"),
        ("vtakit.compiler.reference", "outputs"),
    ],
)
def test_an_interruption_of_the_cpu_engine_is_one_line_as_well(
    tmp_path: Path, shell: dict[str, str], module: str, name: str
) -> None:
    script = STOPPED.format(module=module, name=name)
    with subprocess.Popen(
        [sys.executable, "-c", script, "run", str(DIGITS), "--engine", "cpu", "--save", "o.npz"],
        cwd=tmp_path,
        env=shell,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (out, err) == ("", "vtakit run: interrupted\n")
    assert process.returncode == INTERRUPTED
    assert {path.name for path in tmp_path.iterdir()} == {"bin"}


@pytest.mark.parametrize("engine", ["sim", "functional"])
def test_compiled_code_that_takes_hours_is_interrupted(
    tmp_path: Path, shell: dict[str, str], engine: str
) -> None:
    config = PRESETS["tiny"]
    most = 16_000
    hours = Gemm(uop_end=config.uop_depth, iter_out=most, iter_in=most)
    program = Program(config, encode_stream([hours, Finish()], config), np.zeros(4096, np.uint8))
    program.save(tmp_path / "hours.npz")
    Machine(config).run(encode_stream([Finish()], config), timing=engine == "sim")  # is compiled
    process = subprocess.Popen(
        ["vtakit", "replay", "hours.npz", "--engine", engine],
        cwd=tmp_path,
        env=shell,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(6)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert err == "vtakit replay: interrupted\n"
    assert process.returncode == INTERRUPTED


def test_the_program_itself_prints_one_line(tmp_path: Path, shell: dict[str, str]) -> None:
    (tmp_path / "cut.onnx").write_bytes(DIGITS.read_bytes()[:3000])
    cases = {
        ("run", "cut.onnx"): "vtakit run: cut.onnx: the file is truncated: it has 3000 bytes",
        ("run", "none.onnx"): "vtakit run: none.onnx: cannot be read: No such file or directory",
        ("run",): "vtakit run: Missing argument 'MODEL.onnx'",
        ("run", str(DIGITS), "--config", "none"): "vtakit run: 'none' is neither a preset",
        ("replay", "cut.onnx"): "vtakit replay: cut.onnx: is no .npz file",
    }
    for words, message in cases.items():
        ran = subprocess.run(
            ["vtakit", *words], env=shell, cwd=tmp_path, capture_output=True, text=True
        )
        assert ran.returncode == BAD_INPUT, words
        assert ran.stderr.startswith(message), ran.stderr
        assert ran.stderr.count("\n") == 1
