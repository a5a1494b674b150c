"""The registers behind an AXI4-Lite port, from the table that `isa.registers` has."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from ..isa.instructions import Unit
from ..isa.registers import (
    REGISTERS,
    Access,
    Activity,
    Control,
    Count,
    Error,
    Register,
    Status,
    activities,
    constants,
)
from .axi import LITE_ADDRESS_BITS, LiteSignature
from .layouts import layout
from .ports import INDEX_BITS, Interface

WORD_BITS = 32
_OKAY, _SLAVE_ERROR = 0, 2  # xRESP; IHI 0022E, A3.4.4

COUNTERS = tuple(name for name, register in REGISTERS.items() if register.format is Count)
"""The counters, by name."""

TOKENS = tuple(name for name in REGISTERS if name.startswith("TOKENS_"))
"""The registers that show a token queue."""


def without_matrix() -> dict[str, str | None]:
    """Return what counters show where there is no MATRIX: that of another counter, or 0 (None)."""
    shown: dict[str, str | None] = {
        f"{Unit.MATRIX.name}_{activity.name}": None for activity in activities(Unit.MATRIX)
    }
    shown[f"{Unit.MATRIX.name}_{Activity.NO_INSTRUCTION.name}"] = "CYCLES"
    shown[f"{Unit.COMPUTE.name}_{Activity.ORDER.name}"] = None
    return shown


def increment_layout(config: Config) -> data.StructLayout:
    """Return what each counter rises by in a cycle: as many bytes as four bus words, at most."""
    return data.StructLayout({name: range(4 * config.bus_bytes + 1) for name in COUNTERS})


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
    rises : In(increment_layout(config))
        What the counters rise by in this cycle; those of `without_matrix` do not count it where
        there is one bank.
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
                "rises": In(increment_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self._words(m)
        self._read(m, words)
        self._write(m)
        return m

    def _words(self, m: Module) -> dict[str, Signal]:
        """Return what each readable register holds, as 32 bits, or 64 for a counter."""
        words: dict[str, Signal] = {}
        fixed = constants(self.config)
        variable = {
            "STATUS": self.status,
            "ERROR": self.error,
            "ERROR_INSN": self.error_insn,
            "INSN_ADDRESS": self.insn_address,
            "INSN_COUNT": self.insn_count,
            **{name: self.tokens[name] for name in TOKENS},
        }
        shown = without_matrix() if self.config.acc_banks == 1 else {}
        for name, register in REGISTERS.items():
            if register.access is Access.WRITE:
                continue
            word = Signal(register.format.WORD_BITS, name=name.lower())
            if name in shown:
                other = shown[name]
                m.d.comb += word.eq(words[other] if other else 0)
            elif register.format is Count:
                with m.If(self.control.clear):
                    m.d.sync += word.eq(0)
                with m.Else():
                    m.d.sync += word.eq(word + self.rises[name])
            elif name in fixed:
                m.d.comb += word.eq(fixed[name])
            else:
                m.d.comb += word.eq(variable[name])
            words[name] = word
        return words

    def _read(self, m: Module, words: dict[str, Signal]) -> None:
        """Answer AR a cycle later on R."""
        bus = self.bus
        m.d.comb += bus.arready.eq(~bus.rvalid)
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [bus.rvalid.eq(1), bus.rdata.eq(0), bus.rresp.eq(_SLAVE_ERROR)]
            with m.Switch(bus.araddr[2:]):
                for name, word in words.items():
                    for part in range(len(word) // WORD_BITS):
                        with m.Case(REGISTERS[name].offset // 4 + part):
                            m.d.sync += [
                                bus.rdata.eq(word.word_select(part, WORD_BITS)),
                                bus.rresp.eq(_OKAY),
                            ]

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
