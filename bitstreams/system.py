"""All of a board but its pins and its clock: the accelerator, its memory, and a host's link."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..hw.core import Core
from ..isa.config import Config
from ..isa.link import Board
from .link import Link
from .memory_bus import MemoryBus
from .signals import Interface, resting


class System(wiring.Component):
    """The accelerator with memory, for a host at the other end of a serial line.

    Parameters
    ----------
    config : Config
    board : Board
        What the host is told.
    divisor : int
        Clock cycles of a bit on the line.
    memory : Elaboratable
        With `bursts`, a `signals.BurstSignature`, and `board.memory_bytes`.

    Members
    -------
    rx : In(1)
    tx : Out(1)
    busy, running : Out(1)
        A command of the host is done; a program runs.
    """

    rx: Signal
    tx: Signal
    busy: Signal
    running: Signal

    def __init__(self, config: Config, board: Board, divisor: int, memory: Interface):
        self.config = config
        self.board = board
        self.divisor = divisor
        self.memory = memory
        super().__init__(
            {"rx": resting(In, 1, 1), "tx": resting(Out, 1, 1), "busy": Out(1), "running": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = Core(self.config)
        m.submodules.link = link = Link(self.config, self.board, self.divisor)
        m.submodules.bus = bus = MemoryBus(self.config, self.board.memory_bytes)
        m.submodules.memory = self.memory
        wiring.connect(m, link.registers, core.registers)
        wiring.connect(m, link.memory, bus.host)
        wiring.connect(m, core.read, bus.read)
        wiring.connect(m, core.write, bus.write)
        wiring.connect(m, bus.memory, self.memory.bursts)
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            self.busy.eq(link.busy),
            self.running.eq(core.running),
        ]
        return m
