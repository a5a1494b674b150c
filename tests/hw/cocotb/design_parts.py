"""Parts of the core beside each other, for benches of each of them."""

from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Elaboratable, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from vtakit.hw.axi import ReadSignature
from vtakit.hw.fetch import Fetch
from vtakit.hw.load import LoadEngine
from vtakit.hw.memory import ReadChannel
from vtakit.hw.ports import INDEX_BITS, Command, Fault, Interface
from vtakit.hw.queue import Queue
from vtakit.hw.registers import Registers
from vtakit.hw.store import StoreEngine
from vtakit.hw.tokens import TokenCounter
from vtakit.isa.config import DRAM_ADDRESS_BITS, Config
from vtakit.isa.instructions import Memory

from .simulation import TOP

QUEUE_BITS, QUEUE_DEPTH, TOKEN_DEPTH = 21, 3, 4


class FetchAndPort(wiring.Component):
    """`Fetch` behind the read half of the memory port, where nobody else asks."""

    start: Signal
    address: Signal
    count: Signal
    command: Interface
    last: Signal
    idle: Signal
    error: Interface
    halt: Signal
    axi: Interface

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
                "error": Out(Fault),
                "halt": In(1),
                "axi": Out(ReadSignature(config.bus_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fetch = fetch = Fetch(self.config)
        m.submodules.port = port = ReadChannel(self.config)
        wiring.connect(m, fetch.reader, port.fetch)
        wiring.connect(m, fetch.command, wiring.flipped(self.command))
        wiring.connect(m, port.axi, wiring.flipped(self.axi))
        m.d.comb += [
            fetch.start.eq(self.start),
            fetch.address.eq(self.address),
            fetch.count.eq(self.count),
            fetch.halt.eq(self.halt),
            self.last.eq(fetch.last),
            self.idle.eq(fetch.idle),
            self.error.eq(fetch.error),
        ]
        return m


class Parts(Elaboratable):
    """Parts with ports of their own: `queue__input__valid` and so on."""

    def __init__(self, config: Config):
        self.parts: dict[str, Any] = {
            "queue": Queue(QUEUE_BITS, QUEUE_DEPTH),
            "tokens": TokenCounter(TOKEN_DEPTH),
            "registers": Registers(config),
            "fetch": FetchAndPort(config),
            "port": ReadChannel(config),
            "load": LoadEngine(config, (Memory.INP, Memory.WGT)),
            "compute": LoadEngine(config, (Memory.UOP, Memory.ACC, Memory.ACC_8BIT)),
            "store": StoreEngine(config),
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, part in self.parts.items():
            m.submodules[name] = part
        return m

    def ports(self) -> dict[str, Any]:
        """Return the signals of all members by the names of their ports."""
        return {
            "__".join((name, *map(str, path))): (Value.cast(value), None)
            for name, part in self.parts.items()
            for path, _, value in part.signature.flatten(part)
        }


def parts(config: Config) -> str:
    """Return `Parts` as Verilog."""
    design = Parts(config)
    return verilog.convert(
        design, name=TOP, ports=design.ports(), emit_src=False, strip_internal_attrs=True
    )
