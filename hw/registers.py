"""The registers behind an AXI4-Lite port, from the table that `isa.registers` has."""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from ..isa.registers import (
    REGISTERS,
    Access,
    Control,
    Error,
    Register,
    Status,
    constants,
)
from .axi import LITE_ADDRESS_BITS, LiteSignature
from .counters import COUNTER_BITS, COUNTERS, Counters, rise_layout
from .layouts import layout
from .ports import INDEX_BITS, Interface

WORD_BITS = 32
_OKAY, _SLAVE_ERROR = 0, 2  # xRESP; IHI 0022E, A3.4.4

TOKENS = tuple(name for name in REGISTERS if name.startswith("TOKENS_"))
"""The registers that show a token queue."""


class Registers(wiring.Component):
    """Answer a host.

    A write that hits no register, or one that cannot be written, and a read that hits none or one
    that cannot be read, is answered with SLVERR and does nothing.

    Parameters
    ----------
    config : Config

    Members
    -------
    bus : In(LiteSignature())
    control : Out(layout(Control, config))
        Bits that were written as 1, for a cycle.
    insn_address, insn_count : Out(32)
    status : In(layout(Status, config))
    error : In(layout(Error, config))
    error_insn : In(32)
    tokens : In(StructLayout)
        Levels of the token queues, by the names of `TOKENS`.
    rises : In(rise_layout(config))
        What the counters rise by in this cycle.
    """

    bus: Interface
    control: Interface
    insn_address: Signal
    insn_count: Signal
    status: Interface
    error: Interface
    error_insn: Signal
    tokens: Interface
    rises: Interface

    def __init__(self, config: Config):
        self.config = config
        levels = range(config.token_queue_depth + 1)
        super().__init__(
            {
                "bus": In(LiteSignature()),
                "control": Out(layout(Control, config)),
                "insn_address": Out(WORD_BITS),
                "insn_count": Out(WORD_BITS),
                "status": In(layout(Status, config)),
                "error": In(layout(Error, config)),
                "error_insn": In(INDEX_BITS),
                "tokens": In(data.StructLayout({name: levels for name in TOKENS})),
                "rises": In(rise_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.counters = counters = Counters(self.config)
        m.d.comb += [counters.rises.eq(self.rises), counters.clear.eq(self.control.clear)]
        self._read(m, self._words(m), counters)
        self._write(m)
        return m

    def _words(self, m: Module) -> dict[str, Value]:
        """Return what each readable register holds that is no counter, as 32 bits."""
        words: dict[str, Value] = {
            name: Const(value, WORD_BITS) for name, value in constants(self.config).items()
        }
        variable = {
            "STATUS": self.status,
            "ERROR": self.error,
            "ERROR_INSN": self.error_insn,
            "INSN_ADDRESS": self.insn_address,
            "INSN_COUNT": self.insn_count,
            **{name: self.tokens[name] for name in TOKENS},
        }
        for name, value in variable.items():
            word = words[name] = Signal(WORD_BITS, name=name.lower())
            m.d.comb += word.eq(value)
        return words

    def _read(self, m: Module, words: dict[str, Value], counters: Counters) -> None:
        """Answer AR on R: a cycle later, or for a counter when it has had its turn."""
        bus = self.bus
        wanted = Signal.like(counters.turn)
        high = Signal()
        had_turn = Signal(2)  # a cycle ago, and two
        m.d.sync += had_turn.eq(had_turn[0] << 1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += bus.arready.eq(1)
                with m.If(bus.arvalid):
                    m.d.sync += [bus.rdata.eq(0), bus.rresp.eq(_SLAVE_ERROR)]
                    m.next = "ANSWER"
                    with m.Switch(bus.araddr[2:]):
                        for name, word in words.items():
                            with m.Case(REGISTERS[name].offset // 4):
                                m.d.sync += [bus.rdata.eq(word), bus.rresp.eq(_OKAY)]
                        for name in COUNTERS:
                            number = counters.number(name)
                            for part in range(COUNTER_BITS // WORD_BITS):
                                with m.Case(REGISTERS[name].offset // 4 + part):
                                    m.d.sync += bus.rresp.eq(_OKAY)
                                    if number is not None:
                                        m.d.sync += [wanted.eq(number), high.eq(part)]
                                        m.next = "COUNTER"
            with m.State("COUNTER"):
                m.d.sync += had_turn[0].eq(counters.turn == wanted)
                with m.If(had_turn[1]):
                    m.d.sync += bus.rdata.eq(counters.value.word_select(high, WORD_BITS))
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += bus.rvalid.eq(1)
                with m.If(bus.rready):
                    m.next = "IDLE"

    def _write(self, m: Module) -> None:
        """Take AW and W, in any order, and answer on B."""
        bus = self.bus
        address = Signal(LITE_ADDRESS_BITS)
        has_address = Signal()
        word = Signal(WORD_BITS)
        strobe = Signal(WORD_BITS // 8)
        has_word = Signal()
        acts = Signal()
        m.d.comb += [
            bus.awready.eq(~has_address),
            bus.wready.eq(~has_word),
            acts.eq(has_address & has_word & ~bus.bvalid),
        ]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [address.eq(bus.awaddr), has_address.eq(1)]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [word.eq(bus.wdata), strobe.eq(bus.wstrb), has_word.eq(1)]
        mask = Cat(bit.replicate(8) for bit in strobe)
        with m.If(acts):
            m.d.sync += [
                has_address.eq(0),
                has_word.eq(0),
                bus.bvalid.eq(1),
                bus.bresp.eq(_SLAVE_ERROR),
            ]
            with m.Switch(address[2:]):
                for register in REGISTERS.values():
                    if register.access is Access.READ:
                        continue
                    with m.Case(register.offset // 4):
                        m.d.sync += bus.bresp.eq(_OKAY)
                        self._set(m, register, word, mask)

    def _set(self, m: Module, register: Register, word: Signal, mask: Value) -> None:
        """Do what writing a register does."""
        if register.format is Control:
            m.d.comb += self.control.eq(word & mask)
        else:
            held = getattr(self, register.name.lower())
            m.d.sync += held.eq((held & ~mask) | (word & mask))
