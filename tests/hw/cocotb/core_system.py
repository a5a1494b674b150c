"""The core with a memory that keeps it waiting, and a host: what whole-core benches drive."""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge
from cocotbext.axi import (
    AxiBus,
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiSlave,
)
from vtakit.isa.config import PAGE_BYTES, Config
from vtakit.isa.program import COUNTERS
from vtakit.isa.registers import REGISTERS, Control, Count, Error, ErrorCode, Status

from ...sim.interpreter import Bytes
from .coverage import CHANNELS

PERIOD = 2
"""Simulation steps of a clock cycle."""

PATIENCE_CYCLES = 60_000
"""Cycles after which a program that has not ended counts as hanging."""


class Dram:
    """Memory behind an AxiSlave: `data`, from address 0 on, and the program, from `PROGRAM` on.

    Bytes of neither, and those of the first page, are refused.
    """

    PROGRAM = 1 << 30

    def __init__(self, dram_bytes: int) -> None:
        self.data = np.zeros(dram_bytes, np.uint8)
        self.program = b""

    async def read(self, address: int, length: int) -> bytes:
        """Return bytes; raises IndexError where there are none."""
        if address >= self.PROGRAM:
            at = address - self.PROGRAM
            self._check(0, at, len(self.program), length)
            return self.program[at : at + length]
        self._check(PAGE_BYTES, address, self.data.size, length)
        return self.data[address : address + length].tobytes()

    async def write(self, address: int, data: bytes) -> None:
        """Write bytes; raises IndexError where there are none."""
        self._check(PAGE_BYTES, address, self.data.size, len(data))
        self.data[address : address + len(data)] = np.frombuffer(data, np.uint8)

    def load(self, words: Bytes) -> None:
        """Put a program in its place, and zeros behind it, as bursts may read on."""
        self.program = words.tobytes() + bytes(-words.size % PAGE_BYTES)

    @staticmethod
    def _check(begin: int, address: int, end: int, length: int) -> None:
        if not begin <= address <= end - length:
            raise IndexError(f"{address:#x}")


class System:
    """The core under test, out of reset once `reset` is awaited.

    Parameters
    ----------
    dut
    config : Config
    dram_bytes : int
    draw : Random

    Attributes
    ----------
    memory : Dram
    stalled : set of str
        The channels on which something had to wait, since it was cleared.
    """

    def __init__(self, dut: Any, config: Config, dram_bytes: int, draw: random.Random) -> None:
        self.dut, self.config, self.draw = dut, config, draw
        self.memory = Dram(dram_bytes)
        self.stalled: set[str] = set()
        cocotb.start_soon(Clock(dut.clk, PERIOD, "step").start())
        bus = AxiBus.from_prefix(dut, "m_axi")
        self.slave: Any = AxiSlave(bus, dut.clk, dut.rst, target=self.memory)
        self.host: Any = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        read, write = self.slave.read_if, self.slave.write_if
        self.channels = {
            "AR": read.ar_channel,
            "R": read.r_channel,
            "AW": write.aw_channel,
            "W": write.w_channel,
            "B": write.b_channel,
        }
        for channel in ("AR", "AW", "W"):
            self.channels[channel].queue_occupancy_limit = -1  # it waits when it is told to, only
        for channel in ("R", "B"):
            _refuse_by_either(self.channels[channel], draw)

    async def reset(self) -> None:
        """Hold reset for some cycles."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 4)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)
        cocotb.start_soon(self._watch())

    def keep_waiting(self, channels: Iterable[str], *, host: bool = False) -> None:
        """Let these channels pause at random from now on, and the host's five."""
        channels = set(channels)
        for name in CHANNELS:
            odds = self.draw.choice((0.2, 0.5, 0.9)) if name in channels else 0
            self._pause(self.channels[name], odds)
        write, read = self.host.write_if, self.host.read_if
        for channel in (
            write.aw_channel,
            write.w_channel,
            write.b_channel,
            read.ar_channel,
            read.r_channel,
        ):
            self._pause(channel, self.draw.choice((0.2, 0.6)) if host else 0)

    async def read(self, name: str) -> int:
        """Return a register's word, of 64 bits for a counter."""
        register = REGISTERS[name]
        answer: Any = await self.host.read(register.offset, register.size_bytes)
        assert answer.resp is AxiResp.OKAY, f"{name}: {answer.resp}"
        return int.from_bytes(answer.data, "little")

    async def write(self, name: str, word: int) -> None:
        """Write a register's word."""
        answer: Any = await self.host.write(REGISTERS[name].offset, word.to_bytes(4, "little"))
        assert answer.resp is AxiResp.OKAY, f"{name}: {answer.resp}"

    async def order(self, **orders: bool) -> None:
        """Write CONTROL."""
        await self.write("CONTROL", Control(**orders).encode(self.config))

    async def status(self) -> Status:
        """Return STATUS."""
        return Status.decode(await self.read("STATUS"), self.config)

    async def begin(self, words: Bytes, address: int = Dram.PROGRAM) -> None:
        """Start a program, with counters at 0, as the driver does."""
        self.memory.load(words)
        await self.write("INSN_ADDRESS", address)
        await self.write("INSN_COUNT", len(words))
        await self.order(clear=True)
        await self.order(start=True)

    async def done(self) -> Status:
        """Wait for the interrupt or poll, as chance will have it; return STATUS."""
        status = Status()
        if self.draw.random() < 0.5:
            for _ in range(PATIENCE_CYCLES):
                if self.dut.irq.value:
                    break
                await RisingEdge(self.dut.clk)
            status = await self.status()
        else:
            for _ in range(PATIENCE_CYCLES // 8):
                status = await self.status()
                if status.done:
                    break
        assert status.done, f"no end in sight: {status}"
        assert not status.busy
        assert self.dut.irq.value
        return status

    async def error(self) -> tuple[ErrorCode, int]:
        """Return what was wrong with which instruction."""
        code = Error.decode(await self.read("ERROR"), self.config).code
        return code, await self.read("ERROR_INSN")

    async def counters(self) -> dict[str, int]:
        """Return the counters that the original has."""
        return {name: await self.read(name.upper()) for name in COUNTERS}

    async def all_counters(self) -> dict[str, int]:
        """Return every counter, by the name of its register."""
        names = (name for name, register in REGISTERS.items() if register.format is Count)
        return {name: await self.read(name) for name in names}

    def _pause(self, channel: Any, odds: float) -> None:
        channel.set_pause_generator(_pauses(self.draw, odds) if odds else None)
        channel.pause = False

    async def _watch(self) -> None:
        """See on which channels something waits, and that what stands does not change."""
        dut = self.dut
        standing: dict[str, Sequence[int]] = {}
        paused = {name: self.channels[name] for name in ("R", "B")}
        payloads = {
            "AR": (dut.m_axi_araddr, dut.m_axi_arlen),
            "AW": (dut.m_axi_awaddr, dut.m_axi_awlen),
            "W": (dut.m_axi_wdata, dut.m_axi_wstrb, dut.m_axi_wlast),
        }
        shakes = {
            name: tuple(getattr(dut, f"m_axi_{name.lower()}{end}") for end in ("valid", "ready"))
            for name in payloads
        }
        while True:
            await RisingEdge(dut.clk)
            await ReadOnly()
            assert dut.m_axi_rready.value
            assert dut.m_axi_bready.value
            for name, (valid, ready) in shakes.items():
                if not valid.value:
                    assert name not in standing, f"{name} went away before it was taken"
                    continue
                payload = [int(signal.value) for signal in payloads[name]]
                assert standing.pop(name, payload) == payload, f"{name} changed while it stood"
                if not ready.value:
                    standing[name] = payload
                    self.stalled.add(name)
            for name, channel in paused.items():
                if channel.pause and not channel.empty():
                    self.stalled.add(name)


def _pauses(draw: random.Random, odds: float) -> Iterator[bool]:
    """Give True while the channel pauses, with these odds, in stretches of some cycles."""
    while True:
        pause = draw.random() < odds
        for _ in range(draw.choice((1, 1, 2, 5, 12))):
            yield pause


def _refuse_by_either(channel: Any, draw: random.Random) -> None:
    """Let what cocotbext-axi refuses with SLVERR be refused with DECERR as often."""
    send = channel.send

    async def sent(item: Any) -> None:
        name = "rresp" if hasattr(item, "rresp") else "bresp"
        if getattr(item, name) != AxiResp.OKAY and draw.random() < 0.5:
            setattr(item, name, AxiResp.DECERR)
        await send(item)

    channel.send = sent
