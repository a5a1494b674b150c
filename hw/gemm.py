"""The matrix unit: a tile of inputs times a tile of weights, added to a tile of accumulators."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from ..isa.costs import GEMM_STAGES, IN_FLIGHT
from ..isa.instructions import Memory
from .issue import Step
from .ports import Interface, TileReadSignature, TileWriteSignature

assert GEMM_STAGES == 7


class MatrixUnit(wiring.Component):
    """Stages 3 to 7 of GEMM: read tiles, multiply, add in two, accumulate and write.

    acc[dst] += inp[src] . wgt[wgt] transposed, for inp (batch, block_in), wgt (block_out, block_in)
    and acc (batch, block_out), or 0 where the step says `reset`. Sums wrap at 32 bits. The
    accumulators are read in stage 6, where they show what is written in that cycle, so steps may
    follow each other on one tile.

    Parameters
    ----------
    config : Config

    Members
    -------
    step : In(Step(config))
        A micro-op in stage 3; those of ALU pass by.
    inp, wgt : Out(TileReadSignature(config, ...))
    acc_read : Out(1)
        `acc` is used in this cycle, to read in bank `acc_bank`.
    acc : Out(TileReadSignature(config, Memory.ACC))
    write : Out(TileWriteSignature(config))
    written : Out(IN_FLIGHT)
        The slot of an instruction whose last tile is written in this cycle.
    """

    step: Interface
    inp: Interface
    wgt: Interface
    acc_read: Signal
    acc_bank: Signal
    acc: Interface
    write: Interface
    written: Signal

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "step": In(Step(config)),
                "inp": Out(TileReadSignature(config, Memory.INP)),
                "wgt": Out(TileReadSignature(config, Memory.WGT)),
                "acc_read": Out(1),
                "acc_bank": Out(config.bank_bits),
                "acc": Out(TileReadSignature(config, Memory.ACC)),
                "write": Out(TileWriteSignature(config)),
                "written": Out(IN_FLIGHT),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = self.step
        m.d.comb += [self.inp.index.eq(step.src), self.wgt.index.eq(step.wgt)]

        # What goes with the data through stages 4 to 7.
        valid, reset = step.valid & ~step.what.alu, step.what.reset
        dst, bank, retire = step.dst, step.bank, Mux(step.what.alu, 0, step.retire)
        for stage in range(4, GEMM_STAGES + 1):
            if stage == GEMM_STAGES:  # before it, in stage 6
                m.d.comb += [
                    self.acc_read.eq(valid),
                    self.acc_bank.eq(bank),
                    self.acc.index.eq(dst),
                ]
            moved = []
            for name, value in (
                ("valid", valid),
                ("reset", reset),
                ("dst", dst),
                ("bank", bank),
                ("retire", retire),
            ):
                register = Signal.like(value, name=f"{name}_{stage}")
                m.d.sync += register.eq(value)
                moved.append(register)
            valid, reset, dst, bank, retire = moved

        sums = self._sums(m)
        m.d.comb += [
            self.write.en.eq(valid),
            self.write.bank.eq(bank),
            self.write.index.eq(dst),
            self.write.data.eq(
                Cat(
                    Mux(reset, 0, self.acc.data.word_select(lane, 32) + value)[:32]
                    for lane, value in enumerate(sums)
                )
            ),
            self.written.eq(retire),
        ]
        return m

    def _sums(self, m: Module) -> list[Value]:
        """Return acc's increments, lane by lane, in stage 7."""
        config = self.config
        sums: list[Value] = []
        for row in range(config.batch):
            for out in range(config.block_out):
                products: list[Value] = []
                for i in range(config.block_in):
                    x = self.inp.data.word_select(row * config.block_in + i, 8).as_signed()
                    w = self.wgt.data.word_select(out * config.block_in + i, 8).as_signed()
                    product = Signal(signed(16), name=f"product_{row}_{out}_{i}")
                    m.d.sync += product.eq(x * w)
                    products.append(product)
                half = 1 << (config.block_in.bit_length() - 1) // 2  # terms of each first sum
                partial = [
                    self._registered(m, _tree(products[i : i + half]), f"partial_{row}_{out}_{i}")
                    for i in range(0, config.block_in, half)
                ]
                sums.append(self._registered(m, _tree(partial), f"sum_{row}_{out}"))
        return sums

    def _registered(self, m: Module, value: Value, name: str) -> Value:
        register = Signal.like(value, name=name)
        m.d.sync += register.eq(value)
        return register


def _tree(terms: list[Value]) -> Value:
    """Return the sum of as many terms as a power of two, in a balanced tree."""
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
    return terms[0]
