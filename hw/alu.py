"""The vector unit: an operation on each lane of a tile of accumulators."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from ..isa.costs import ALU_STAGES, IN_FLIGHT
from ..isa.instructions import AluOp, Memory
from .issue import Step
from .ports import Interface, TileReadSignature, TileWriteSignature

assert ALU_STAGES == 5
LANE_BITS = 32


class VectorUnit(wiring.Component):
    """Stages 3 to 5 of ALU: read a tile, operate, write.

    acc[dst] = acc[dst] op (imm or acc[src]), lane by lane. With one read port a step with `source`
    reads acc[src] into the operand register, where it stays for the steps that follow. A tile that
    is read while the step before it operates is taken from stage 5.

    Parameters
    ----------
    config : Config

    Members
    -------
    step : In(Step(config))
        A micro-op in stage 3; those of GEMM pass by.
    acc : Out(TileReadSignature(config, Memory.ACC))
        Used where `step.valid`, by ALU's steps.
    acc2 : Out(TileReadSignature(config, Memory.ACC))
        The source operand's; only where `acc_read_ports` is 2.
    write : Out(TileWriteSignature(config))
    written : Out(IN_FLIGHT)
        The slot of an instruction whose last tile is written in this cycle.
    """

    step: Interface
    acc: Interface
    acc2: Interface
    write: Interface
    written: Signal

    def __init__(self, config: Config):
        self.config = config
        members = {
            "step": In(Step(config)),
            "acc": Out(TileReadSignature(config, Memory.ACC)),
            "write": Out(TileWriteSignature(config)),
            "written": Out(IN_FLIGHT),
        }
        if config.acc_read_ports == 2:
            members["acc2"] = Out(TileReadSignature(config, Memory.ACC))
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = self.step
        m.d.comb += self.acc.index.eq(Mux(step.source, step.src, step.dst))

        # Stage 4: what was read, or what stage 5 is about to write there; then the operation.
        valid = Signal()
        source = Signal()
        what = Signal.like(step.what)
        retire = Signal(IN_FLIGHT)
        bank = Signal.like(step.bank)
        m.d.sync += [
            bank.eq(step.bank),
            valid.eq(step.valid & step.what.alu),
            source.eq(step.source),
            what.eq(step.what),
            retire.eq(Mux(step.what.alu, step.retire, 0)),
        ]
        value = self._read(m, self.acc, bank)
        if self.config.acc_read_ports == 2:
            m.d.comb += self.acc2.index.eq(step.src)
            operand = self._read(m, self.acc2, bank)
        else:
            operand = Signal.like(value)
            with m.If(valid & source):
                m.d.sync += operand.eq(value)
        lanes = [
            _operate(
                m,
                what.alu_opcode,
                value.word_select(lane, LANE_BITS),
                Mux(what.use_imm, what.imm.as_signed(), operand.word_select(lane, LANE_BITS)),
                f"lane_{lane}",
            )
            for lane in range(self.config.batch * self.config.block_out)
        ]
        m.d.sync += [
            self.write.en.eq(valid & ~source),
            self.write.bank.eq(bank),
            self.write.index.eq(self._address),
            self.write.data.eq(Cat(lanes)),
            self.written.eq(retire),
        ]
        return m

    def _read(self, m: Module, port: Interface, bank: Value) -> Value:
        """Return in stage 4 the tile whose index `port` has in stage 3, of a bank."""
        address = Signal.like(port.index)
        tile = Signal.like(port.data)
        if port is self.acc:
            self._address = address
        m.d.sync += address.eq(port.index)
        fresh = self.write.en & (self.write.index == address) & (self.write.bank == bank)
        m.d.comb += tile.eq(Mux(fresh, self.write.data, port.data))
        return tile


def _operate(m: Module, operation: Value, x: Value, y: Value, name: str) -> Value:
    """Return x op y, of 32 bits; sim/semantics.py says what SHR does with every count."""
    a, b = (Signal(LANE_BITS, name=f"{name}_{side}") for side in "xy")
    result = Signal(LANE_BITS, name=f"{name}_result")
    less = Signal(name=f"{name}_less")
    m.d.comb += [a.eq(x), b.eq(y), less.eq(a.as_signed() < b.as_signed())]
    with m.Switch(operation):
        with m.Case(AluOp.MIN):
            m.d.comb += result.eq(Mux(less, a, b))
        with m.Case(AluOp.MAX):
            m.d.comb += result.eq(Mux(less, b, a))
        with m.Case(AluOp.ADD):
            m.d.comb += result.eq(a + b)
        with m.Case(AluOp.SHR):
            m.d.comb += result.eq(_shifted(m, a, b, name))
        with m.Default():
            m.d.comb += result.eq(a * b)
    return result


def _shifted(m: Module, x: Signal, count: Signal, name: str) -> Value:
    """Return x >> count, arithmetic, for every signed count: one shifter, mirrored for the left."""
    left = count[-1]
    fill = Signal(name=f"{name}_fill")
    distance = Signal(LANE_BITS, name=f"{name}_distance")
    straight, shifted = (Signal(LANE_BITS, name=f"{name}_{what}") for what in ("in", "shifted"))
    bits = LANE_BITS.bit_length() - 1
    m.d.comb += [
        fill.eq(x[-1] & ~left),
        distance.eq(Mux(left, -count, count)),
        straight.eq(Mux(left, x[::-1], x)),
        shifted.eq(
            Mux(
                distance[bits:].any(),
                fill.replicate(LANE_BITS),
                Cat(straight, fill.replicate(LANE_BITS)) >> distance[:bits],
            )
        ),
    ]
    return Mux(left, shifted[::-1], shifted)
