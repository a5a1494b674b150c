"""The on-chip buffers: banks that take a bus word a cycle, whatever its alignment."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ..isa.config import Config
from ..isa.instructions import Memory
from .ports import FillSignature, OutSignature, TileReadSignature, TileWriteSignature


class Buffer(wiring.Component):
    """Micro-ops, input tiles or weight tiles.

    Parameters
    ----------
    config : Config
    memory : Memory
        UOP, INP or WGT.

    Members
    -------
    fill : In(FillSignature(config, memory))
        A read whose index is given in a later cycle sees it.
    read : In(TileReadSignature(config, memory))
        A tile in every cycle; `data` is that of the index of the cycle before.
    """

    def __init__(self, config: Config, memory: Memory):
        self.config = config
        self.memory = memory
        super().__init__(
            {
                "fill": In(FillSignature(config, memory)),
                "read": In(TileReadSignature(config, memory)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        raise NotImplementedError


class AccBuffer(wiring.Component):
    """The accumulators, and their low 8 bits once more for STORE.

    Parameters
    ----------
    config : Config

    Members
    -------
    fill : In(FillSignature(config, Memory.ACC))
        Never in a cycle of `write`.
    write : In(TileWriteSignature(config))
        A whole tile.
    read : In(TileReadSignature(config, Memory.ACC))
        A tile in every cycle; `data` is that of the index of the cycle before, as what was written
        in that cycle has left it.
    read2 : In(TileReadSignature(config, Memory.ACC))
        A second one; only where `acc_read_ports` is 2.
    out : In(OutSignature(config))
    """

    def __init__(self, config: Config):
        self.config = config
        reads = ["read", "read2"][: config.acc_read_ports]
        super().__init__(
            {
                "fill": In(FillSignature(config, Memory.ACC)),
                "write": In(TileWriteSignature(config)),
                **{name: In(TileReadSignature(config, Memory.ACC)) for name in reads},
                "out": In(OutSignature(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        raise NotImplementedError
