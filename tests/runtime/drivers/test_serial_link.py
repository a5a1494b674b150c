"""drivers.serial_link: what is read and written through lines that lose, spoil and repeat bytes."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtakit.isa.link import MAX_DATA_BYTES, Op
from vtakit.runtime.drivers import serial_link
from vtakit.runtime.drivers.device import DeviceError
from vtakit.runtime.drivers.serial_link import LEAST_DATA_BYTES, SerialLink

from ...bitstreams.link_model import Faults, LinkModel, ModelLine

FAULTS = {
    "none": Faults(),
    "1 % of bytes": Faults(spoiled_bytes=0.01),
    "1 % of frames lost": Faults(lost_frames=0.01),
    "some of all": Faults(0.01, 0.05, 0.1, 0.05),
}


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for a model, which answers at once or never."""
    monkeypatch.setattr(serial_link, "ANSWER_SECONDS", 0.0)


def connected(model: LinkModel, faults: Faults | None = None, seed: int = 0) -> SerialLink:
    line = ModelLine(model, faults or Faults(), seed)
    return SerialLink(line, "model", baud=10**9, patience=30)


@pytest.mark.parametrize("name", FAULTS)
def test_memory_and_registers_hold_what_was_written(name: str) -> None:
    model, draw = LinkModel(), random.Random(1)
    link = connected(model, FAULTS[name], seed=3)
    wanted = np.zeros(model.memory_bytes, np.uint8)
    for _ in range(60):
        begin = 4 * draw.randrange(2000)
        data = draw.randbytes(4 * draw.randrange(1, 400))
        link.write_memory(begin, data)
        wanted[begin : begin + len(data)] = np.frombuffer(data, np.uint8)
        begin, size = 4 * draw.randrange(3000), 4 * draw.randrange(1, 400)
        assert link.read_memory(begin, size) == wanted[begin : begin + size].tobytes()
        offset, word = 4 * draw.randrange(8), draw.getrandbits(32)
        link.write(offset, word)
        assert link.read(offset) == word
    assert np.array_equal(model.memory, wanted)
    orders = [one for one in model.done if one.op == Op.WRITE_REGISTER]
    assert len(orders) == 60, "each order is done once, however often it is sent"
    assert bool(link.repeated) == (name != "none")


@settings(max_examples=30, deadline=None)
@given(
    spoiled=st.floats(0, 0.02),
    lost=st.floats(0, 0.3),
    doubled=st.floats(0, 0.5),
    cut=st.floats(0, 0.3),
    seed=st.integers(0, 10**6),
)
def test_no_fault_makes_a_wrong_result(
    spoiled: float, lost: float, doubled: float, cut: float, seed: int
) -> None:
    model = LinkModel()
    link = connected(model, Faults(spoiled, lost, doubled, cut), seed)
    data = random.Random(seed).randbytes(2000)
    link.write_memory(64, data)
    for order in range(5):
        link.write(8, order)
    assert link.read_memory(64, 2000) == data
    orders = [one.data[0] for one in model.done if one.op == Op.WRITE_REGISTER]
    assert orders == list(range(5))


def test_frames_become_shorter_on_a_bad_line_and_longer_on_a_good_one() -> None:
    model = LinkModel()
    line = ModelLine(model)
    link = SerialLink(line, "model", baud=10**9, patience=30)
    model.done.clear()
    link.write_memory(0, bytes(40_000))
    assert max(one.size for one in model.done) == MAX_DATA_BYTES
    line.faults = Faults(spoiled_bytes=0.03)
    model.done.clear()
    link.write_memory(0, bytes(4_000))
    assert min(one.size for one in model.done) <= 4 * LEAST_DATA_BYTES
    line.faults = Faults()
    model.done.clear()
    link.write_memory(0, bytes(60_000))
    assert max(one.size for one in model.done) == MAX_DATA_BYTES


def test_a_dead_board_is_reported() -> None:
    model = LinkModel()
    line = ModelLine(model, Faults(lost_frames=1.0))
    with pytest.raises(DeviceError, match=r"the board at model does not answer \(\d+ tries in 0"):
        SerialLink(line, "model", baud=10**9, patience=0.05)
    link = connected(model)
    link._line = line  # it is switched off
    link._patience = 0.05
    with pytest.raises(DeviceError, match="is it switched on, and is the bitstream loaded"):
        link.read_memory(0, 4)


def test_a_board_that_was_reset_is_reported_and_can_be_connected_to_again() -> None:
    model = LinkModel()
    link = connected(model)
    link.write_memory(0, b"abcd")
    model.reset()
    with pytest.raises(DeviceError, match="the board was reset since the host connected"):
        link.read_memory(0, 4)
    assert connected(model).read_memory(0, 4) == b"abcd"


def test_a_line_that_breaks_is_reported() -> None:
    model = LinkModel()
    line = ModelLine(model)
    link = SerialLink(line, "model", baud=10**9)

    def unplugged() -> None:
        raise OSError(5, "Input/output error")

    line.before = unplugged
    with pytest.raises(DeviceError, match="the port model is gone: .*Input/output error"):
        link.read(0)
