"""A controller of single-data-rate SDRAM with 16 data pins (JEDEC 21-C, 3.11.5), as ULX3S has it.

Every column has a command of its own (bursts of one), so that a burst of any length moves 16 bits
a cycle while it stays in a row. Rows stay open until another one of their bank is wanted, or a
refresh is due; refreshes wait for the burst before them.
"""

from dataclasses import dataclass
from math import ceil

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from ..isa.costs import MAX_BURST_WORDS
from .signals import BurstSignature, Interface, resting

DATA_BITS = 16
BANK_BITS = 2
ADDRESS_PINS = 13
PAD_CYCLES = 2
"""In registers of pads, on the way out and in."""
_ALL_BANKS = 1 << 10  # A10 of PRECHARGE


@dataclass(frozen=True)
class Chip:
    """A memory chip, by its data sheet; times in nanoseconds.

    Attributes
    ----------
    row_bits, column_bits : int
        Of an address; there are four banks.
    cas_latency : int
        Clock cycles from READ to its data.
    row_to_column, precharge, row_active, refresh : float
        tRCD, tRP, tRAS and tRFC.
    write_recovery : int
        Clock cycles from the last word written to PRECHARGE (tDPL).
    refresh_period : float
        From one row's refresh to the next one's, on average.
    power_up : float
        Before the first command.
    """

    row_bits: int
    column_bits: int
    cas_latency: int
    row_to_column: float
    precharge: float
    row_active: float
    refresh: float
    write_recovery: int
    refresh_period: float
    power_up: float

    @property
    def size_bytes(self) -> int:
        """What it holds."""
        return (1 << self.row_bits + self.column_bits + BANK_BITS) * DATA_BITS // 8


IS42S16160G = Chip(
    row_bits=13,
    column_bits=9,
    cas_latency=3,
    row_to_column=18,
    precharge=18,
    row_active=42,
    refresh=60,
    write_recovery=2,
    refresh_period=64e6 / 8192,
    power_up=200e3,
)
"""32 MB (ISSI IS42S16160G-7, and others of its kind); CAS latency 3 up to 143 MHz."""


class PinsSignature(wiring.Signature):
    """The pins of the chip but its clock, as the controller sees them; `cs` and so on are low when
    active, as on the chip."""

    def __init__(self):
        super().__init__(
            {
                "cke": Out(1),
                "cs_n": resting(Out, 1, 1),
                "ras_n": resting(Out, 1, 1),
                "cas_n": resting(Out, 1, 1),
                "we_n": resting(Out, 1, 1),
                "ba": Out(BANK_BITS),
                "a": Out(ADDRESS_PINS),
                "dqm": resting(Out, DATA_BITS // 8, -1),
                "dq_o": Out(DATA_BITS),
                "dq_oe": Out(1),
                "dq_i": In(DATA_BITS),
            }
        )


class Sdram(wiring.Component):
    """The chip as the device's memory.

    The pads have registers of their own, of which this has to know: one for what goes out and one
    for what comes in. The chip's clock is three quarters of a cycle behind this one (`ecp5`): what
    pads put out with an edge is there before the chip's next one, and a word that the chip puts out
    after its edge is taken with the second edge of ours from then.

    Parameters
    ----------
    config : Config
    chip : Chip
    clock_hz : float

    Members
    -------
    bursts : In(BurstSignature(config.bus_bits))
    pins : Out(PinsSignature())
    """

    bursts: Interface
    pins: Interface

    def __init__(self, config: Config, chip: Chip, clock_hz: float):
        self.config = config
        self.chip = chip
        self.clock_hz = clock_hz
        super().__init__(
            {"bursts": In(BurstSignature(config.bus_bits)), "pins": Out(PinsSignature())}
        )

    def _cycles(self, nanoseconds: float) -> int:
        return ceil(nanoseconds * 1e-9 * self.clock_hz)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chip, bursts, pins = self.chip, self.bursts, self.pins
        pieces = self.config.bus_bits // DATA_BITS
        columns = MAX_BURST_WORDS * pieces

        def command(ras: int, cas: int, we: int) -> None:
            m.d.sync += [
                pins.cs_n.eq(0),
                pins.ras_n.eq(1 - ras),
                pins.cas_n.eq(1 - cas),
                pins.we_n.eq(1 - we),
            ]

        m.d.sync += [
            pins.cke.eq(1),
            pins.cs_n.eq(1),
            pins.dqm.eq(0),
            pins.dq_oe.eq(0),
        ]

        # What is due: refreshes, and how long a row must still stay open.
        period = self._cycles(chip.refresh_period) - 1
        timer = Signal(range(period + 1))
        due = Signal(4)
        refreshes = Signal()
        m.d.sync += timer.eq(Mux(timer == 0, period, timer - 1))
        with m.If((timer == 0) & ~refreshes & (due != 15)):
            m.d.sync += due.eq(due + 1)
        with m.Elif((timer != 0) & refreshes):
            m.d.sync += due.eq(due - 1)
        # A command a cycle later is one cycle from it, so that one less is to be waited.
        row_active = self._cycles(chip.row_active) - 1
        written = max(chip.write_recovery - 1, 0)
        hold = Signal(range(max(row_active, written) + 1))
        with m.If(hold != 0):
            m.d.sync += hold.eq(hold - 1)

        waits = Signal(range(max(self._cycles(chip.power_up), 16) + 1))
        with m.If(waits != 0):
            m.d.sync += waits.eq(waits - 1)

        at = Signal(chip.column_bits + BANK_BITS + chip.row_bits)
        column, bank, row = (
            at[: chip.column_bits],
            at[chip.column_bits : chip.column_bits + BANK_BITS],
            at[chip.column_bits + BANK_BITS :],
        )
        left = Signal(range(columns + 1))
        piece = Signal(range(pieces))
        is_open = Array(Signal(name=f"is_open_{number}") for number in range(1 << BANK_BITS))
        open_row = Array(
            Signal(chip.row_bits, name=f"open_row_{number}") for number in range(1 << BANK_BITS)
        )
        outstanding = Signal(range(columns + 1))  # columns asked for that have not come
        reads = Signal()

        with m.FSM(name="commands"):
            with m.State("POWER_UP"):
                m.d.sync += waits.eq(self._cycles(chip.power_up))
                m.next = "WAIT_POWER"
            with m.State("WAIT_POWER"):
                with m.If(waits == 0):
                    command(1, 0, 1)
                    m.d.sync += [pins.a.eq(_ALL_BANKS), waits.eq(self._cycles(chip.precharge))]
                    m.next = "INIT_REFRESH"
            with m.State("INIT_REFRESH"):
                with m.If(waits == 0):
                    command(1, 1, 0)
                    m.d.sync += waits.eq(self._cycles(chip.refresh))
                    m.next = "INIT_REFRESH_AGAIN"
            with m.State("INIT_REFRESH_AGAIN"):
                with m.If(waits == 0):
                    command(1, 1, 0)
                    m.d.sync += waits.eq(self._cycles(chip.refresh))
                    m.next = "MODE"
            with m.State("MODE"):
                with m.If(waits == 0):
                    command(1, 1, 1)
                    m.d.sync += [pins.ba.eq(0), pins.a.eq(chip.cas_latency << 4), waits.eq(2)]
                    m.next = "IDLE"

            with m.State("IDLE"):
                m.d.sync += [
                    at.eq(bursts.address * pieces),
                    left.eq(bursts.words * pieces),
                    piece.eq(0),
                ]
                with m.If(waits == 0):
                    with m.If(due != 0):
                        m.next = "CLOSE_ALL"
                    with m.Elif(bursts.valid):
                        m.next = "ROW"
            with m.State("CLOSE_ALL"):
                with m.If(hold == 0):
                    command(1, 0, 1)
                    m.d.sync += [pins.a.eq(_ALL_BANKS), waits.eq(self._cycles(chip.precharge) - 1)]
                    m.d.sync += [flag.eq(0) for flag in is_open]
                    m.next = "REFRESH"
            with m.State("REFRESH"):
                with m.If(waits == 0):
                    command(1, 1, 0)
                    m.d.comb += refreshes.eq(1)
                    m.d.sync += waits.eq(self._cycles(chip.refresh) - 1)
                    m.next = "IDLE"

            with m.State("ROW"):
                m.d.sync += pins.ba.eq(bank)
                with m.If(~is_open[bank]), m.If(waits == 0):
                    command(1, 0, 0)
                    m.d.sync += [
                        pins.a.eq(row),
                        is_open[bank].eq(1),
                        open_row[bank].eq(row),
                        hold.eq(row_active),
                        waits.eq(self._cycles(chip.row_to_column) - 1),
                    ]
                    m.next = "OPENING"
                with m.Elif(open_row[bank] == row):
                    m.next = "COLUMNS"
                with m.Elif(hold == 0):
                    command(1, 0, 1)
                    m.d.sync += [
                        pins.a.eq(0),
                        is_open[bank].eq(0),
                        waits.eq(self._cycles(chip.precharge) - 1),
                    ]
            with m.State("OPENING"):
                with m.If(waits == 0):
                    m.next = "COLUMNS"
            with m.State("COLUMNS"):
                strobe = bursts.strobe.word_select(piece, DATA_BITS // 8)
                m.d.sync += [
                    pins.a.eq(column),
                    pins.ba.eq(bank),
                    at.eq(at + 1),
                    left.eq(left - 1),
                    piece.eq(Mux(piece == pieces - 1, 0, piece + 1)),
                ]
                with m.If(bursts.write):
                    command(0, 1, 1)
                    m.d.comb += bursts.next.eq(piece == pieces - 1)
                    m.d.sync += [
                        pins.dq_oe.eq(1),
                        pins.dq_o.eq(bursts.data.word_select(piece, DATA_BITS)),
                        pins.dqm.eq(~strobe),
                    ]
                    with m.If(hold <= written):
                        m.d.sync += hold.eq(written)
                with m.Else():
                    command(0, 1, 0)
                    m.d.comb += reads.eq(1)
                with m.If(left == 1):
                    m.next = "END"
                with m.Elif(column.all()):
                    m.next = "ROW"
            with m.State("END"):
                with m.If(outstanding == 0):
                    m.d.comb += bursts.ready.eq(1)
                    m.next = "IDLE"

        # Words on their way: through a pad, the chip, and a pad again.
        coming = Signal(PAD_CYCLES + chip.cas_latency + 1)
        m.d.sync += coming.eq(Cat(reads, coming))
        self._came(m, coming[-1], reads, outstanding)
        return m

    def _came(self, m: Module, comes: Value, reads: Value, outstanding: Signal) -> None:
        """Take what the chip puts out and hand on whole bus words."""
        bursts, pins = self.bursts, self.pins
        pieces = self.config.bus_bits // DATA_BITS
        word = Signal(self.config.bus_bits)
        came = Signal(range(pieces))
        taken = Signal(DATA_BITS)
        valid = Signal()
        m.d.sync += [
            taken.eq(pins.dq_i),
            valid.eq(comes),
            outstanding.eq(outstanding + reads - valid),
        ]
        m.d.comb += [
            bursts.found_data.eq(Cat(word[DATA_BITS:], taken)),
            bursts.found.eq(valid & (came == pieces - 1)),
        ]
        with m.If(valid):
            m.d.sync += [
                word.eq(Cat(word[DATA_BITS:], taken)),
                came.eq(Mux(came == pieces - 1, 0, came + 1)),
            ]
