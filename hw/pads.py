"""The zeros around the rows of a LOAD: which elements they are, one after the other."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .ports import Interface
from .transfer import ROW_BITS

ELEMENT_BITS = ROW_BITS + 1
"""Of an element's index in a buffer, or of one behind its end; what lies further is a fault."""

Area = data.StructLayout(
    {
        "begin": ELEMENT_BITS,  # first element
        "above": ELEMENT_BITS,  # elements of the rows before those with data
        "below": ELEMENT_BITS,  # first element of the rows after those with data
        "under": ELEMENT_BITS,  # elements of these
        "left": 4,  # zeros before each row with data
        "right": 4,  # and after
        "x_size": ROW_BITS,
        "y_size": ROW_BITS,
    }
)
"""Where a LOAD puts rows and zeros."""


class Pads(wiring.Component):
    """Walk over the zeros in the order of their elements.

    They come in runs: the rows above with the left side of the first row, then the right side of
    each row with the left one of the next, then the last right side with the rows under it.

    Members
    -------
    start : In(1)
        The first one is there in the next cycle; only while none is `pending`.
    area : In(Area)
        Valid with `start`, of at least one column.
    pending : Out(1)
        One is there.
    index : Out(ELEMENT_BITS)
        The element that it is.
    last : Out(1)
        It is the last one.
    taken : In(1)
        It is written in this cycle.
    any : Out(1)
        Whether `area` has any.
    """

    start: Signal
    area: Interface
    pending: Signal
    index: Signal
    last: Signal
    taken: Signal
    any: Signal

    def __init__(self):
        super().__init__(
            {
                "start": In(1),
                "area": In(Area),
                "pending": Out(1),
                "index": Out(ELEMENT_BITS),
                "last": Out(1),
                "taken": In(1),
                "any": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        area = self.area
        has_rows = Signal()
        first = Signal(ELEMENT_BITS)
        between = Signal(5)
        final = Signal(ELEMENT_BITS)
        m.d.comb += [
            has_rows.eq(area.y_size != 0),
            between.eq(area.left + area.right),
            first.eq(area.above + area.left),
            final.eq(area.under + area.right),
        ]
        with m.If(~has_rows):
            m.d.comb += [first.eq(area.above + area.under), between.eq(0), final.eq(0)]

        run = Signal(ELEMENT_BITS)  # elements left of this one
        x_size = Signal(ROW_BITS)
        sides = Signal(5)
        rows = Signal(ROW_BITS)  # runs left between rows
        final_index = Signal(ELEMENT_BITS)
        final_run = Signal(ELEMENT_BITS)
        ends_run = Signal()
        m.d.comb += [
            self.any.eq((first != 0) | (between != 0) | (final != 0)),
            ends_run.eq(run == 1),
            self.last.eq(ends_run & (rows == 0) & (final_run == 0)),
        ]
        with m.If(self.start):
            m.d.sync += [
                self.pending.eq(self.any),
                self.index.eq(area.begin),
                run.eq(first),
                x_size.eq(area.x_size),
                sides.eq(between),
                rows.eq(0),
                final_index.eq(area.below - area.right),
                final_run.eq(final),
            ]
            with m.If((between != 0) & has_rows):
                m.d.sync += rows.eq(area.y_size - 1)
            with m.If(first == 0):
                with m.If((between != 0) & (area.y_size != 1)):
                    m.d.sync += [
                        self.index.eq(area.begin + area.x_size),
                        run.eq(between),
                        rows.eq(area.y_size - 2),
                    ]
                with m.Else():
                    m.d.sync += [
                        self.index.eq(area.below - area.right),
                        run.eq(final),
                        rows.eq(0),
                        final_run.eq(0),
                    ]
        with m.Elif(self.taken):
            m.d.sync += [self.index.eq(self.index + 1), run.eq(run - 1)]
            with m.If(ends_run):
                with m.If(rows != 0):
                    m.d.sync += [
                        self.index.eq(self.index + 1 + x_size),
                        run.eq(sides),
                        rows.eq(rows - 1),
                    ]
                with m.Elif(final_run != 0):
                    m.d.sync += [self.index.eq(final_index), run.eq(final_run), final_run.eq(0)]
                with m.Else():
                    m.d.sync += self.pending.eq(0)
        return m
