"""A first-in first-out queue of any depth in block RAM, a stream in and a stream out."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Queue(wiring.Component):
    """Hold up to `depth` items, in order.

    An item put in cycle d is at the output in cycle d + 1 if none is before it. The oldest item
    stands in a register, the others in memory. This answers an address in the cycle after it, so
    the address of the next head is given a cycle ahead; an item put in that very cycle passes by.

    Parameters
    ----------
    shape : ShapeLike
        Of an item.
    depth : int
        The most items held, at least 1.

    Members
    -------
    input : In(stream.Signature(shape))
        `ready` while fewer than `depth` items are held at the beginning of the cycle.
    output : Out(stream.Signature(shape))
        The oldest item.
    level : Out(range(depth + 1))
        Items held at the beginning of the cycle.
    """

    input: stream.Interface
    output: stream.Interface
    level: Signal

    def __init__(self, shape: ShapeLike, depth: int):
        self.shape = shape
        self.depth = depth
        super().__init__(
            {
                "input": In(stream.Signature(shape)),
                "output": Out(stream.Signature(shape)),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.shape, depth=self.depth, init=[])
        write = memory.write_port()
        read = memory.read_port(transparent_for=(write,))

        front = self.output.payload
        put = Signal()
        taken = Signal()
        frees = Signal()  # the register takes the next item, if there is one
        stores = Signal()
        stored = Signal(range(self.depth + 1))  # items in memory
        tail = Signal(range(self.depth))
        head = Signal(range(self.depth))
        next_head = Signal(range(self.depth))
        m.d.comb += [
            self.input.ready.eq(self.level != self.depth),
            put.eq(self.input.valid & self.input.ready),
            taken.eq(self.output.valid & self.output.ready),
            frees.eq(taken | ~self.output.valid),
            stores.eq(put & ~(frees & (stored == 0))),
            write.en.eq(stores),
            write.addr.eq(tail),
            write.data.eq(self.input.payload),
            next_head.eq(Mux(frees & (stored != 0), self._after(head), head)),
            read.addr.eq(next_head),
        ]
        m.d.sync += [
            self.level.eq(self.level + put - taken),
            stored.eq(stored + stores - (frees & (stored != 0))),
            tail.eq(Mux(stores, self._after(tail), tail)),
            head.eq(next_head),
        ]
        with m.If(frees):
            m.d.sync += [
                self.output.valid.eq((stored != 0) | put),
                front.eq(Mux(stored != 0, read.data, self.input.payload)),
            ]
        return m

    def _after(self, place: Signal):
        """Return the place after one; the last is followed by the first."""
        return Mux(place == self.depth - 1, 0, place + 1)
