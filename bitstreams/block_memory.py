"""Block RAM as the device's memory, for boards whose own memory there is no controller for."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from ..isa.config import Config
from ..isa.costs import MAX_BURST_WORDS
from .signals import BurstSignature, Interface


class BlockMemory(wiring.Component):
    """A memory of one bus word a cycle.

    Parameters
    ----------
    config : Config
    size_bytes : int
        A multiple of a page.

    Members
    -------
    bursts : In(BurstSignature(config.bus_bits))
    """

    bursts: Interface

    def __init__(self, config: Config, size_bytes: int):
        self.config = config
        self.size_bytes = size_bytes
        super().__init__({"bursts": In(BurstSignature(config.bus_bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bursts = self.bursts
        depth = self.size_bytes // self.config.bus_bytes
        m.submodules.words = words = Memory(shape=self.config.bus_bits, depth=depth, init=[])
        put, get = words.write_port(granularity=8), words.read_port()
        done = Signal(range(MAX_BURST_WORDS + 1))  # words written or asked for
        asked = Signal()
        more = done != bursts.words
        m.d.comb += [
            put.addr.eq(bursts.address + done),
            put.data.eq(bursts.data),
            get.addr.eq(bursts.address + done),
            bursts.found.eq(asked),
            bursts.found_data.eq(get.data),
        ]
        m.d.sync += asked.eq(bursts.valid & ~bursts.write & more)
        with m.If(bursts.valid & more):
            m.d.sync += done.eq(done + 1)
            with m.If(bursts.write):
                m.d.comb += [put.en.eq(bursts.strobe), bursts.next.eq(1)]
        with m.If(bursts.valid & ~more):
            m.d.comb += bursts.ready.eq(1)
            m.d.sync += done.eq(0)
        return m
