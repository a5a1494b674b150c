"""A whole board in Verilator, driven through its serial pins by the real driver."""

import json
import os
import random
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from vtakit.compiler.build import Compiled, build_module
from vtakit.compiler.check import check_run
from vtakit.compiler.network import load_network
from vtakit.isa.config import PAGE_BYTES, PRESETS, Config
from vtakit.isa.link import FLAG
from vtakit.runtime.drivers.device import DeviceError
from vtakit.runtime.drivers.serial import SerialDevice
from vtakit.runtime.drivers.serial_link import SerialLink
from vtakit.runtime.drivers.serial_port import PortLine, SerialOptions, open_serial
from vtakit.runtime.session import Session
from vtakit.sim.errors import ProgramError

from ..compiler.integer_layers import Layers
from ..compiler.integer_layers import sample as sample_of
from ..sim.programs import RECORDED
from .boards import SimulatedBoard, simulated
from .link_model import Faults

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "examples" / "digits"
TINY, SMALL = PRESETS["tiny"], PRESETS["small"]
BAUD = 2_000_000
BLOCK_BYTES = 1 << 18
SDRAM = None


FAULTS = {
    "1 % of bytes": Faults(spoiled_bytes=0.01),
    "1 % of frames": Faults(lost_frames=0.01),
    "some of all": Faults(0.002, 0.02, 0.05, 0.02),
}


def options(board: SimulatedBoard) -> SerialOptions:
    return SerialOptions("the board", BAUD, port=board.port)


@contextmanager
def opened(config: Config, memory_bytes: int | None) -> Iterator[SerialDevice]:
    """Switch a board on and open it."""
    with simulated(config, memory_bytes) as board, open_serial(config, options(board)) as device:
        yield device


@dataclass
class FaultyLine:
    """A port whose bytes are not to be trusted, either way."""

    port: PortLine
    faults: Faults
    draw: random.Random
    _frame: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes) -> None:
        self.port.write(self.faults.applied(data, self.draw))

    def read(self, seconds: float) -> bytes:
        """Return whole frames, as the faults leave them."""
        ends = time.monotonic() + seconds
        came = b""
        while not came and time.monotonic() < ends:
            for byte in self.port.read(ends - time.monotonic()):
                self._frame.append(byte)
                if byte == FLAG and len(self._frame) > 1:
                    came += self.faults.applied(bytes(self._frame), self.draw)
                    self._frame.clear()
        return came

    def close(self) -> None:
        self.port.close()


def compiled_digits(config: Config) -> Compiled:
    network = load_network(DIGITS / "digits.onnx")
    return build_module(network.integers, config, keep=True, measured=1)


def sample(compiled: Compiled, first: int = 0) -> dict[str, np.ndarray]:
    (value,) = compiled.graph.inputs
    images = np.load(DIGITS / "test.npz")["images"][first : first + value.shape[0]]
    return {value.name: images.reshape(value.shape).astype(np.float32)}


def run_digits(compiled: Compiled, device: SerialDevice, times: int = 1) -> int:
    """Run the digits network, every layer of it bit for bit; return the cycles."""
    cycles = 0
    with Session(compiled.module, device) as session:
        for number in range(times):
            inputs = sample(compiled, number)
            report = session.run(inputs)
            check = check_run(compiled, session, report, inputs)
            assert check.equal
            assert check.compared == 6
            cycles = report.cycles or 0
    return cycles


BOARDS = pytest.mark.parametrize(
    ("config", "memory_bytes"),
    [(TINY, BLOCK_BYTES), (SMALL, SDRAM)],
    ids=["tiny, block RAM", "small, SDRAM"],
)


@BOARDS
def test_memory_is_what_was_written_last(config: Config, memory_bytes: int | None) -> None:
    draw = random.Random(3)
    with opened(config, memory_bytes) as device:
        size = 1 << 14
        address = device.allocate(size)
        wanted = np.zeros(size, np.uint8)
        device.write(address, wanted)
        for _ in range(30):
            begin = draw.randrange(size - 700)
            data = np.frombuffer(draw.randbytes(draw.randrange(1, 700)), np.uint8)
            device.write(address + begin, data)
            wanted[begin : begin + data.size] = data
            device._send()
            device._stale[address // 4 : (address + size) // 4] = True  # ask the board for it
            begin = draw.randrange(size - 700)
            found = device.read(address + begin, 700)
            assert np.array_equal(found, wanted[begin : begin + 700])
        device._stale[address // 4 : (address + size) // 4] = True
        assert np.array_equal(device.read(address, size), wanted)


@BOARDS
def test_the_digits_network_is_bit_exact(config: Config, memory_bytes: int | None) -> None:
    with opened(config, memory_bytes) as device:
        assert run_digits(compiled_digits(config), device, 2) > 10_000
        assert device._link.repeated <= 2


@pytest.mark.slow
def test_recorded_programs_leave_what_was_recorded() -> None:
    from vtakit.isa.program import Program

    paths = [path for path in RECORDED if Program.load(path).config.bus_bits == 64]
    programs = [Program.load(path) for path in paths]
    small = [one for one in programs if one.config.block_in <= 8 and one.dram_after is not None]
    assert small
    for program in small[:3]:
        size = program.dram_before.size
        with opened(program.config, SDRAM) as device:
            device._host[:size] = program.dram_before
            device._used[0] = size
            device._heap.allocate(size)
            device.run(program.insns)
            device._stale[: -(-size // 4)] = True
            found = device.read(0, size)
            assert program.dram_after is not None
            assert np.array_equal(found[PAGE_BYTES:], program.dram_after[PAGE_BYTES:size])


def test_what_is_wrong_with_a_program_is_told_and_the_next_one_runs() -> None:
    compiled = compiled_digits(TINY)
    with opened(TINY, BLOCK_BYTES) as device:
        wrong = np.full((2, 16), 0xFF, np.uint8)
        with pytest.raises(ProgramError, match="instruction 0: "):
            device.run(wrong)
        run_digits(compiled, device)


def test_a_program_for_another_machine_is_refused() -> None:
    with (
        simulated(TINY, BLOCK_BYTES) as board,
        pytest.raises(DeviceError, match="the hardware is another one: its register"),
    ):
        open_serial(SMALL, options(board))


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(faults, id=name, marks=[pytest.mark.slow] * (name != "1 % of frames"))
        for name, faults in FAULTS.items()
    ],
)
def test_a_bad_line_makes_no_wrong_result(faults: Faults) -> None:
    layers = Layers()
    graph = layers.build(layers.conv(layers.conv(layers.input(1, 6, 5, 5), 7, (2, 2)), 3, (1, 1)))
    run_faulty(build_module(graph, TINY, keep=True, measured=1), sample_of(graph), faults)


@pytest.mark.slow
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_the_digits_network_over_a_bad_line(faults: Faults) -> None:
    compiled = compiled_digits(TINY)
    run_faulty(compiled, sample(compiled), faults)


def run_faulty(compiled: Compiled, inputs: dict[str, np.ndarray], faults: Faults) -> None:
    """Run a network over a bad line, every layer of it bit for bit."""
    with simulated(TINY, BLOCK_BYTES) as board:
        line = FaultyLine(PortLine(board.port, BAUD), faults, random.Random(2))
        link = SerialLink(line, board.port, baud=BAUD, patience=30)
        with (
            SerialDevice(TINY, link) as device,
            Session(compiled.module, device) as session,
        ):
            report = session.run(inputs)
            assert check_run(compiled, session, report, inputs).equal
            assert link.repeated


def test_a_board_reset_in_the_middle_is_told_and_the_next_run_works() -> None:
    compiled = compiled_digits(TINY)
    with simulated(TINY, BLOCK_BYTES) as board:
        with open_serial(TINY, options(board)) as device:
            run_digits(compiled, device)
            with Session(compiled.module, device) as session:
                board.reset()
                with pytest.raises(DeviceError, match="the board was reset since"):
                    session.run(sample(compiled))
        with open_serial(TINY, options(board)) as device:
            run_digits(compiled, device)


def command(board: SimulatedBoard, *words: str) -> list[str]:
    script = Path(sysconfig.get_path("scripts"), "vtakit")
    digits = str(DIGITS / "digits.onnx")
    engine = ["--engine", "ulx3s-85f", "--port", board.port, "--tries", "1"]
    return [sys.executable, str(script), "run", digits, *engine, *words]


def test_a_host_killed_in_the_middle_leaves_a_board_for_the_next(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / ".root")}
    with simulated(SMALL, SDRAM) as board:
        killed = subprocess.Popen(
            command(board), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        before = board.received
        deadline = time.monotonic() + 120
        while board.received < before + 5_000 and time.monotonic() < deadline:
            time.sleep(0.01)  # until it has sent some of the network
        assert killed.poll() is None
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        ran = subprocess.run(
            command(board, "--json"), env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        found = json.loads(ran.stdout)
        assert found["checked"]["equal"]
        assert found["engine"] == "ulx3s-85f"
        assert found["cycles"] > 10_000


def test_a_port_that_is_busy_or_not_there_is_one_line() -> None:
    with simulated(TINY, BLOCK_BYTES) as board:
        first = PortLine(board.port, BAUD)
        with pytest.raises(DeviceError, match=f"port {board.port} is busy: another program"):
            PortLine(board.port, BAUD)
        first.close()
        PortLine(board.port, BAUD).close()
    with pytest.raises(DeviceError, match="there is no port /dev/nowhere"):
        PortLine("/dev/nowhere", BAUD)
