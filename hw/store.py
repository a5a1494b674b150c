"""STORE: rows of the output buffer into memory."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ..isa.config import Config
from .axi import WriteSignature
from .ports import OutSignature, engine_members


class StoreEngine(wiring.Component):
    """Execute STOREs, up to `IN_FLIGHT` of them at once.

    Parameters
    ----------
    config : Config

    Members
    -------
    start, command, slot, front_free, written, error, halt, drained
        See `ports.engine_members`. Errors are SRAM_RANGE and BUS.
    out : Out(OutSignature(config))
        To `AccBuffer.out`.
    axi : Out(WriteSignature(config.bus_bits))
        AW of a burst is valid not later than its first word. A word written is wvalid & wready.
    out_bytes : Out(range(config.bus_bytes + 1))
        What the counter rises by in this cycle.
    """

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                **engine_members(),
                "out": Out(OutSignature(config)),
                "axi": Out(WriteSignature(config.bus_bits)),
                "out_bytes": Out(range(config.bus_bytes + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        raise NotImplementedError
