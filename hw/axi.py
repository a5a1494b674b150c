"""The signals of AXI4 and AXI4-Lite, by the names of the specification (ARM IHI 0022).

Flat, without streams, because a netlist's ports are these names behind a prefix. Signatures are as
the master sees them: for the slave's side take `In`, or `flip()`.
"""

import enum

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Burst(enum.IntEnum):
    """AxBURST; IHI 0022E, A3.4.1."""

    FIXED = 0
    INCR = 1
    WRAP = 2


NORMAL_BUFFERABLE = 0b0011
"""AxCACHE of memory that may buffer writes; IHI 0022E, A4.4."""

LITE_ADDRESS_BITS = 12
"""Of the register window: 4 KiB."""


class ReadSignature(wiring.Signature):
    """Channels AR and R of an AXI4 port, with transaction ids of one bit.

    Parameters
    ----------
    bus_bits : int
        Width of the data.
    """

    def __init__(self, bus_bits: int):
        self.bus_bits = bus_bits
        super().__init__(
            {
                **_address("ar"),
                "rid": In(1),
                "rdata": In(bus_bits),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class WriteSignature(wiring.Signature):
    """Channels AW, W and B of an AXI4 port, with transaction ids of one bit.

    Parameters
    ----------
    bus_bits : int
        Width of the data.
    """

    def __init__(self, bus_bits: int):
        self.bus_bits = bus_bits
        super().__init__(
            {
                **_address("aw"),
                "wdata": Out(bus_bits),
                "wstrb": Out(bus_bits // 8),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bid": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
            }
        )


class LiteSignature(wiring.Signature):
    """An AXI4-Lite port with data of 32 bits, as the master sees it."""

    def __init__(self):
        super().__init__(
            {
                "awaddr": Out(LITE_ADDRESS_BITS),
                "awprot": Out(3),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(32),
                "wstrb": Out(4),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(LITE_ADDRESS_BITS),
                "arprot": Out(3),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(32),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


def _address(channel: str) -> dict[str, wiring.Member]:
    """Return the members of AR or AW."""
    return {
        f"{channel}id": Out(1),
        f"{channel}addr": Out(32),
        f"{channel}len": Out(8),
        f"{channel}size": Out(3),
        f"{channel}burst": Out(2),
        f"{channel}cache": Out(4),
        f"{channel}prot": Out(3),
        f"{channel}valid": Out(1),
        f"{channel}ready": In(1),
    }
