"""The simulator and the hardware beside each other: one program on both, and what differs."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from vtakit.isa.config import DRAM_ADDRESS_BITS, PAGE_BYTES, Config
from vtakit.isa.fields import slots
from vtakit.isa.instructions import Load, Memory
from vtakit.isa.registers import ErrorCode
from vtakit.runtime.drivers.rtl_machine import RtlMachine
from vtakit.sim.errors import ProgramError
from vtakit.sim.machine import Machine, Result

from ..sim.programs import DATA, TOP, UOPS, Bytes, memory_image, program

Outcome: TypeAlias = Result | ProgramError


class Both:
    """A simulator and the hardware, with memories of one size.

    Parameters
    ----------
    config : Config
    latency : int
        Of memory, in cycles.
    pauses : int
        Not 0: the hardware's bus stalls at random from this seed, and only results are compared.
    seed : int or None
        What the hardware's buffers and registers hold at first; None: zeros, as the simulator's.
    dram_bytes : int
        The least that memory must hold.
    """

    def __init__(
        self,
        config: Config,
        latency: int,
        *,
        pauses: int = 0,
        seed: int | None = None,
        dram_bytes: int = TOP,
    ) -> None:
        size = -(-max(dram_bytes, TOP) // PAGE_BYTES) * PAGE_BYTES
        self.config, self.exact = config, not pauses
        self._image, self._filling = memory_image(config, 3), filling(config)
        self._alike = seed is None  # what buffers hold
        self.sim = Machine(config, dram_bytes=size, memory_latency=latency)
        self.rtl = RtlMachine(
            config, dram_bytes=size, memory_latency=latency, pauses=pauses, seed=seed
        )

    def run(self, insns: Bytes, dram: Bytes) -> tuple[Outcome, Outcome]:
        """Run a program on both, `dram` at the beginning of memory, buffers alike and no tokens."""
        for machine in (self.sim, self.rtl):
            machine.reset()
            if not self._alike:
                machine.dram[: self._image.size] = self._image
                machine.run(self._filling)
        self._alike = True
        return _run(self.sim, insns, dram), _run(self.rtl, insns, dram)

    def differences(self, insns: Bytes, dram: Bytes, *, racy: bool = False) -> list[str]:
        """Return what differs; memory does not count where the program races."""
        return self.compared(insns, dram, racy=racy)[0]

    def compared(
        self, insns: Bytes, dram: Bytes, *, racy: bool = False
    ) -> tuple[list[str], Outcome]:
        """Return what differs, and what the simulator came to."""
        sim, rtl = self.run(insns, dram)
        if isinstance(sim, ProgramError) and self._reads_program(insns, sim):
            self._alike = False
            return [], sim
        if isinstance(sim, Result) and isinstance(rtl, Result):
            self._alike = not racy
            return self._results(sim, rtl, racy=racy), sim
        self._alike = False
        return self._errors(insns, sim, rtl), sim

    def _results(self, sim: Result, rtl: Result, *, racy: bool) -> list[str]:
        found = _numbers("counter", sim.counters.original(), rtl.counters.original())
        found += _numbers("tokens", self.sim.tokens, self.rtl.tokens)
        if not racy and not np.array_equal(self.sim.dram, self.rtl.dram):
            wrong = np.flatnonzero(self.sim.dram != self.rtl.dram)
            found.append(f"memory: {wrong.size} bytes from {int(wrong[0]):#x} on")
        if self.exact:
            found += _numbers("cycles", {"all": sim.cycles}, {"all": rtl.cycles})
            found += _numbers("cycles", _flat(sim), _flat(rtl))
            found += _times("start", sim.starts, rtl.starts)
            found += _times("end", sim.ends, rtl.ends)
        return found

    def close(self) -> None:
        """Let go of both."""
        self.sim.close()
        self.rtl.close()

    def _errors(self, insns: Bytes, sim: Outcome, rtl: Outcome) -> list[str]:
        texts = [_text(outcome) for outcome in (sim, rtl)]
        if not isinstance(sim, ProgramError) or not isinstance(rtl, ProgramError):
            return [f"the simulator: {texts[0]}; the hardware: {texts[1]}"]
        codes = [sim.code]
        if sim.code is ErrorCode.DRAM_RANGE:
            codes = [ErrorCode.BUS]
        elif sim.code is ErrorCode.SRAM_RANGE and self._outside_memory(insns, sim.instruction):
            codes = [ErrorCode.SRAM_RANGE, ErrorCode.BUS]  # what is met first
        if rtl.code in codes and sim.instruction == rtl.instruction:
            return []
        return [f"the simulator: {texts[0]}; the hardware: {texts[1]}"]

    def _reads_program(self, insns: Bytes, error: ProgramError) -> bool:
        """Whether a LOAD is wrong that reads where hardware finds the program, beside memory."""
        if error.code is not ErrorCode.DRAM_RANGE:
            return False
        assert error.instruction is not None
        pages = -(-insns.size // PAGE_BYTES)
        return any(
            end > (1 << DRAM_ADDRESS_BITS) - pages * PAGE_BYTES
            for _, end in self._rows(insns, error.instruction)
        )

    def _outside_memory(self, insns: Bytes, index: int | None) -> bool:
        """Return whether a LOAD or STORE has a row that is not in memory."""
        assert index is not None
        return any(
            begin < PAGE_BYTES or end > self.sim.dram.size
            for begin, end in self._rows(insns, index)
        )

    def _rows(self, insns: Bytes, index: int) -> Iterator[tuple[int, int]]:
        """Give the first address of each row of a LOAD or STORE, and the one after its last."""
        word = int.from_bytes(insns[index].tobytes(), "little")
        fields = {
            slot.name: word >> slot.offset & ((1 << slot.width) - 1)
            for slot in slots(Load, self.config)
        }
        size = Memory(fields["memory"]).element_bytes(self.config)
        for y in range(fields["y_size"]):
            begin = (fields["dram_base"] + y * fields["x_stride"]) * size % (1 << DRAM_ADDRESS_BITS)
            yield begin, begin + fields["x_size"] * size


def _run(machine: Machine | RtlMachine, insns: Bytes, dram: Bytes) -> Outcome:
    machine.dram[: dram.size] = dram
    machine.dram[dram.size :] = 0
    try:
        return machine.run(insns, record=True)
    except ProgramError as error:
        return error


def filling(config: Config) -> Bytes:
    """Return a program that fills every buffer from a `memory_image`."""
    loads: list[Load] = []
    for memory in (Memory.UOP, Memory.WGT, Memory.INP, Memory.ACC):
        size, depth = memory.element_bytes(config), memory.depth(config)
        begin, end = (UOPS, DATA) if memory is Memory.UOP else (DATA, TOP)
        row = min(depth, 1 << ((end - begin) // size).bit_length() - 1)
        base = -(-begin // size)
        fill = Load(memory=memory, dram_base=base, y_size=depth // row, x_size=row)
        banks = config.acc_banks if memory is Memory.ACC else 1
        loads += [replace(fill, bank=bank) for bank in range(banks)]
    return program(config, *loads)


def _text(outcome: Outcome) -> str:
    if isinstance(outcome, Result):
        return "no error"
    return f"{outcome.code.name} of instruction {outcome.instruction} ({outcome})"


def _flat(result: Result) -> dict[str, int]:
    flat: dict[str, int] = {}
    assert result.counters.cycles is not None
    for name, value in asdict(result.counters.cycles).items():
        if isinstance(value, dict):
            flat |= {f"{name}.{reason}": count for reason, count in value.items()}
        else:
            flat[name] = value
    return flat


def _numbers(what: str, sim: Any, rtl: Any) -> list[str]:
    return [
        f"{what} {name}: {sim[name]} in the simulator, {rtl[name]} in hardware"
        for name in sim
        if sim[name] != rtl[name]
    ]


def _times(
    what: str, sim: npt.NDArray[np.int64] | None, rtl: npt.NDArray[np.int64] | None
) -> list[str]:
    assert sim is not None
    assert rtl is not None
    wrong = np.flatnonzero(sim != rtl)
    if not wrong.size:
        return []
    first = int(wrong[0])
    return [
        f"{what} of instruction {first}: {sim[first]} in the simulator, {rtl[first]} in hardware "
        f"({wrong.size} differ)"
    ]
