"""Micro-ops issued: read, their indices added up and checked, ready for the pipelines."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from ..isa.costs import IN_FLIGHT
from ..isa.instructions import Alu, Gemm, Memory, Opcode, Uop
from ..isa.registers import ErrorCode
from .layouts import bank_of, layout
from .loops import OPERANDS, Loops, offset_bits
from .ports import INDEX_BITS, Command, Fault, Interface, TileReadSignature

What = data.StructLayout({"alu": 1, "reset": 1, "alu_opcode": 3, "use_imm": 1, "imm": 16})
"""What the micro-ops of an instruction do."""


class Step(data.StructLayout):
    """A micro-op as it enters a pipeline, its indices within their buffers.

    `source` says that this cycle is there to read the source operand; the same micro-op follows.
    `retire` has the instruction's slot in its last step.
    """

    def __init__(self, config: Config):
        super().__init__(
            {
                "valid": 1,
                "what": What,
                "source": 1,
                "bank": config.bank_bits,
                "dst": range(config.acc_depth),
                "src": range(max(config.acc_depth, config.inp_depth)),
                "wgt": range(config.wgt_depth),
                "retire": IN_FLIGHT,
            }
        )


class Issue(wiring.Component):
    """Execute GEMMs, ALUs and FINISHes up to their indices.

    Two stages: the micro-op is read; its indices are added to what the loops add. The buffer
    answers in the cycle after an address, so it is given the one of the micro-op that comes next.
    A micro-op with a tensor operand is issued for two cycles where the accumulators have one read
    port and the operand register does not hold its source (sim/TIMING.md).

    Parameters
    ----------
    config : Config

    Members
    -------
    start, command, slot, front_free, error
        See `ports.engine_members`. Errors are DST_RANGE, SRC_RANGE and WGT_RANGE. No LOAD may start
        here.
    nothing : Out(IN_FLIGHT)
        The slot of an instruction without micro-ops, as it starts: it has written.
    uop : Out(TileReadSignature(config, Memory.UOP))
    step : Out(Step(config))
        To the pipelines, registered.
    gemm, alu : Out(1)
        A cycle that issues, of GEMM or of ALU.
    counted : Out(1)
        It issues a micro-op for the first time, and not one of a GEMM with `reset`.
    hit : Out(1)
        A micro-op of ALU needs one cycle, since the operand register holds its source.
    """

    start: Signal
    command: Interface
    slot: Signal
    front_free: Signal
    error: Interface
    nothing: Signal
    uop: Interface
    step: Interface
    gemm: Signal
    alu: Signal
    counted: Signal
    hit: Signal

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "command": In(Command),
                "slot": In(range(IN_FLIGHT)),
                "front_free": Out(1),
                "error": Out(Fault),
                "nothing": Out(IN_FLIGHT),
                "uop": Out(TileReadSignature(config, Memory.UOP)),
                "step": Out(Step(config)),
                "gemm": Out(1),
                "alu": Out(1),
                "counted": Out(1),
                "hit": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.loops = loops = Loops(config)
        gemm, alu = (layout(word, config)(self.command.insn) for word in (Gemm, Alu))
        has_loops = (gemm.opcode == Opcode.GEMM) | (gemm.opcode == Opcode.ALU)
        works = Signal()
        m.d.comb += [
            works.eq(self.start & has_loops & loops.any),
            loops.insn.eq(self.command.insn),
            loops.start.eq(works),
            self.nothing.eq((self.start & ~works) << self.slot),
        ]

        # Stage 1: the instruction that issues, and its micro-op.
        what: Interface = Signal(What)
        slot = Signal.like(self.slot)
        index = Signal(INDEX_BITS)
        first = Signal()
        bank = Signal(config.bank_bits)

        with m.If(works):
            m.d.sync += [
                what.alu.eq(alu.opcode == Opcode.ALU),
                what.reset.eq(gemm.reset),
                what.alu_opcode.eq(alu.alu_opcode),
                what.use_imm.eq(alu.use_imm),
                what.imm.eq(alu.imm),
                slot.eq(self.slot),
                index.eq(self.command.index),
                bank.eq(bank_of(self.command.insn, config)),
                first.eq(1),
            ]
        again = Signal()  # the micro-op in stage 2 issues once more
        issued = Signal()
        m.d.comb += [
            issued.eq(loops.valid & ~again),
            loops.step.eq(issued),
            self.uop.index.eq(Mux(loops.valid, loops.next_uop, gemm.uop_begin)),
            self.front_free.eq(~loops.valid & ~again),
            self.gemm.eq(issued & ~what.alu),
            self.counted.eq(issued & (what.alu | ~what.reset)),
        ]
        with m.If(issued & ~works):
            m.d.sync += first.eq(0)

        # A micro-op that cannot go on is kept, since its buffer gives the next one.
        uop = Signal.like(self.uop.data)
        kept_uop = Signal.like(self.uop.data)
        waited = Signal()
        m.d.comb += uop.eq(Mux(waited, kept_uop, self.uop.data))
        m.d.sync += [kept_uop.eq(uop), waited.eq(again)]

        # Stage 2: the micro-op and the loops' offsets.
        valid = Signal()
        second = Signal()  # in its second cycle
        held: Interface = Signal(
            data.StructLayout(
                {
                    "uop": len(uop),
                    "what": What,
                    "first": 1,
                    "retire": IN_FLIGHT,
                    "index": INDEX_BITS,
                    "bank": config.bank_bits,
                    **{name: offset_bits(config, name) for name in OPERANDS},
                }
            )
        )
        m.d.sync += [valid.eq(issued | again), second.eq(again)]
        with m.If(issued):
            m.d.sync += [
                held.uop.eq(uop),
                held.what.eq(what),
                held.first.eq(first),
                held.retire.eq(loops.last << slot),
                held.index.eq(index),
                held.bank.eq(bank),
                *(held[name].eq(getattr(loops, name)) for name in OPERANDS),
            ]
        m.d.comb += self.alu.eq((issued & what.alu) | again)
        self._add(m, held, valid, second, again)
        return m

    def _add(self, m: Module, held: Interface, valid: Value, second: Value, again: Signal) -> None:
        """Add the indices up and check them; into the pipelines, once or twice."""
        config, step = self.config, self.step
        uop = layout(Uop, config)(held.uop)
        sums = {
            name: Signal(offset_bits(config, name) + 1, name=f"{name}_sum") for name in OPERANDS
        }
        m.d.comb += [sums[name].eq(uop[name] + held[name]) for name in OPERANDS]

        alu = held.what.alu
        multiplies = Signal()
        outside = {name: Signal(name=f"{name}_outside") for name in OPERANDS}
        m.d.comb += [
            multiplies.eq(~alu & ~held.what.reset),
            outside["dst"].eq(sums["dst"] >= config.acc_depth),
            outside["src"].eq(
                Mux(
                    alu,
                    sums["src"] >= config.acc_depth,
                    multiplies & (sums["src"] >= config.inp_depth),
                )
            ),
            outside["wgt"].eq(multiplies & (sums["wgt"] >= config.wgt_depth)),
        ]
        faulty = outside["dst"] | outside["src"] | outside["wgt"]
        fresh = valid & ~second
        m.d.sync += [
            self.error.valid.eq(fresh & faulty),
            self.error.index.eq(held.index),
            self.error.code.eq(
                Mux(
                    outside["dst"],
                    ErrorCode.DST_RANGE,
                    Mux(outside["src"], ErrorCode.SRC_RANGE, ErrorCode.WGT_RANGE),
                )
            ),
        ]

        twice = Signal()
        if config.acc_read_ports == 1:
            holds = (sums["src"] == step.src) & (step.dst != step.src) & ~held.first
            tensor = alu & ~held.what.use_imm
            m.d.comb += [twice.eq(tensor & ~holds), self.hit.eq(fresh & tensor & holds)]
        m.d.comb += again.eq(fresh & twice)
        m.d.sync += [
            step.valid.eq((fresh & ~faulty) | (second & step.valid)),
            step.source.eq(again),
            step.retire.eq(Mux(valid & ~again, held.retire, 0)),
        ]
        with m.If(fresh):
            m.d.sync += [
                step.what.eq(held.what),
                step.bank.eq(held.bank),
                *(step[name].eq(sums[name]) for name in OPERANDS),
            ]
