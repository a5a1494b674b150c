"""LOAD: rows of memory into the buffers of a unit, with zeros around."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ..isa.config import Config
from ..isa.instructions import Memory
from .ports import FillSignature, ReaderSignature, engine_members

LOADED_BYTES = {
    Memory.UOP: "uop_bytes",
    Memory.WGT: "wgt_bytes",
    Memory.INP: "inp_bytes",
    Memory.ACC: "acc_bytes",
    Memory.ACC_8BIT: "acc_bytes",
}


class LoadEngine(wiring.Component):
    """Execute the LOADs of one unit, up to `IN_FLIGHT` of them at once.

    Parameters
    ----------
    config : Config
    memories : tuple of Memory
        What this unit loads: (INP, WGT), or (UOP, ACC, ACC_8BIT).

    Members
    -------
    start, command, slot, front_free, written, error, halt, drained
        See `ports.engine_members`. Errors are SRAM_RANGE and BUS; the memory must be one of
        `memories`.
    reader : Out(ReaderSignature(config.bus_bits))
    fill_uop, fill_acc, or fill_inp, fill_wgt : Out(FillSignature(config, memory))
        One for each buffer. A word comes out in the cycle after it arrived.
    uop_bytes, acc_bytes, or inp_bytes, wgt_bytes : Out
        What the counters of that name rise by in this cycle; the cycle after a word's arrival.
    """

    def __init__(self, config: Config, memories: tuple[Memory, ...]):
        self.config = config
        self.memories = memories
        buffers = [memory for memory in memories if memory is not Memory.ACC_8BIT]
        super().__init__(
            {
                **engine_members(),
                "reader": Out(ReaderSignature(config.bus_bits)),
                **{
                    f"fill_{memory.name.lower()}": Out(FillSignature(config, memory))
                    for memory in buffers
                },
                **{
                    LOADED_BYTES[memory]: Out(range(4 * config.bus_bytes + 1)) for memory in buffers
                },
            }
        )

    def elaborate(self, platform: object) -> Module:
        raise NotImplementedError
