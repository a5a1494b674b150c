"""A first-in first-out queue of any depth in block RAM, a stream in and a stream out."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Queue(wiring.Component):
    """Hold up to `depth` items, in order.

    An item put in cycle d is at the output in cycle d + 1 if none is before it. The memory answers
    an address in the cycle after it, so the address of the next head is given a cycle ahead; an
    item put in that very cycle passes by the memory.

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

        put = Signal()
        taken = Signal()
        tail = Signal(range(self.depth))
        head = Signal(range(self.depth))
        next_head = Signal(range(self.depth))
        m.d.comb += [
            self.input.ready.eq(self.level != self.depth),
            self.output.valid.eq(self.level != 0),
            put.eq(self.input.valid & self.input.ready),
            taken.eq(self.output.valid & self.output.ready),
            write.en.eq(put),
            write.addr.eq(tail),
            write.data.eq(self.input.payload),
            next_head.eq(Mux(taken, self._after(head), head)),
            read.addr.eq(next_head),
            self.output.payload.eq(read.data),
        ]
        m.d.sync += [
            self.level.eq(self.level + put - taken),
            tail.eq(Mux(put, self._after(tail), tail)),
            head.eq(next_head),
        ]
        return m

    def _after(self, place: Signal):
        """Return the place after one; the last is followed by the first."""
        return Mux(place == self.depth - 1, 0, place + 1)
