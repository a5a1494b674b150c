"""The compiled hardware as a machine: what it holds, reports, writes, and how it is broken off."""

import ctypes
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pywellen
from vtakit.isa.config import PAGE_BYTES, PRESETS
from vtakit.isa.instructions import Alu, AluOp, Finish, Gemm, Instruction, Load, Memory, Store
from vtakit.isa.registers import ErrorCode
from vtakit.isa.stream import encode_stream
from vtakit.runtime.drivers.device import DeviceError
from vtakit.runtime.drivers.find import DeviceOptions, open_device
from vtakit.runtime.drivers.host import check_identity
from vtakit.runtime.drivers.rtl_machine import HangError, RtlMachine
from vtakit.sim.errors import DeadlockError, ProgramError
from vtakit.sim.machine import Machine

ROOT = Path(__file__).parents[3]
TINY = PRESETS["tiny"]
DRAM_BYTES = 1 << 20
STORED = 16 * PAGE_BYTES
TILES = 64

ADD_ONE = [
    Load(memory=Memory.UOP, dram_base=PAGE_BYTES // 4, y_size=1, x_size=1),
    Load(memory=Memory.ACC, dram_base=2 * PAGE_BYTES // 16, y_size=1, x_size=TILES),
    Alu(
        uop_end=1,
        iter_out=1,
        iter_in=TILES,
        dst_factor_in=1,
        src_factor_in=1,
        alu_opcode=AluOp.ADD,
        use_imm=True,
        imm=1,
        push_next=True,
    ),
    Store(dram_base=STORED // 4, y_size=1, x_size=TILES, pop_prev=True, push_prev=True),
    Finish(pop_next=True),
]
"""Of what is at page 2, as 32-bit numbers, plus 1, the low bytes to STORED."""


def machine(latency: int = 20, **options) -> RtlMachine:
    return RtlMachine(TINY, dram_bytes=DRAM_BYTES, memory_latency=latency, **options)


def program(*insns: Instruction):
    return encode_stream(insns, TINY)


def adds_one(vta: RtlMachine) -> bool:
    """Return whether the machine still does what it should."""
    values = np.arange(4 * TILES, dtype="<i4")
    vta.dram[2 * PAGE_BYTES :][: values.nbytes] = values.view(np.uint8)
    vta.dram[PAGE_BYTES : PAGE_BYTES + 4] = 0
    vta.dram[STORED:] = 0
    vta.run(program(*ADD_ONE))
    return np.array_equal(vta.dram[STORED:][: values.size], (values + 1).astype(np.uint8))


def test_it_is_the_machine_of_its_configuration() -> None:
    assert adds_one(vta := machine())
    with pytest.raises(DeviceError, match="the hardware is another one: its register BUFFERS is"):
        check_identity(vta, replace(TINY, inp_buffer_bytes=2 * TINY.inp_buffer_bytes))


def test_what_no_reset_sets_is_random_by_seed() -> None:
    def held(seed: int | None):
        vta = machine(seed=seed)
        vta.run(program(Store(dram_base=STORED // 4, y_size=1, x_size=TILES), Finish()))
        held = vta.dram[STORED:][: 4 * TILES].copy()
        assert adds_one(vta)
        return held

    assert not held(None).any()
    assert held(1).any()
    np.testing.assert_array_equal(held(1), held(1))
    assert not np.array_equal(held(1), held(2))


def test_a_bus_that_stalls_takes_longer_and_gives_the_same() -> None:
    calm, stalled = machine(0), machine(0, pauses=7)
    assert adds_one(calm)
    assert adds_one(stalled)
    counts = [vta.run(program(*ADD_ONE)) for vta in (calm, stalled)]
    assert counts[0].counters.original() == counts[1].counters.original()
    assert counts[0].cycles is not None
    assert counts[1].cycles is not None
    assert counts[0].cycles < counts[1].cycles


BUFFER = TINY.inp_depth
WRONG: dict[str, tuple[list[Instruction], ErrorCode, int]] = {
    "page 0": ([Alu(), Load(memory=Memory.INP, y_size=1, x_size=1)], ErrorCode.BUS, 1),
    "beyond memory": (
        [Load(memory=Memory.INP, dram_base=DRAM_BYTES // 4, y_size=1, x_size=1)],
        ErrorCode.BUS,
        0,
    ),
    "store beyond memory": (
        [Store(dram_base=DRAM_BYTES // 4, y_size=1, x_size=1)],
        ErrorCode.BUS,
        0,
    ),
    "buffer": (
        [Load(memory=Memory.INP, dram_base=1 << 12, sram_base=BUFFER, y_size=1, x_size=1)],
        ErrorCode.SRAM_RANGE,
        0,
    ),
    "micro-ops": (
        [Gemm(uop_end=TINY.uop_depth + 1, iter_out=1, iter_in=1)],
        ErrorCode.UOP_RANGE,
        0,
    ),
    "pads": ([Store(dram_base=1 << 12, y_size=1, x_size=1, y_pad_0=1)], ErrorCode.STORE_PADS, 0),
    "no neighbour": ([Load(memory=Memory.INP, pop_prev=True)], ErrorCode.NO_NEIGHBOUR, 0),
    "deadlock": ([Alu(), Alu(pop_prev=True)], ErrorCode.DEADLOCK, 1),
}


@pytest.mark.parametrize(("insns", "code", "index"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("pauses", [0, 3], ids=["calm", "stalled"])
def test_an_error_names_the_instruction_and_the_machine_works_on(
    insns: list[Instruction], code: ErrorCode, index: int, pauses: int
) -> None:
    vta = machine(pauses=pauses)
    with pytest.raises(ProgramError) as caught:
        vta.run(program(*insns, Finish()))
    assert (caught.value.code, caught.value.instruction) == (code, index)
    assert f"instruction {index}: {type(insns[index]).__name__.upper()}" in str(caught.value)
    assert code.meaning in str(caught.value)
    assert isinstance(caught.value, DeadlockError) == (code is ErrorCode.DEADLOCK)
    assert adds_one(vta)


def test_an_empty_program_is_refused() -> None:
    vta = machine()
    with pytest.raises(ProgramError, match="the program is empty; it must end with FINISH"):
        vta.run(np.zeros((0, 16), np.uint8))
    assert adds_one(vta)


def test_tokens_are_left_over_until_a_reset() -> None:
    insns = program(Load(memory=Memory.INP, push_next=True), Finish())
    sim = Machine(TINY, dram_bytes=DRAM_BYTES)
    for vta in (sim, machine()):
        vta.run(insns)
        vta.run(insns)
        assert vta.tokens["load->compute"] == 2
        vta.reset()
        assert set(vta.tokens.values()) == {0}


def test_memory_that_leaves_no_room_for_the_program_is_refused() -> None:
    vta = machine()
    vta.dram = np.lib.stride_tricks.as_strided(vta.dram, (1 << 32,), (0,))
    with pytest.raises(DeviceError, match="memory of 0x100000000 bytes leaves no room for the pro"):
        vta.run(program(Finish()))


def test_hardware_that_hangs_is_told_from_slow_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long GEMM moves nothing on the bus; a machine that does not answer is given up."""
    vta = machine()
    long = program(Gemm(uop_end=1, iter_out=500, iter_in=1000, reset=True), Finish())
    cycles = vta.run(long).cycles
    assert cycles is not None
    assert cycles > 500_000
    monkeypatch.setattr("vtakit.runtime.drivers.rtl_machine.PATIENCE_CYCLES", 0)
    monkeypatch.setattr("vtakit.runtime.drivers.rtl_machine._longest", lambda words, config: 0)
    with pytest.raises(HangError, match="the hardware hangs: nothing has moved for 40 cycles"):
        vta.run(long)


def test_an_exception_breaks_a_run_off_and_the_machine_works_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vta = machine()
    monkeypatch.setattr(vta, "_library", _Interrupts(vta._library))
    with pytest.raises(KeyboardInterrupt):
        vta.run(program(Gemm(uop_end=1, iter_out=500, iter_in=1000, reset=True), Finish()))
    monkeypatch.undo()
    assert adds_one(vta)


class _Interrupts:
    """A library, and a user who interrupts its second slice."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library, self._slices = library, 0

    def __getattr__(self, name: str):
        return getattr(self._library, name)

    def vta_run(self, *arguments):
        self._slices += 1
        if self._slices == 2:
            raise KeyboardInterrupt
        return self._library.vta_run(*arguments)


SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs this behind
from tests.runtime.drivers.test_rtl_machine import machine, program
from vtakit.isa.instructions import Finish, Gemm
long = Gemm(uop_end=1, iter_out=16000, iter_in=16000, reset=True)
vta = machine()
print("here", flush=True)
try:
    vta.run(program(long, Finish()))
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_reaches_a_long_run() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests' / '.root'}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert out == "interrupted\n"


def test_waveforms_show_the_run(tmp_path: Path) -> None:
    """A VCD and an FST of the same run hold the same."""
    changes: list[dict[str, list[Any]]] = []
    for kind in ("vcd", "fst"):
        path = tmp_path / f"w.{kind}"
        with machine(wave=path) as vta:
            assert adds_one(vta)
        wave = pywellen.Waveform(str(path))  # pyright: ignore[reportAttributeAccessIssue]
        changes.append({signal.full_name: list(signal.tv) for signal in wave.all_vars()})
    vcd, fst = changes
    assert vcd == fst
    assert [value for _, value in fst["vta.trace_running"]] == [0, 1, 0]
    assert [value for _, value in fst["vta.irq"]] == [0, 1]
    words = TILES * TINY.out_tile_bytes // TINY.bus_bytes
    sent = [time for time, value in fst["vta.clk"] if value and at(fst["vta.m_axi_wvalid"], time)]
    assert len(sent) == words


def at(changes: list[Any], time: int) -> int:
    """Return a signal's value before a time."""
    return [value for when, value in changes if when < time][-1]


def test_a_waveform_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "w.vcd"
    with pytest.raises(DeviceError, match=r"cannot write .*/none/w.vcd; is its folder there"):
        machine(wave=path)


def test_options_reach_the_hardware() -> None:
    with open_device("rtl", TINY, DeviceOptions(memory_latency=77, seed=5)) as device:
        address = device.allocate(4096)
        result = device.run(program(Finish()))
        assert result.cycles is not None
        assert result.cycles > 77
        assert address >= PAGE_BYTES
