"""The two loops of GEMM and ALU around a range of micro-ops, a step at a time."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import INSTRUCTION_BITS, Config
from ..isa.fields import slots
from ..isa.instructions import Alu, Gemm, Opcode
from .layouts import layout

ITERATION_BITS = 14
OPERANDS = ("dst", "src", "wgt")


def factor_bits(config: Config, operand: str) -> int:
    """Return the bits of an operand's loop factors, the widest of GEMM's and ALU's."""
    widths = (
        slot.width
        for word in (Gemm, Alu)
        for slot in slots(word, config)
        if slot.name == f"{operand}_factor_out"
    )
    return max(widths)


def offset_bits(config: Config, operand: str) -> int:
    """Return the bits of what the two loops add to an operand's index, at most."""
    return ITERATION_BITS + factor_bits(config, operand) + 1


class Loops(wiring.Component):
    """Go through the micro-ops of a GEMM or ALU, for `iter_out` times `iter_in` iterations.

    Parameters
    ----------
    config : Config

    Members
    -------
    start : In(1)
        Take the instruction of `insn`; from the next cycle on its first micro-op is there.
    insn : In(128)
        A GEMM or ALU; valid with `start`.
    any : Out(1)
        `insn` has a micro-op to execute; valid with `insn`.
    valid : Out(1)
        A micro-op is there.
    step : In(1)
        Go on to the next one; only while `valid`. May meet `start` at the `last`.
    last : Out(1)
        It is the instruction's last.
    uop, next_uop : Out(range(uop_depth))
        Its index in the micro-op buffer, and that of the one that follows in this instruction.
    dst, src, wgt : Out(offset_bits(config, ...))
        What the loops add to its indices.
    """

    start: Signal
    insn: Signal
    any: Signal
    valid: Signal
    step: Signal
    last: Signal
    uop: Signal
    next_uop: Signal
    dst: Signal
    src: Signal
    wgt: Signal

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "insn": In(INSTRUCTION_BITS),
                "any": Out(1),
                "valid": Out(1),
                "step": In(1),
                "last": Out(1),
                "uop": Out(range(config.uop_depth)),
                "next_uop": Out(range(config.uop_depth)),
                **{name: Out(offset_bits(config, name)) for name in OPERANDS},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        gemm, alu = layout(Gemm, self.config)(self.insn), layout(Alu, self.config)(self.insn)
        begin = Signal.like(gemm.uop_begin)
        end = Signal.like(gemm.uop_end)
        inners = Signal(ITERATION_BITS)
        uops_left = Signal.like(gemm.uop_end)  # after this one, in the range
        inners_left = Signal(ITERATION_BITS)  # after this one
        outs_left = Signal(ITERATION_BITS)  # after this one
        last_uop = Signal()
        last_inner = Signal()
        m.d.comb += [
            self.any.eq((gemm.uop_end > gemm.uop_begin) & gemm.iter_out.any() & gemm.iter_in.any()),
            last_uop.eq(uops_left == 0),
            last_inner.eq(inners_left == 0),
            self.last.eq(last_uop & last_inner & (outs_left == 0)),
            self.next_uop.eq(Mux(last_uop, begin, self.uop + 1)),
        ]
        with m.If(self.step):
            m.d.sync += [
                self.uop.eq(self.next_uop),
                uops_left.eq(Mux(last_uop, end, uops_left - 1)),
            ]
            with m.If(last_uop):
                m.d.sync += inners_left.eq(Mux(last_inner, inners, inners_left - 1))
                with m.If(last_inner):
                    m.d.sync += outs_left.eq(outs_left - 1)
            with m.If(self.last):
                m.d.sync += self.valid.eq(0)
        with m.If(self.start):
            count = Signal.like(uops_left)
            m.d.comb += count.eq(gemm.uop_end - gemm.uop_begin - 1)
            m.d.sync += [
                self.valid.eq(self.any),
                begin.eq(gemm.uop_begin),
                self.uop.eq(gemm.uop_begin),
                end.eq(count),
                uops_left.eq(count),
                inners.eq(gemm.iter_in - 1),
                inners_left.eq(gemm.iter_in - 1),
                outs_left.eq(gemm.iter_out - 1),
            ]
        is_alu = gemm.opcode == Opcode.ALU
        self._offset(m, self.dst, (gemm.dst_factor_out, gemm.dst_factor_in), last_uop, last_inner)
        self._offset(
            m,
            self.src,
            (
                Mux(is_alu, alu.src_factor_out, gemm.src_factor_out),
                Mux(is_alu, alu.src_factor_in, gemm.src_factor_in),
            ),
            last_uop,
            last_inner,
        )
        self._offset(m, self.wgt, (gemm.wgt_factor_out, gemm.wgt_factor_in), last_uop, last_inner)
        return m

    def _offset(
        self,
        m: Module,
        offset: Signal,
        factors: tuple[Value, Value],
        last_uop: Value,
        last_inner: Value,
    ) -> None:
        """Keep what the loops add: at the start of an outer iteration, and now.

        `factors` are those of the outer and of the inner loop, valid with `start`.
        """
        name = offset.name
        by_outer, by_inner = (Signal.like(f, name=f"{name}_by") for f in factors)
        outer = Signal.like(offset, name=f"{name}_outer")
        with m.If(self.step & last_uop):
            with m.If(last_inner):
                m.d.sync += [outer.eq(outer + by_outer), offset.eq(outer + by_outer)]
            with m.Else():
                m.d.sync += offset.eq(offset + by_inner)
        with m.If(self.start):
            m.d.sync += [
                by_outer.eq(factors[0]),
                by_inner.eq(factors[1]),
                outer.eq(0),
                offset.eq(0),
            ]
