"""Fetch: the program in bursts, handed on one instruction a cycle."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import DRAM_ADDRESS_BITS, Config
from .ports import INDEX_BITS, Command, Fault, ReaderSignature


class Fetch(wiring.Component):
    """Read a program and hand on its instructions in their order.

    Parameters
    ----------
    config : Config

    Members
    -------
    start : In(1)
        Begin in the next cycle, which is cycle 0 of the run: the request for burst 0 stands in it.
        Only while `idle`.
    address : In(32)
        Of the program, valid with `start`; the low 8 bits count as zero.
    count : In(32)
        Instructions in it, valid with `start`.
    command : Out(stream.Signature(Command))
        The next instruction; ready where the queue of its unit has room.
    last : Out(1)
        It is the program's last; valid with `command.valid`.
    idle : Out(1)
        All instructions have been handed on, at the beginning of the cycle.
    reader : Out(ReaderSignature(config.bus_bits))
    error : Out(Fault)
        BUS, with the first instruction of the word that memory refused; in the cycle after it.
        Nothing is handed on from then on.
    halt : In(1)
        No request that does not stand yet; nothing is handed on.
    drained : Out(1)
        While `halt`: no request stands. Words on their way are known to `ReadChannel.drained`.
    """

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "address": In(DRAM_ADDRESS_BITS),
                "count": In(INDEX_BITS),
                "command": Out(stream.Signature(Command)),
                "last": Out(1),
                "idle": Out(1),
                "reader": Out(ReaderSignature(config.bus_bits)),
                "error": Out(Fault),
                "halt": In(1),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        raise NotImplementedError
