"""A board with a Lattice ECP5: clocks from its PLL, a serial line, and memory."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from ..isa.config import Config
from ..isa.link import Board
from .block_memory import BlockMemory
from .boards import BoardError, BoardFacts
from .sdram import IS42S16160G, Sdram
from .signals import Interface
from .system import System

VCO_MHZ = 400, 800
PHASE_DETECTOR_MHZ = 3.125, 400
SDRAM_PHASE = 0.75
"""How far the memory chip's clock is behind the accelerator's, in cycles: what we put out has then
three quarters of a cycle to reach it, and what it puts out, up to 8 ns after its own edge by way of
pads and board, stays for the second edge of ours from then."""


@dataclass(frozen=True)
class PllSettings:
    """Dividers of an EHXPLLL (Lattice FPGA-TN-02200), and the clock that comes of them."""

    input_divider: int
    feedback: int
    output_divider: int
    mhz: float


def pll_settings(input_mhz: float, wanted_mhz: float) -> PllSettings:
    """Return the settings whose clock is nearest to the one wanted, and not above it.

    Raises
    ------
    BoardError
        When there are none within 5 %.
    """
    found: list[PllSettings] = []
    for input_divider in range(1, 9):
        detector = input_mhz / input_divider
        if not PHASE_DETECTOR_MHZ[0] <= detector <= PHASE_DETECTOR_MHZ[1]:
            continue
        for feedback in range(1, 81):
            mhz = detector * feedback
            if mhz > wanted_mhz * (1 + 1e-9) or mhz < wanted_mhz * 0.95:
                continue
            for output_divider in range(4, 129, 4):  # phases of quarters
                if VCO_MHZ[0] <= mhz * output_divider <= VCO_MHZ[1]:
                    found.append(PllSettings(input_divider, feedback, output_divider, mhz))
    if not found:
        raise BoardError(f"no PLL setting makes {wanted_mhz:g} MHz of {input_mhz:g} MHz")
    return max(found, key=lambda one: (one.mhz, -one.input_divider, one.output_divider))


class Clocks(Elaboratable):
    """Drives `sync` from the board's clock by way of the PLL, and `chip`, `SDRAM_PHASE` later."""

    def __init__(self, settings: PllSettings, input_mhz: float):
        self.settings = settings
        self.input_mhz = input_mhz

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        one = self.settings
        source = platform.request(platform.default_clk, dir="-")
        m.submodules.buffer = buffer = io.Buffer(io.Direction.Input, source)
        locked = Signal()
        m.submodules.pll = Instance(
            "EHXPLLL",
            i_CLKI=buffer.i,
            i_CLKFB=ClockSignal("sync"),
            i_RST=Const(0, 1),
            i_STDBY=Const(0, 1),
            i_PHASESEL0=Const(0, 1),
            i_PHASESEL1=Const(0, 1),
            i_PHASEDIR=Const(0, 1),
            i_PHASESTEP=Const(0, 1),
            i_PHASELOADREG=Const(0, 1),
            i_PLLWAKESYNC=Const(0, 1),
            i_ENCLKOP=Const(0, 1),
            i_ENCLKOS=Const(0, 1),
            o_CLKOP=ClockSignal("sync"),
            o_CLKOS=ClockSignal("chip"),
            o_LOCK=locked,
            p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=one.input_divider,
            p_CLKFB_DIV=one.feedback,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=one.output_divider,
            p_CLKOP_CPHASE=one.output_divider - 1,
            p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=one.output_divider,
            p_CLKOS_CPHASE=one.output_divider - 1 + int(one.output_divider * SDRAM_PHASE),
            p_CLKOS_FPHASE=0,
            a_FREQUENCY_PIN_CLKI=f"{self.input_mhz:g}",
            a_FREQUENCY_PIN_CLKOP=f"{one.mhz:g}",
            a_FREQUENCY_PIN_CLKOS=f"{one.mhz:g}",
        )
        m.submodules.reset = ResetSynchronizer(~locked, domain="sync")
        return m


class Ecp5Top(Elaboratable):
    """All of a board.

    Parameters
    ----------
    facts : BoardFacts
    config : Config
    platform
        Of amaranth-boards.
    settings : PllSettings
        The accelerator's clock.
    """

    def __init__(self, facts: BoardFacts, config: Config, platform: Any, settings: PllSettings):
        self.facts = facts
        self.config = config
        self.input_mhz = platform.default_clk_frequency / 1e6
        self.settings = settings

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        facts, config = self.facts, self.config
        clock_hz = round(self.settings.mhz * 1e6)
        m.domains.sync = ClockDomain()
        m.domains.chip = ClockDomain(reset_less=True)
        m.submodules.clocks = Clocks(self.settings, self.input_mhz)
        memory: Interface
        if "SDRAM" in facts.memory:
            memory = Sdram(config, IS42S16160G, clock_hz)
            _join_sdram(m, platform, memory.pins)
        else:
            memory = BlockMemory(config, facts.memory_bytes)
        board = Board(clock_hz=clock_hz, memory_bytes=facts.memory_bytes)
        divisor = round(clock_hz / facts.baud)
        m.submodules.system = system = System(config, board, divisor, memory)
        uart = platform.request("uart", dir="-")
        m.submodules.rx = rx = io.Buffer(io.Direction.Input, uart.rx)
        m.submodules.tx = tx = io.Buffer(io.Direction.Output, uart.tx)
        m.d.comb += [system.rx.eq(rx.i), tx.o.eq(system.tx)]
        for number, signal in enumerate((system.running, system.busy)):
            led = platform.request("led", number, dir="-")
            m.submodules[f"led_{number}"] = buffer = io.Buffer(io.Direction.Output, led)
            m.d.comb += buffer.o.eq(signal)
        return m


def _join_sdram(m: Module, platform: Any, pins: Interface) -> None:
    """Join the controller to the chip, through the registers of the pads."""
    chip = platform.request("sdram", dir="-")
    for name, signal in {
        "clk_en": pins.cke,
        "cs": ~pins.cs_n,
        "ras": ~pins.ras_n,
        "cas": ~pins.cas_n,
        "we": ~pins.we_n,
        "ba": pins.ba,
        "a": pins.a,
        "dqm": pins.dqm,
    }.items():
        m.submodules[f"sdram_{name}"] = buffer = io.FFBuffer(
            io.Direction.Output, getattr(chip, name)
        )
        m.d.comb += buffer.o.eq(signal)
    m.submodules.sdram_dq = data = io.FFBuffer(io.Direction.Bidir, chip.dq)
    m.d.comb += [data.o.eq(pins.dq_o), data.oe.eq(pins.dq_oe), pins.dq_i.eq(data.i)]
    clock: Interface = io.DDRBuffer(io.Direction.Output, chip.clk, o_domain="chip")
    m.submodules.sdram_clk = clock
    m.d.comb += [clock.o[0].eq(1), clock.o[1].eq(0)]
