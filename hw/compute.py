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


class ComputeEngine(wiring.Component):
    """Execute the compute unit's instructions; holds micro-ops and accumulators.

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

    def __init__(self, config: Config):
        self.config = config
        self.loader = LoadEngine(config, MEMORIES)
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
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.loader = loader = self.loader
        m.submodules.issue = issue = Issue(config)
        m.submodules.gemm = gemm = MatrixUnit(config)
        m.submodules.alu = alu = VectorUnit(config)
        m.submodules.uops = uops = Buffer(config, Memory.UOP)
        m.submodules.accumulators = accumulators = AccBuffer(config)

        is_load = layout(Instruction, config)(self.command.insn).opcode == Opcode.LOAD
        for engine, own in ((loader, is_load), (issue, ~is_load)):
            m.d.comb += [
                engine.start.eq(self.start & own),
                engine.command.eq(self.command),
                engine.slot.eq(self.slot),
            ]
        written = Signal(IN_FLIGHT)
        m.d.comb += [
            loader.halt.eq(self.halt),
            self.drained.eq(loader.drained),
            self.front_free.eq(loader.front_free & issue.front_free),
            written.eq(issue.nothing | gemm.written | alu.written),
            self.written.eq(loader.written | written),
            self.error.eq(Mux(issue.error.valid, issue.error, loader.error)),
            self.gemm.eq(issue.gemm),
            self.alu.eq(issue.alu),
            self.operand_hit.eq(issue.hit),
            self.gemm_counted.eq(issue.counted & issue.gemm),
            self.alu_counted.eq(issue.counted & issue.alu),
            self.uop_bytes.eq(loader.uop_bytes),
            self.acc_bytes.eq(loader.acc_bytes),
            gemm.step.eq(issue.step),
            alu.step.eq(issue.step),
        ]
        wiring.connect(m, loader.reader, wiring.flipped(self.reader))
        wiring.connect(m, loader.fill_uop, uops.fill)
        wiring.connect(m, loader.fill_acc, accumulators.fill)
        wiring.connect(m, issue.uop, uops.read)
        wiring.connect(m, gemm.inp, wiring.flipped(self.inp))
        wiring.connect(m, gemm.wgt, wiring.flipped(self.wgt))
        wiring.connect(m, wiring.flipped(self.out), accumulators.out)

        # GEMM and ALU are never under way together, so they take turns at the accumulators.
        m.d.comb += [
            accumulators.read.index.eq(Mux(gemm.acc_read, gemm.acc.index, alu.acc.index)),
            gemm.acc.data.eq(accumulators.read.data),
            alu.acc.data.eq(accumulators.read.data),
            accumulators.write.en.eq(gemm.write.en | alu.write.en),
            accumulators.write.index.eq(Mux(gemm.write.en, gemm.write.index, alu.write.index)),
            accumulators.write.data.eq(Mux(gemm.write.en, gemm.write.data, alu.write.data)),
        ]
        if config.acc_read_ports == 2:
            wiring.connect(m, alu.acc2, accumulators.read2)
        return m
