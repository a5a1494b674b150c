"""The host's port: each request is answered once, answers stand, an order acts once."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from vtakit.isa.config import PRESETS
from vtakit.isa.registers import REGISTERS

from .cases import Case, Mutant
from .proof import Proof, count
from .sby import Mode

MOST = 1000
HOST_DRIVES = ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "bready")
HOST_DRIVES += ("araddr", "arvalid", "rready")


class Host(Proof):
    """The registers, and a host that keeps the rules of AXI4-Lite (IHI 0022E, A3.2.1)."""

    def __init__(self, hw: Any) -> None:
        super().__init__()
        self.dut = hw.registers.Registers(PRESETS["tiny"])

    def build(self, m: Module) -> None:
        m.submodules.dut = self.dut
        bus = self.dut.bus
        for name in HOST_DRIVES:
            m.d.comb += getattr(bus, name).eq(self.free(getattr(bus, name).shape(), name))
        self.let_stand(m, bus.awvalid, bus.awready, bus.awaddr)
        self.let_stand(m, bus.wvalid, bus.wready, Cat(bus.wdata, bus.wstrb))
        self.let_stand(m, bus.arvalid, bus.arready, bus.araddr)


class Answered(Host):
    """Requests and answers are as many as each other, and answers stand."""

    def build(self, m: Module) -> None:
        super().build(m)
        bus = self.dut.bus
        written, read = bus.bvalid & bus.bready, bus.rvalid & bus.rready
        reads = count(m, MOST, bus.arvalid & bus.arready, read, "reads")
        addresses = count(m, MOST, bus.awvalid & bus.awready, written, "addresses")
        words = count(m, MOST, bus.wvalid & bus.wready, written, "words")
        both = (addresses != 0) & (words != 0)
        held = [(~ready & 1) + bus.bvalid for ready in (bus.awready, bus.wready)]
        self.claim(m, "no read is lost", reads == ~bus.arready & 1)
        self.claim(m, "an answer for each read", ~bus.rvalid | (reads != 0))
        self.claim(m, "an answer for each write", ~bus.bvalid | both)
        self.claim(m, "no write is lost", (addresses == held[0]) & (words == held[1]))
        self.claim(m, "a write is answered", ~self.past(m, both & ~bus.bvalid) | bus.bvalid)
        self.stands(m, "R stands", bus.rvalid, bus.rready, Cat(bus.rdata, bus.rresp))
        self.stands(m, "B stands", bus.bvalid, bus.bready, bus.bresp)
        self.reach(m, "an answer, one more write, and a read", bus.bvalid & (words == 2) & read)


class Ordered(Host):
    """An order is given by a write of CONTROL, once, in the cycle before its answer."""

    def build(self, m: Module) -> None:
        super().build(m)
        bus, control = self.dut.bus, self.dut.control.as_value()[:8]
        address, word = bus.awvalid & bus.awready, bus.wvalid & bus.wready
        has_address, has_word = Signal(), Signal()
        offset, bits = Signal.like(bus.awaddr), Signal(8)
        acts = has_address & has_word & ~bus.bvalid
        m.d.sync += [
            has_address.eq(address | (has_address & ~acts)),
            has_word.eq(word | (has_word & ~acts)),
        ]
        with m.If(address):
            m.d.sync += offset.eq(bus.awaddr)
        with m.If(word):
            m.d.sync += bits.eq(Mux(bus.wstrb[0], bus.wdata, 0))
        named = offset[2:] == REGISTERS["CONTROL"].offset // 4
        self.claim(m, "an order acts once", control == Mux(acts & named, bits, 0))
        ordered = self.past(m, control != 0)
        self.claim(m, "an order is answered", ~ordered | (bus.bvalid & (bus.bresp == 0)))
        orders = count(m, MOST, control != 0)
        self.reach(m, "a second order", ordered & (orders == 2))


CASES = [
    Case(
        "registers",
        Answered,
        depth=3,
        reach=8,
        mode=Mode.INDUCTION,
        mutants={
            "AR taken before a counter has had its turn": Mutant(
                "registers",
                'with m.State("COUNTER"):\n',
                'with m.State("COUNTER"):\n                m.d.comb += bus.arready.eq(1)\n',
                fails="no read is lost",
            ),
            "an answer goes away": Mutant(
                "registers", "m.If(bus.bready)", "m.If(1)", fails="B stands"
            ),
            "an answer too few": Mutant(
                "registers", "has_word & ~bus.bvalid", "has_word", fails="no write is lost"
            ),
            "written before the word has come": Mutant(
                "registers",
                "has_address & has_word",
                "has_address",
                fails="an answer for each write",
            ),
        },
    ),
    Case(
        "orders",
        Ordered,
        depth=14,
        reach=8,
        mutants={
            "the word is kept": Mutant(
                "registers", "has_word.eq(0)", "has_word.eq(has_word)", fails="an order acts once"
            ),
            "bytes that are not written count": Mutant(
                "registers",
                "control.eq(word & mask)",
                "control.eq(word)",
                fails="an order acts once",
            ),
        },
    ),
]
