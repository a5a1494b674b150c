"""What is wrong with an instruction as a word, found as it is handed to its unit."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import INSTRUCTION_BITS, Config
from ..isa.instructions import Alu, AluOp, Gemm, Load, Memory, Opcode, Unit
from ..isa.registers import ErrorCode
from .layouts import layout


class Check(wiring.Component):
    """Name the unit of an instruction and what of it can be seen to be wrong.

    Ranges of LOAD and STORE are for the engines, those of micro-ops for `Issue`; the order of the
    checks is the simulator's (sim/decode.py). Combinational.

    Parameters
    ----------
    config : Config

    Members
    -------
    insn : In(128)
    last : In(1)
        It is the program's last.
    unit : Out(Unit)
    code : Out(ErrorCode)
        NONE, or what is wrong.
    next : Out(1)
        It is the next instruction that is wrong: it follows FINISH.
    """

    insn: Signal
    last: Signal
    unit: Signal
    code: Signal
    next: Signal

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "insn": In(INSTRUCTION_BITS),
                "last": In(1),
                "unit": Out(range(len(Unit))),
                "code": Out(range(len(ErrorCode))),
                "next": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        transfer = layout(Load, self.config)(self.insn)
        own = Signal.like(self.code)  # wrong by itself, tokens apart
        m.d.comb += self.unit.eq(Unit.COMPUTE)
        with m.Switch(transfer.opcode):
            with m.Case(Opcode.LOAD):
                with m.If((transfer.memory == Memory.INP) | (transfer.memory == Memory.WGT)):
                    m.d.comb += self.unit.eq(Unit.LOAD)
                with m.If(transfer.memory >= len(Memory)):
                    m.d.comb += own.eq(ErrorCode.UNKNOWN_MEMORY)
                with m.Elif((transfer.x_size != 0) & (transfer.memory == Memory.OUT)):
                    m.d.comb += own.eq(ErrorCode.NOT_LOADED)
            with m.Case(Opcode.STORE):
                m.d.comb += self.unit.eq(Unit.STORE)
                pads = transfer.y_pad_0 | transfer.y_pad_1 | transfer.x_pad_0 | transfer.x_pad_1
                with m.If(transfer.memory >= len(Memory)):
                    m.d.comb += own.eq(ErrorCode.UNKNOWN_MEMORY)
                with m.Elif((transfer.x_size != 0) & (transfer.memory != Memory.OUT)):
                    m.d.comb += own.eq(ErrorCode.NOT_STORED)
                with m.Elif((transfer.x_size != 0) & (pads != 0)):
                    m.d.comb += own.eq(ErrorCode.STORE_PADS)
            with m.Case(Opcode.GEMM):
                if self.config.acc_banks == 2:
                    m.d.comb += self.unit.eq(Unit.MATRIX)
                with m.If(self._beyond_buffer()):
                    m.d.comb += own.eq(ErrorCode.UOP_RANGE)
            with m.Case(Opcode.ALU):
                with m.If(layout(Alu, self.config)(self.insn).alu_opcode >= len(AluOp)):
                    m.d.comb += own.eq(ErrorCode.UNKNOWN_ALU_OPCODE)
                with m.Elif(self._beyond_buffer()):
                    m.d.comb += own.eq(ErrorCode.UOP_RANGE)
            with m.Case(Opcode.FINISH):
                with m.If(~self.last):
                    m.d.comb += [own.eq(ErrorCode.AFTER_FINISH), self.next.eq(1)]
            with m.Default():
                m.d.comb += own.eq(ErrorCode.UNKNOWN_OPCODE)

        no_neighbour = Mux(
            self.unit == Unit.LOAD,
            transfer.pop_prev | transfer.push_prev,
            (self.unit == Unit.STORE) & (transfer.pop_next | transfer.push_next),
        )
        with m.If(own != ErrorCode.NONE):
            m.d.comb += self.code.eq(own)
        with m.Elif(no_neighbour):
            m.d.comb += self.code.eq(ErrorCode.NO_NEIGHBOUR)
        with m.Elif(self.last & (transfer.opcode != Opcode.FINISH)):
            m.d.comb += self.code.eq(ErrorCode.MISSING_FINISH)
        return m

    def _beyond_buffer(self) -> Value:
        """Return whether a GEMM or ALU would execute a micro-op that the buffer does not have."""
        gemm = layout(Gemm, self.config)(self.insn)
        executes = (gemm.uop_end > gemm.uop_begin) & gemm.iter_out.any() & gemm.iter_in.any()
        return executes & (gemm.uop_end > self.config.uop_depth)
