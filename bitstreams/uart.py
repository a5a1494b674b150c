"""Bytes over two wires: 8 bits, no parity, one stop bit, the low bit first."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from .signals import Interface, resting

FRAME_BITS = 10
"""Of a byte on the line: start, eight bits, stop."""


class Transmitter(wiring.Component):
    """Send bytes.

    Parameters
    ----------
    divisor : int
        Clock cycles of a bit.

    Members
    -------
    bytes : In(stream.Signature(8))
    tx : Out(1)
        High while there is nothing to send.
    """

    bytes: Interface
    tx: Signal

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"bytes": In(stream.Signature(8)), "tx": resting(Out, 1, 1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = Signal(FRAME_BITS, init=-1)  # the low one is on the line
        left = Signal(range(FRAME_BITS + 1))
        phase = Signal(range(self.divisor))
        m.d.comb += [self.tx.eq(bits[0]), self.bytes.ready.eq(left == 0)]
        with m.If(left == 0), m.If(self.bytes.valid):
            m.d.sync += [
                bits.eq(Cat(0, self.bytes.payload, 1)),
                left.eq(FRAME_BITS),
                phase.eq(self.divisor - 1),
            ]
        with m.Elif(phase == 0):
            m.d.sync += [bits.eq(Cat(bits[1:], 1)), left.eq(left - 1), phase.eq(self.divisor - 1)]
        with m.Else():
            m.d.sync += phase.eq(phase - 1)
        return m


class Receiver(wiring.Component):
    """Receive bytes; one whose stop bit is low is lost.

    Parameters
    ----------
    divisor : int
        Clock cycles of a bit; at least 4.

    Members
    -------
    rx : In(1)
    valid : Out(1)
        For a cycle, when a byte has come; nobody can hold it up.
    byte : Out(8)
    """

    rx: Signal
    valid: Signal
    byte: Signal

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"rx": resting(In, 1, 1), "valid": Out(1), "byte": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)
        bits = Signal(FRAME_BITS)
        left = Signal(range(FRAME_BITS + 1))
        phase = Signal(range(self.divisor))
        m.d.comb += self.byte.eq(bits[1:9])
        m.d.sync += self.valid.eq(0)
        with m.If(left == 0), m.If(~line):  # a start bit; its middle is half a bit away
            m.d.sync += [left.eq(FRAME_BITS), phase.eq(self.divisor // 2 - 1)]
        with m.Elif(phase == 0):
            m.d.sync += [
                bits.eq(Cat(bits[1:], line)),
                left.eq(left - 1),
                phase.eq(self.divisor - 1),
            ]
            with m.If((left == FRAME_BITS) & line):
                m.d.sync += left.eq(0)  # a spike
            with m.If(left == 1):
                m.d.sync += self.valid.eq(line)
        with m.Else():
            m.d.sync += phase.eq(phase - 1)
        return m
