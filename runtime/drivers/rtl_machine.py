"""`RtlMachine`: the accelerator's RTL, compiled, with the memory that the simulator has."""

import ctypes
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...isa.config import DRAM_ADDRESS_BITS, PAGE_BYTES, Config
from ...isa.instructions import Unit
from ...isa.registers import Control, Status
from ...isa.stream import decode_stream, unit_numbers
from ...sim.machine import DEFAULT_DRAM_BYTES, DEFAULT_MEMORY_LATENCY, Result
from ...sim.queues import TOKEN_QUEUES
from .device import DeviceError
from .host import check_identity, command, error_of, read_counters, read_register, write_register
from .rtl_build import Say, build, waves_for

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

SLICE_CYCLES = 20_000
"""Cycles between two times that Python looks up, for an interruption."""
PATIENCE_CYCLES = 100_000
"""Cycles in which nothing moves, beyond those of the longest instruction: the machine hangs."""


class HangError(DeviceError):
    """Hardware in which nothing moves any more, and that does not say why."""


class RtlMachine:
    """The hardware behind the interface of `sim.machine.Machine`.

    Buffers, memory and tokens left over last from run to run. A program that raised an error may
    have run in part.

    Parameters
    ----------
    config : Config
    dram_bytes : int
        Size of the memory. The program itself stands beside it, at the end of the address space.
    memory_latency : int
        Cycles, as the simulator's.
    seed : int or None
        What buffers and registers hold that no reset sets, at random; None: zeros.
    pauses : int
        Not 0: every channel of the bus stalls at random, from this seed, and the latency varies.
        Results are the same then; cycles are not the simulator's.
    wave : Path or None
        A waveform to write, FILE.fst or FILE.vcd.
    say
        Called with a line before the hardware is compiled.

    Attributes
    ----------
    dram : uint8 (dram_bytes)

    Raises
    ------
    DeviceError
        When the hardware cannot be compiled.
    """

    def __init__(
        self,
        config: Config,
        *,
        dram_bytes: int = DEFAULT_DRAM_BYTES,
        memory_latency: int = DEFAULT_MEMORY_LATENCY,
        seed: int | None = None,
        pauses: int = 0,
        wave: Path | None = None,
        say: Say | None = None,
    ) -> None:
        self.config = config
        self.memory_latency = memory_latency
        self.dram: U8 = np.zeros(dram_bytes, np.uint8)
        self._library = _load(build(config, waves_for(wave), say=say))
        self._machine = self._library.vta_new(
            self.dram.ctypes.data,
            dram_bytes,
            config.bus_bytes,
            memory_latency,
            -1 if seed is None else seed,
        )
        if wave and self._library.vta_wave(self._machine, str(wave).encode()):
            raise DeviceError(f"cannot write {wave}; is its folder there?")
        check_identity(self, config)
        self._library.vta_pauses(self._machine, pauses)

    def read(self, offset: int) -> int:
        """Return a register's word, as `host.ControlPort` has it."""
        word = self._library.vta_read(self._machine, offset)
        if word < 0:
            raise DeviceError(f"register {offset:#x} of the hardware cannot be read")
        return word

    def write(self, offset: int, word: int) -> None:
        """Write a register's word, as `host.ControlPort` has it."""
        if self._library.vta_write(self._machine, offset, word) < 0:
            raise DeviceError(f"register {offset:#x} of the hardware cannot be written")

    @property
    def tokens(self) -> Mapping[str, int]:
        """The tokens left in each queue, by name: `load->compute` and so on."""
        return {
            name: read_register(self, f"TOKENS_{name.upper().replace('->', '_')}")
            for name in TOKEN_QUEUES
        }

    def reset(self) -> None:
        """Forget tokens and errors, and break off what runs; memory and buffers stay."""
        command(self, Control(reset=True, clear=True), self.config)
        for _ in range(PATIENCE_CYCLES):
            if not Status.decode(read_register(self, "STATUS"), self.config).busy:
                return
        raise HangError("the hardware does not come to rest after a reset")

    def run(self, insns: U8, *, timing: bool = True, record: bool = False) -> Result:
        """Run a program to its FINISH; the hardware always counts cycles.

        Raises
        ------
        ProgramError, DeadlockError
            As `sim.machine.Machine.run` says, in the words that the error register has.
        HangError
            When nothing moves any more and no error is reported.
        """
        words = np.ascontiguousarray(insns)
        base = (1 << DRAM_ADDRESS_BITS) - -(-max(words.size, 1) // PAGE_BYTES) * PAGE_BYTES
        if base < self.dram.size:
            raise DeviceError(f"memory of {self.dram.size:#x} bytes leaves no room for the program")
        room = np.zeros((1 << DRAM_ADDRESS_BITS) - base, np.uint8)
        room[: words.size] = words.reshape(-1)
        library, machine = self._library, self._machine
        library.vta_program(machine, room.ctypes.data, base, room.size)
        write_register(self, "INSN_ADDRESS", base)
        write_register(self, "INSN_COUNT", len(words))
        command(self, Control(clear=True), self.config)
        library.vta_begin(machine)
        command(self, Control(start=True), self.config)
        patience = PATIENCE_CYCLES + 2 * _longest(words, self.config) + 2 * self.memory_latency
        try:
            while not (done := library.vta_run(machine, SLICE_CYCLES, patience)):
                pass
        except BaseException:
            self.reset()
            raise
        if done < 0:
            raise HangError(f"the hardware hangs: nothing has moved for {patience:,} cycles")
        if Status.decode(read_register(self, "STATUS"), self.config).error:
            error = error_of(self, words, self.config)
            self.reset()
            raise error
        counters = read_counters(self)
        cycles = library.vta_cycles(machine)
        if not record:
            return Result(cycles, counters)
        return Result(cycles, counters, *self._times(words))

    def _times(self, insns: U8) -> tuple[I64, I64]:
        """Return starts and ends in program order: each unit keeps the order of its own."""
        unit_of = unit_numbers(decode_stream(insns, self.config), self.config)
        times = np.zeros((2, len(insns)), np.int64)
        for unit in Unit:
            own = np.flatnonzero(unit_of == unit)
            for which in range(2):
                count = self._library.vta_times(self._machine, unit, which, None)
                if count != own.size:
                    raise DeviceError(
                        f"the hardware reports {count} instructions of the {unit.name.lower()} "
                        f"unit and the program has {own.size}"
                    )
                found = np.zeros(count, np.int64)
                self._library.vta_times(self._machine, unit, which, found.ctypes.data)
                times[which, own] = found
        return times[0], times[1]

    def close(self) -> None:
        """Let go of it, and finish the waveform."""
        if self._machine:
            self._library.vta_free(self._machine)
            self._machine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_machine", None):
            self.close()


def _longest(insns: U8, config: Config) -> int:
    """Return the most micro-ops that an instruction of a program executes."""
    columns = decode_stream(insns, config)
    uops = np.maximum(columns["uop_end"] - columns["uop_begin"], 0)
    return int((uops * columns["iter_out"] * columns["iter_in"]).max(initial=0))


def _load(path: Path) -> Any:
    """Return the library with the types of rtl_harness.cpp."""
    library = ctypes.CDLL(str(path))
    machine, word, count = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    for name, result, arguments in (
        ("vta_new", machine, (ctypes.c_void_p, count, count, count, ctypes.c_int64)),
        ("vta_free", None, (machine,)),
        ("vta_pauses", None, (machine, count)),
        ("vta_program", None, (machine, ctypes.c_void_p, count, count)),
        ("vta_read", ctypes.c_int64, (machine, word)),
        ("vta_write", ctypes.c_int, (machine, word, word)),
        ("vta_begin", None, (machine,)),
        ("vta_run", ctypes.c_int, (machine, count, count)),
        ("vta_cycles", ctypes.c_int64, (machine,)),
        ("vta_times", count, (machine, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)),
        ("vta_wave", ctypes.c_int, (machine, ctypes.c_char_p)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
