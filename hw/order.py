"""Which instruction of the other unit each instruction of COMPUTE and MATRIX must follow."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import INSTRUCTION_BITS, Config
from ..isa.instructions import Load, Memory, Opcode, Unit
from .layouts import bank_of, layout
from .ports import INDEX_BITS

_FLAGS = ("pop_prev", "pop_next", "push_prev", "push_next")


class Order(wiring.Component):
    """Know the last instructions of both units at each place where they meet (sim/TIMING.md).

    The places are the two banks and the four token flags. Of the other unit's last instructions at
    the places of an instruction the newest is wanted: for each pair of places a bit says which has
    the newer one, so that nothing has to be compared.

    Parameters
    ----------
    config : Config

    Members
    -------
    insn : In(128)
    unit : In(Unit)
    index : In(32)
        Of the instruction in its program.
    taken : In(1)
        It is handed over in this cycle, to COMPUTE or MATRIX or another unit.
    forget : In(1)
        A new program begins.
    after : Out(32)
        One more than the index of the instruction that it must follow; 0 if there is none.
    """

    insn: Signal
    unit: Signal
    index: Signal
    taken: Signal
    forget: Signal
    after: Signal

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "insn": In(INSTRUCTION_BITS),
                "unit": In(range(len(Unit))),
                "index": In(INDEX_BITS),
                "taken": In(1),
                "forget": In(1),
                "after": Out(INDEX_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        insn = layout(Load, self.config)(self.insn)
        in_both = (insn.opcode == Opcode.FINISH) | (
            (insn.opcode == Opcode.LOAD) & (insn.memory == Memory.UOP)
        )
        bank = bank_of(self.insn, self.config)
        places = Signal(2 + len(_FLAGS))
        m.d.comb += places.eq(
            Cat(in_both | ~bank, in_both | bank, *(insn[flag] for flag in _FLAGS))
        )
        known = {unit: self._last(m, unit, places) for unit in (Unit.COMPUTE, Unit.MATRIX)}
        m.d.comb += self.after.eq(
            Mux(self.unit == Unit.MATRIX, known[Unit.COMPUTE], known[Unit.MATRIX])
        )
        return m

    def _last(self, m: Module, unit: Unit, places: Signal) -> Value:
        """Return the newest of a unit's instructions at some places, one more than its index."""
        name, count = unit.name.lower(), len(places)
        last = [Signal(INDEX_BITS, name=f"{name}_{place}") for place in range(count)]
        newer = [Signal(count, name=f"{name}_{place}_newer") for place in range(count)]
        noted = Signal(name=f"{name}_noted")
        m.d.comb += noted.eq(self.taken & (self.unit == unit))
        for place in range(count):  # `newer[place]` has a bit for each place that has an older one
            with m.If(self.forget):
                m.d.sync += [last[place].eq(0), newer[place].eq(0)]
            with m.Elif(noted & places[place]):
                m.d.sync += [last[place].eq(self.index + 1), newer[place].eq(~places)]
            with m.Elif(noted):
                m.d.sync += newer[place].eq(newer[place] & ~places)
        newest: Value = Const(0, INDEX_BITS)
        for place in range(count):
            beaten = Cat(newer[other][place] for other in range(count)) & places
            newest = newest | Mux(places[place] & ~beaten.any(), last[place], 0)
        return newest
