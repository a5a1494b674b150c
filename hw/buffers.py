"""The on-chip buffers: each takes a bus word a cycle, whatever its alignment, and gives a tile."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import ReadPort
from amaranth.lib.wiring import In

from ..isa.config import Config
from ..isa.instructions import Memory
from .banks import bank_of, line_of, new_banks, read_tile, rotate, spread
from .ports import (
    BankShape,
    FillSignature,
    Interface,
    OutSignature,
    TileReadSignature,
    TileWriteSignature,
)


def _sign_extended(byte: Value) -> Value:
    """Return a byte as 32 bits."""
    return Cat(byte, byte[-1].replicate(24))


class Buffer(wiring.Component):
    """Micro-ops, input tiles or weight tiles.

    Parameters
    ----------
    config : Config
    memory : Memory
        UOP, INP or WGT.
    ports : int
        1, or 2 for a second port to read, with its own copy.

    Members
    -------
    fill : In(FillSignature(config, memory))
        A read whose index is given in a later cycle sees it.
    read, read2 : In(TileReadSignature(config, memory))
        A tile in every cycle; `data` is that of the index of the cycle before.
    """

    fill: Interface
    read: Interface
    read2: Interface

    def __init__(self, config: Config, memory: Memory, ports: int = 1):
        self.config = config
        self.memory = memory
        self.reads = ("read", "read2")[:ports]
        super().__init__(
            {
                "fill": In(FillSignature(config, memory)),
                **{name: In(TileReadSignature(config, memory)) for name in self.reads},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shape = BankShape(self.config, self.memory)
        writes = spread(m, shape, self.fill, self.fill.data)
        for name in self.reads:
            banks = new_banks(m, shape, writes)
            read_tile(m, shape, getattr(self, name), [bank.read_port() for bank, _ in banks])
        return m


class AccBuffer(wiring.Component):
    """A bank of accumulators, and their low 8 bits once more, the output buffer, for STORE.

    Parameters
    ----------
    config : Config

    Members
    -------
    fill : In(FillSignature(config, Memory.ACC))
        A read whose index is given in a later cycle sees it. Never in a cycle of `write.en`.
    write : In(TileWriteSignature(config))
        A whole tile.
    read : In(TileReadSignature(config, Memory.ACC))
        A tile in every cycle; `data` is that of the index of the cycle before, as what was written
        in that cycle has left it.
    read2 : In(TileReadSignature(config, Memory.ACC))
        A second one; only where `acc_read_ports` is 2.
    out : In(OutSignature(config))
    """

    fill: Interface
    write: Interface
    read: Interface
    read2: Interface
    out: Interface

    def __init__(self, config: Config):
        self.config = config
        self.reads = ("read", "read2")[: config.acc_read_ports]
        super().__init__(
            {
                "fill": In(FillSignature(config, Memory.ACC)),
                "write": In(TileWriteSignature(config)),
                **{name: In(TileReadSignature(config, Memory.ACC)) for name in self.reads},
                "out": In(OutSignature(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shape = BankShape(self.config, Memory.ACC)
        fill, write, bus_bytes = self.fill, self.write, self.config.bus_bytes
        elements = Cat(_sign_extended(fill.data.word_select(i, 8)) for i in range(bus_bytes))
        widened = Signal(32 * bus_bytes)
        m.d.comb += widened.eq(Mux(fill.extend, elements, fill.data.replicate(4)))
        writes = spread(m, shape, fill, widened)
        with m.If(write.en):
            for number, bank in enumerate(writes):
                m.d.comb += [
                    bank.line.eq(line_of(shape, write.index)),
                    bank.chunks.eq(Mux(bank_of(shape, write.index) == number, -1, 0)),
                    bank.data.eq(write.data),
                ]
        for name in self.reads:  # each with its own copy: a block of memory has two ports
            banks = new_banks(m, shape, writes)
            ports = [bank.read_port(transparent_for=(port,)) for bank, port in banks]
            read_tile(m, shape, getattr(self, name), ports)
        self._read_out(m, shape, [bank.read_port() for bank, _ in new_banks(m, shape, writes, 4)])
        return m

    def _read_out(self, m: Module, shape: BankShape, ports: list[ReadPort]) -> None:
        """Put a bus word together from all banks, or take it out of an element."""
        out = self.out
        first, line = bank_of(shape, out.index), line_of(shape, out.index)
        back = Signal.like(first)
        chunk = Signal.like(out.chunk)
        with m.If(out.en):
            m.d.sync += [back.eq(-first), chunk.eq(out.chunk)]
        for number, port in enumerate(ports):
            m.d.comb += [port.addr.eq(line + (number < first)), port.en.eq(out.en)]
        word = rotate(m, Cat(port.data for port in ports), back, shape.element_bits // 4)
        m.d.comb += out.data.eq(word.word_select(chunk, self.config.bus_bits))
