"""GEMM and ALU: micro-ops in the order of the loops, one a cycle, none outside its buffers."""

from dataclasses import replace
from functools import partial
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from vtakit.isa.config import Config
from vtakit.isa.instructions import Alu, Gemm, Instruction, Opcode, Uop
from vtakit.isa.registers import ErrorCode

from .cases import Case, Mutant
from .proof import Proof, count

IN_FLIGHT = 4
INDEX_BITS = 3
DEPTH = 1 << INDEX_BITS
CONFIG = Config(
    1,
    4,
    4,
    uop_buffer_bytes=4 * DEPTH,
    inp_buffer_bytes=4 * DEPTH // 2,
    wgt_buffer_bytes=16 * DEPTH // 4,
    acc_buffer_bytes=16 * DEPTH,
)
"""8 micro-ops and accumulators, 4 input tiles, 2 weight tiles."""

TWO_PORTS = replace(CONFIG, acc_read_ports=2)
DEPTHS = {"dst": CONFIG.acc_depth, "src": CONFIG.inp_depth, "wgt": CONFIG.wgt_depth}
MOST = 15
SUM_BITS = 9
"""Of an index plus what the loops have added in as many cycles as are looked at."""

Loop = data.StructLayout(
    {
        "alu": 1,
        "reset": 1,
        "imm": 1,
        "begin": INDEX_BITS,
        "end": INDEX_BITS + 1,
        "iter_in": 14,
        "iter_out": 14,
        **{f"{name}_{loop}": INDEX_BITS for name in DEPTHS for loop in ("in", "out")},
        "number": 4,
    }
)
"""What is known of an instruction."""

Sums = data.StructLayout(
    {
        **dict.fromkeys(DEPTHS, SUM_BITS),
        "alu": 1,
        "multiplies": 1,
        "tensor": 1,
        "first": 1,
        "last": 1,
        "number": 4,
    }
)
"""A micro-op as it should be, with the loops' offsets or with its full indices."""


Given = data.StructLayout({"word": 32, "index": INDEX_BITS})
"""A micro-op, and where the buffer had it."""


class Issued(Proof):
    """Any instructions without a static fault, one after the other; micro-ops that may be anything.

    The loops are counted here as they are written in sim/: for, for, for.
    """

    def __init__(self, hw: Any, config: Config) -> None:
        super().__init__()
        self.config = config
        self.layouts = {
            word: hw.layouts.layout(word, config) for word in (Instruction, Gemm, Alu, Uop)
        }
        self.dut = hw.issue.Issue(config)
        self.check = hw.check.Check(config)

    def build(self, m: Module) -> None:
        m.submodules.dut = dut = self.dut
        m.submodules.check = check = self.check
        word = self.free(len(dut.command.insn), "insn")
        starts = count(m, MOST, dut.start, name="starts")
        m.d.comb += [
            check.insn.eq(word),
            check.last.eq(self.free(1, "last")),
            dut.start.eq(self.free(1, "start") & dut.front_free),
            dut.slot.eq(starts),
            dut.command.insn.eq(word),
            dut.command.index.eq(starts),
            dut.uop.data.eq(self.free(len(dut.uop.data), "uop")),
        ]
        opcode = self.layouts[Instruction](word).opcode
        computes = Cat(opcode == one for one in (Opcode.GEMM, Opcode.ALU, Opcode.FINISH)).any()
        self.assume(m, ~dut.start | (computes & (check.code == ErrorCode.NONE)))

        again = dut.alu & ~dut.counted
        issued = dut.gemm | dut.counted
        given = self._given(m, again)
        busy, planned = self._loop(m, word, starts, issued, given)
        self.claim(m, "front busy until all are issued", dut.front_free == ~(busy | again))
        self.claim(m, "one a cycle", dut.front_free | (issued ^ again))
        self._sum(m, issued, again, planned, given)
        self.reach(m, "two iterations of each loop", (dut.step.retire == 1) & (starts == 1))
        self.reach(m, "a second one", (dut.step.retire == 2) & dut.step.valid)

    def _given(self, m: Module, again: Value) -> Any:
        """Return the micro-op that the buffer has given, and the address that it was given for; one
        that waits stays.
        """
        dut = self.dut
        given: Any = Signal(Given)
        kept: Any = Signal(Given)
        m.d.comb += [given.word.eq(dut.uop.data), given.index.eq(self.past(m, dut.uop.index))]
        with m.If(self.past(m, again)):
            m.d.comb += given.eq(kept)
        m.d.sync += kept.eq(given)
        return given

    def _loop(
        self, m: Module, word: Value, starts: Any, issued: Value, given: Any
    ) -> tuple[Value, Any]:
        """Claim that the addresses are those of the loops; return whether there are more, and what
        the loops add.
        """
        dut = self.dut
        gemm, alu = self.layouts[Gemm](word), self.layouts[Alu](word)
        loop: Any = Signal(Loop)
        busy, uop, inner, outer = Signal(), Signal(INDEX_BITS + 1), Signal(4), Signal(4)
        is_alu = gemm.opcode == Opcode.ALU
        empty = (gemm.uop_end <= gemm.uop_begin) | (gemm.iter_out == 0) | (gemm.iter_in == 0)
        works = dut.start & (gemm.opcode != Opcode.FINISH) & ~empty
        nothing = Mux(dut.start & ~works, 1 << dut.slot, 0)
        self.claim(m, "written at once without micro-ops", dut.nothing == nothing)

        ends_range = uop + 1 == loop.end
        ends_inner = ends_range & (inner + 1 == loop.iter_in)
        ends_outer = ends_inner & (outer + 1 == loop.iter_out)
        with m.If(issued):
            m.d.sync += uop.eq(Mux(ends_range, loop.begin, uop + 1))
            with m.If(ends_range):
                m.d.sync += inner.eq(Mux(ends_inner, 0, inner + 1))
            with m.If(ends_inner):
                m.d.sync += outer.eq(outer + 1)
            with m.If(ends_outer):
                m.d.sync += busy.eq(0)
        with m.If(works):
            m.d.sync += [
                loop.alu.eq(is_alu),
                loop.reset.eq(gemm.reset),
                loop.imm.eq(alu.use_imm),
                loop.begin.eq(gemm.uop_begin),
                loop.end.eq(gemm.uop_end),
                loop.iter_in.eq(gemm.iter_in),
                loop.iter_out.eq(gemm.iter_out),
                loop.number.eq(starts),
                busy.eq(1),
                uop.eq(gemm.uop_begin),
                inner.eq(0),
                outer.eq(0),
            ]
            for where in ("in", "out"):
                own = Mux(is_alu, alu[f"src_factor_{where}"], gemm[f"src_factor_{where}"])
                m.d.sync += [
                    loop[f"dst_{where}"].eq(gemm[f"dst_factor_{where}"]),
                    loop[f"src_{where}"].eq(own),
                    loop[f"wgt_{where}"].eq(gemm[f"wgt_factor_{where}"]),
                ]
        self.claim(m, "issues what there is", ~issued | busy)
        self.claim(m, "the next micro-op of the loops", ~issued | (given.index == uop))
        self.claim(m, "a micro-op of the buffer", ~issued | (uop < self.config.uop_depth))

        planned: Any = Signal(Sums)
        m.d.comb += [
            *(
                planned[name].eq(outer * loop[f"{name}_out"] + inner * loop[f"{name}_in"])
                for name in DEPTHS
            ),
            planned.alu.eq(loop.alu),
            planned.multiplies.eq(~loop.alu & ~loop.reset),
            planned.tensor.eq(loop.alu & ~loop.imm),
            planned.first.eq((uop == loop.begin) & (inner == 0) & (outer == 0)),
            planned.last.eq(ends_outer),
            planned.number.eq(loop.number),
        ]
        return busy, planned

    def _sum(self, m: Module, issued: Value, again: Value, planned: Any, given: Any) -> None:
        """Claim that the steps are the micro-ops with the loops' offsets, but for faulty ones."""
        dut, step = self.dut, self.dut.step
        word = Signal.like(given.word)
        uop = self.layouts[Uop](word)
        fresh, offsets = self.past(m, issued), Signal(Sums)
        sums, before, now = Signal(Sums), Signal(Sums), Signal(Sums)
        with m.If(issued):
            m.d.sync += [offsets.eq(planned), word.eq(given.word)]
        m.d.comb += sums.eq(offsets)
        m.d.comb += [sums[name].eq(offsets[name] + uop[name]) for name in DEPTHS]
        outside = {name: Signal(name=f"{name}_beyond") for name in DEPTHS}
        source_depth = Mux(sums.alu, self.config.acc_depth, self.config.inp_depth)
        m.d.comb += [
            outside["dst"].eq(sums.dst >= self.config.acc_depth),
            outside["src"].eq((sums.alu | sums.multiplies) & (sums.src >= source_depth)),
            outside["wgt"].eq(sums.multiplies & (sums.wgt >= self.config.wgt_depth)),
        ]
        faulty = Cat(outside.values()).any()
        holds = ~sums.first & (before.src == sums.src) & (before.dst != sums.src)
        spoiled = Signal()  # by a faulty one; then it does not matter
        m.d.sync += spoiled.eq(spoiled | (fresh & faulty))
        once = self.config.acc_read_ports == 2
        twice = Signal()
        m.d.comb += twice.eq(0 if once else fresh & sums.tensor & ~holds)
        hit = 0 if once else fresh & sums.tensor & holds
        self.claim(m, "two cycles where the source has to be read", spoiled | (again == twice))
        self.claim(m, "one where it is held", spoiled | (dut.hit == hit))

        # Stage 3.
        bad, sound = Signal(), Signal()
        with m.If(fresh):
            m.d.sync += [now.eq(sums), before.eq(sums), bad.eq(faulty)]
        there = self.past(m, fresh | self.past(m, again))
        m.d.comb += sound.eq(there & ~bad)
        self.claim(m, "no faulty micro-op enters a pipeline", ~(step.valid & bad))
        self.claim(m, "each sound micro-op enters one", step.valid == sound)
        limit = Mux(now.alu, self.config.acc_depth, self.config.inp_depth)
        src = (step.src == now.src) & (now.src < limit)
        wgt = (step.wgt == now.wgt) & (now.wgt < self.config.wgt_depth)
        right = (step.dst == now.dst) & (now.dst < self.config.acc_depth)
        right &= (src | ~(now.alu | now.multiplies)) & (wgt | ~now.multiplies)
        self.claim(m, "its indices, within the buffers", ~step.valid | right)
        self.claim(m, "the source first", step.source == self.past(m, again))
        last = there & ~self.past(m, again) & now.last
        retire = Mux(last, 1 << now.number[: (IN_FLIGHT - 1).bit_length()], 0)
        self.claim(m, "the last one says so, once", step.retire == retire)

        error = dut.error
        self.claim(m, "an error for each faulty one", error.valid == self.past(m, fresh & faulty))
        code = Mux(
            self.past(m, outside["dst"]),
            ErrorCode.DST_RANGE,
            Mux(self.past(m, outside["src"]), ErrorCode.SRC_RANGE, ErrorCode.WGT_RANGE),
        )
        told = (error.code == code) & (error.index == now.number)
        self.claim(m, "of its kind and instruction", ~error.valid | told)
        self.reach(m, "outside by the loops", error.valid & (step.retire == 1))
        if not once:
            self.reach(m, "a source is held", dut.hit & ~faulty)


CONSTANTS = {"IN_FLIGHT": IN_FLIGHT}
CASES = [
    Case(
        "issue",
        partial(Issued, config=CONFIG),
        depth=11,
        reach=9,
        constants=CONSTANTS,
        mutants={
            "micro-ops beyond the buffer": Mutant(
                "check",
                "(gemm.uop_end > self.config.uop_depth)",
                "(gemm.uop_end > self.config.uop_depth + 1)",
                fails="a micro-op of the buffer",
            ),
            "sums as wide as an index": Mutant(
                "issue",
                "Signal(offset_bits(config, name) + 1,",
                "Signal(3,",
                fails="no faulty micro-op enters a pipeline",
            ),
            "an ALU's source counts as an input": Mutant(
                "issue",
                'sums["src"] >= config.acc_depth,',
                'sums["src"] >= config.inp_depth,',
                fails="each sound micro-op enters one",
            ),
            "weights are not minded": Mutant(
                "issue",
                'multiplies & (sums["wgt"] >= config.wgt_depth)',
                "0",
                fails="its indices, within the buffers",
            ),
            "its second cycle is not minded": Mutant(
                "issue",
                "(second & step.valid)",
                "second",
                fails="no faulty micro-op enters a pipeline",
            ),
            "the source is told first": Mutant(
                "issue",
                'outside["dst"],\n                    ErrorCode.DST_RANGE',
                'outside["dst"] & ~outside["src"],\n                    ErrorCode.DST_RANGE',
                fails="of its kind and instruction",
            ),
            "a source that was written is held": Mutant(
                "issue",
                " & (step.dst != step.src)",
                "",
                fails="two cycles where the source has to be read",
            ),
            "the last instruction's source is held": Mutant(
                "issue", " & ~held.first", "", fails="two cycles where the source has to be read"
            ),
            "an inner iteration too few": Mutant(
                "loops",
                "inners.eq(gemm.iter_in - 1)",
                "inners.eq(gemm.iter_in - 2)",
                fails="front busy until all are issued",
            ),
            "the outer loop starts where the inner one was": Mutant(
                "loops",
                "offset.eq(outer + by_outer)]",
                "offset.eq(offset + by_outer)]",
                fails="its indices, within the buffers",
            ),
        },
    ),
    Case(
        "issue, two read ports",
        partial(Issued, config=TWO_PORTS),
        depth=11,
        reach=9,
        constants=CONSTANTS,
        mutants={
            "said to have written again and again": Mutant(
                "issue",
                "Mux(valid & ~again, held.retire, 0)",
                "held.retire",
                fails="the last one says so, once",
            ),
        },
    ),
]
