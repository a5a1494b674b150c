"""The read half of the memory port: requests granted, words handed to those who asked."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from .axi import ReadSignature
from .ports import ReaderSignature


class ReadChannel(wiring.Component):
    """Grant one standing request a cycle, in the order fetch, compute, load.

    Nothing is granted while `BURSTS_IN_FLIGHT` bursts have not wholly arrived, or `WORDS_IN_FLIGHT`
    words. A request that AR shows stays there until it is taken, whoever asks meanwhile
    (IHI 0022E, A3.2.1).

    Parameters
    ----------
    config : Config

    Members
    -------
    fetch, compute, load : In(ReaderSignature(config.bus_bits))
        What a reader received in a cycle is its `data.valid`.
    axi : Out(ReadSignature(config.bus_bits))
    drained : Out(1)
        No burst is on its way, at the beginning of the cycle.
    """

    def __init__(self, config: Config):
        self.config = config
        reader = In(ReaderSignature(config.bus_bits))
        super().__init__(
            {
                "fetch": reader,
                "compute": reader,
                "load": reader,
                "axi": Out(ReadSignature(config.bus_bits)),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        raise NotImplementedError
