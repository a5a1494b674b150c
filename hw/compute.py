"""The compute unit: its LOADs, GEMM and ALU around the accumulators."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from ..isa.config import Config
from ..isa.costs import IN_FLIGHT
from ..isa.instructions import Instruction, Memory, Opcode
from .alu import VectorUnit
from .buffers import AccBuffer, Buffer
from .gemm import MatrixUnit
from .issue import Issue
from .layouts import layout
from .load import LoadEngine
from .ports import (
    Interface,
    OutSignature,
    ReaderSignature,
    TileReadSignature,
    engine_members,
)

MEMORIES = (Memory.UOP, Memory.ACC, Memory.ACC_8BIT)
_FILL = ("chunks", "index", "data", "extend")


class ComputeEngine(wiring.Component):
    """Execute the instructions of COMPUTE, and MATRIX; holds micro-ops and accumulators.

    Parameters
    ----------
    config : Config

    Members
    -------
    start, command, slot, front_free, written, error, halt, drained
        See `ports.engine_members`.
    reader : Out(ReaderSignature(config.bus_bits))
    inp, wgt : Out(TileReadSignature(config, ...))
    out : In(OutSignature(config))
        The output buffer, for STORE.
    gemm, alu : Out(1)
        A cycle that issues a micro-op of GEMM or of ALU.
    operand_hit : Out(1)
        See `Issue.hit`.
    gemm_counted, alu_counted : Out(1)
        A micro-op that the original's counters count.
    uop_bytes, acc_bytes
        See `receive.fill_members`.
    matrix
        With two banks, the members of an engine (`ports.engine_members`) once more, for MATRIX.
    """

    start: Signal
    command: Interface
    slot: Signal
    front_free: Signal
    written: Signal
    error: Interface
    halt: Signal
    drained: Signal
    reader: Interface
    inp: Interface
    wgt: Interface
    out: Interface
    gemm: Signal
    alu: Signal
    operand_hit: Signal
    gemm_counted: Signal
    alu_counted: Signal
    uop_bytes: Signal
    acc_bytes: Signal
    matrix: Interface

    def __init__(self, config: Config):
        self.config = config
        self.loader = LoadEngine(config, MEMORIES)
        matrix = {"matrix": Out(wiring.Signature(engine_members()))}
        if config.acc_banks == 1:
            matrix.clear()
        super().__init__(
            {
                **engine_members(),
                "reader": Out(ReaderSignature(config.bus_bits)),
                "inp": Out(TileReadSignature(config, Memory.INP)),
                "wgt": Out(TileReadSignature(config, Memory.WGT)),
                "out": Out(OutSignature(config)).flip(),
                "gemm": Out(1),
                "alu": Out(1),
                "operand_hit": Out(1),
                "gemm_counted": Out(1),
                "alu_counted": Out(1),
                "uop_bytes": Out(self.loader.uop_bytes.shape()),
                "acc_bytes": Out(self.loader.acc_bytes.shape()),
                **matrix,
            }
        )
        if not matrix:
            self.matrix = None

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, matrix = self.config, self.matrix
        m.submodules.loader = loader = self.loader
        m.submodules.issue = issue = multiplies = Issue(config)
        if config.acc_banks == 2:
            m.submodules.matrix_issue = multiplies = Issue(config)
        m.submodules.gemm = gemm = MatrixUnit(config)
        m.submodules.alu = alu = VectorUnit(config)
        m.submodules.uops = uops = Buffer(config, Memory.UOP, config.acc_banks)

        is_load = layout(Instruction, config)(self.command.insn).opcode == Opcode.LOAD
        for engine, own in ((loader, is_load), (issue, ~is_load)):
            m.d.comb += [
                engine.start.eq(self.start & own),
                engine.command.eq(self.command),
                engine.slot.eq(self.slot),
            ]
        if matrix is None:
            written = Signal(IN_FLIGHT)
            m.d.comb += [
                written.eq(issue.nothing | gemm.written | alu.written),
                self.written.eq(loader.written | written),
            ]
        else:
            m.d.comb += [
                self.written.eq(loader.written | issue.nothing | alu.written),
                multiplies.start.eq(matrix.start),
                multiplies.command.eq(matrix.command),
                multiplies.slot.eq(matrix.slot),
                matrix.front_free.eq(multiplies.front_free),
                matrix.written.eq(multiplies.nothing | gemm.written),
                matrix.error.eq(multiplies.error),
                matrix.drained.eq(1),
            ]
            wiring.connect(m, multiplies.uop, uops.read2)
        m.d.comb += [
            loader.halt.eq(self.halt),
            self.drained.eq(loader.drained),
            self.front_free.eq(loader.front_free & issue.front_free),
            self.error.eq(Mux(issue.error.valid, issue.error, loader.error)),
            self.gemm.eq(multiplies.gemm),
            self.alu.eq(issue.alu),
            self.operand_hit.eq(issue.hit),
            self.gemm_counted.eq(multiplies.counted & multiplies.gemm),
            self.alu_counted.eq(issue.counted & issue.alu),
            self.uop_bytes.eq(loader.uop_bytes),
            self.acc_bytes.eq(loader.acc_bytes),
            gemm.step.eq(multiplies.step),
            alu.step.eq(issue.step),
        ]
        wiring.connect(m, loader.reader, wiring.flipped(self.reader))
        wiring.connect(m, loader.fill_uop, uops.fill)
        wiring.connect(m, issue.uop, uops.read)
        wiring.connect(m, gemm.inp, wiring.flipped(self.inp))
        wiring.connect(m, gemm.wgt, wiring.flipped(self.wgt))
        self._accumulate(m, gemm, alu)
        return m

    def _accumulate(self, m: Module, gemm: MatrixUnit, alu: VectorUnit) -> None:
        """Connect the banks of accumulators with all that fills, works on and empties them.

        GEMM and ALU are never under way together in one bank, so they take turns at its ports.
        """
        config, fill = self.config, self.loader.fill_acc
        step_bank = Signal(config.bank_bits)
        out_bank = Signal(config.bank_bits)
        m.d.sync += step_bank.eq(alu.step.bank)
        with m.If(self.out.en):
            m.d.sync += out_bank.eq(self.out.bank)
        for bank in range(config.acc_banks):
            name = "accumulators" if bank == 0 else f"accumulators_{bank}"
            m.submodules[name] = buffer = AccBuffer(config)
            multiplies = gemm.write.en & (gemm.write.bank == bank)
            operates = alu.write.en & (alu.write.bank == bank)
            m.d.comb += [
                buffer.fill.lanes.eq(Mux(fill.bank == bank, fill.lanes, 0)),
                *(getattr(buffer.fill, part).eq(getattr(fill, part)) for part in _FILL),
                buffer.read.index.eq(
                    Mux(gemm.acc_read & (gemm.acc_bank == bank), gemm.acc.index, alu.acc.index)
                ),
                buffer.write.en.eq(multiplies | operates),
                buffer.write.index.eq(Mux(multiplies, gemm.write.index, alu.write.index)),
                buffer.write.data.eq(Mux(multiplies, gemm.write.data, alu.write.data)),
                buffer.out.en.eq(self.out.en),
                buffer.out.index.eq(self.out.index),
                buffer.out.chunk.eq(self.out.chunk),
            ]
            with m.If(gemm.write.bank == bank):  # what was read in stage 6 is used in stage 7
                m.d.comb += gemm.acc.data.eq(buffer.read.data)
            with m.If(step_bank == bank):
                m.d.comb += alu.acc.data.eq(buffer.read.data)
            with m.If(out_bank == bank):
                m.d.comb += self.out.data.eq(buffer.out.data)
            if config.acc_read_ports == 2:
                m.d.comb += buffer.read2.index.eq(alu.acc2.index)
                with m.If(step_bank == bank):
                    m.d.comb += alu.acc2.data.eq(buffer.read2.data)
