"""The counters of a run: 64 bits each, few of them in registers."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from ..isa.instructions import Unit
from ..isa.registers import REGISTERS, Activity, Count, activities
from .ports import Interface

COUNTER_BITS = Count.WORD_BITS

COUNTERS = tuple(name for name, register in REGISTERS.items() if register.format is Count)
"""The counters, by name."""


def without_matrix() -> dict[str, str | None]:
    """Return what counters show where there is no MATRIX: that of another counter, or 0 (None)."""
    shown: dict[str, str | None] = {
        f"{Unit.MATRIX.name}_{activity.name}": None for activity in activities(Unit.MATRIX)
    }
    shown[f"{Unit.MATRIX.name}_{Activity.NO_INSTRUCTION.name}"] = "CYCLES"
    shown[f"{Unit.COMPUTE.name}_{Activity.ORDER.name}"] = None
    return shown


def kept(config: Config) -> tuple[str, ...]:
    """Return the counters that are kept; `without_matrix` has the others."""
    others = without_matrix() if config.acc_banks == 1 else {}
    return tuple(name for name in COUNTERS if name not in others)


def most_rise(config: Config, name: str) -> int:
    """Return what a counter rises by in a cycle at most: 1, or the bytes of four bus words."""
    return 4 * config.bus_bytes if name.endswith("_NBYTES") else 1


def rise_layout(config: Config) -> data.StructLayout:
    """Return what each counter that is kept rises by in a cycle."""
    return data.StructLayout({name: range(most_rise(config, name) + 1) for name in kept(config)})


class Counters(wiring.Component):
    """Count in small registers, and carry them over into memory, one after the other.

    Each cycle it is the turn of one counter: what its register holds is added to its word in
    memory, and the register begins again. All have had their turn before a register is full.

    Parameters
    ----------
    config : Config

    Members
    -------
    rises : In(rise_layout(config))
        What they rise by in this cycle.
    clear : In(1)
        Set all to 0; what they rise by in this cycle is lost.
    turn : Out(range(len(kept(config))))
        Whose turn it is.
    value : Out(64)
        What the counter holds whose turn it was two cycles before: all rises up to two cycles
        before its turn.
    """

    rises: Interface
    clear: Signal
    turn: Signal
    value: Signal

    def __init__(self, config: Config):
        self.config = config
        self.names = kept(config)
        super().__init__(
            {
                "rises": In(rise_layout(config)),
                "clear": In(1),
                "turn": Out(range(len(self.names))),
                "value": Out(COUNTER_BITS),
            }
        )

    def number(self, name: str) -> int | None:
        """Return which one shows a register: None where it is always 0."""
        others = without_matrix() if self.config.acc_banks == 1 else {}
        shown = others.get(name, name)
        return None if shown is None else self.names.index(shown)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        turns = len(self.names)
        m.submodules.memory = memory = Memory(shape=COUNTER_BITS, depth=turns, init=[])
        read, write = memory.read_port(), memory.write_port()
        rises = Signal.like(self.rises)
        clear = Signal()
        m.d.sync += [
            rises.eq(self.rises),
            clear.eq(self.clear),
            self.turn.eq(Mux(self.turn == turns - 1, 0, self.turn + 1)),
        ]

        small = [
            Signal(range(most_rise(self.config, name) * turns + 1), name=name.lower())
            for name in self.names
        ]
        in_memory = Signal(turns)  # what its word holds counts
        for number, (name, register) in enumerate(zip(self.names, small, strict=True)):
            with m.If(clear):
                m.d.sync += register.eq(0)
            with m.Elif(self.turn == number):
                m.d.sync += register.eq(rises[name])
            with m.Else():
                m.d.sync += register.eq(register + rises[name])
        taken = Signal(range(max(4 * self.config.bus_bytes * turns, 1) + 1))
        counts = Signal()
        turn = Signal.like(self.turn)
        m.d.comb += [
            read.addr.eq(self.turn),
            write.en.eq(1),
            write.addr.eq(turn),
            write.data.eq(self.value),
        ]
        before = Signal.like(self.turn)
        m.d.sync += [
            taken.eq(Array(small)[self.turn]),
            counts.eq(in_memory.bit_select(self.turn, 1)),
            in_memory.eq(Mux(clear, 0, in_memory | (1 << self.turn))),
            before.eq(self.turn),
            turn.eq(before),
            self.value.eq(Mux(counts, read.data, 0) + taken),
        ]
        return m
