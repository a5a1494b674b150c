"""Memory behind the AXI port, for amaranth.sim: the exact model, or one that keeps all waiting."""

import random
from collections import deque

import numpy as np
import numpy.typing as npt
from vtakit.hw.ports import Interface
from vtakit.isa.config import PAGE_BYTES

Bytes = npt.NDArray[np.uint8]
SLAVE_ERROR = 0b10
DECODE_ERROR = 0b11


class Bus:
    """What answers the read and the write channel, a step a cycle.

    Without `draw` it is always ready, and words and responses come at the earliest: that of a grant
    or of a burst in cycle c from c + `latency` on. With `draw` everything comes when chance lets
    it, in the orders that AXI allows, and what is shown has to stand until it is taken.

    Parameters
    ----------
    read, write
        Interfaces of `axi.ReadSignature` and `axi.WriteSignature`, as their master has them.
    bus_bytes
    dram
        Written when address and words of a burst are there.
    latency
    draw
    refused
        Bytes; reads of words from there fail, and writes of bursts of which a word is there.
    """

    def __init__(
        self,
        read: Interface,
        write: Interface,
        bus_bytes: int,
        dram: Bytes,
        latency: int,
        draw: random.Random | None = None,
        refused: range = range(0),
    ) -> None:
        self.axi_read, self.axi_write = read, write
        self.bytes, self.dram, self.latency = bus_bytes, dram, latency
        self.draw, self.refused = draw, refused
        self.odds = 1.0
        self.cycle = 0
        self.words: deque[tuple[int, int, bool]] = deque()  # earliest cycle, address, last
        self.addresses: deque[tuple[int, int]] = deque()  # of write bursts: first byte, words
        self.data: deque[tuple[int, int, int]] = deque()  # words written: data, strobe, last
        self.responses: deque[tuple[int, int]] = deque()  # earliest cycle, response
        self.shown: dict[str, tuple[int, ...]] = {}

    def is_idle(self) -> bool:
        """Return whether nothing is on its way."""
        return not (self.words or self.addresses or self.data or self.responses or self.shown)

    async def step(self, ctx) -> None:
        """Play the channels for this cycle, in which the master's other inputs are set."""
        if self.draw is not None and self.cycle % 64 == 0:
            self.odds = self.draw.choice((0.1, 0.5, 0.9, 1.0))
        self._read(ctx)
        self._write(ctx)
        self.cycle += 1

    def _chance(self) -> bool:
        return self.draw is None or self.draw.random() < self.odds

    def _read(self, ctx) -> None:
        axi, ready = self.axi_read, self._chance()
        ctx.set(axi.arready, ready)
        if burst := self._asked(ctx, axi, "ar", ready):
            address, words = burst
            for i in range(words):
                last = i == words - 1
                self.words.append((self.cycle + self.latency, address + i * self.bytes, last))
        comes = bool(self.words and self.words[0][0] <= self.cycle and self._chance())
        ctx.set(axi.rvalid, comes)
        if comes:
            _, address, last = self.words.popleft()
            word = self.dram[address : address + self.bytes].tobytes()
            ctx.set(axi.rdata, int.from_bytes(word, "little"))
            ctx.set(axi.rlast, last)
            ctx.set(axi.rresp, DECODE_ERROR if address in self.refused else 0)
        assert ctx.get(axi.rready)

    def _write(self, ctx) -> None:
        axi = self.axi_write
        address_ready, data_ready = self._chance(), self._chance()
        if self.draw is not None and self.cycle // 256 % 2:
            # Channels may wait for each other: an address for its word, a word for its address.
            if self.cycle // 512 % 2:
                address_ready = bool(address_ready and (ctx.get(axi.wvalid) or self.data))
            else:
                data_ready = bool(data_ready and self.addresses)
        ctx.set(axi.awready, address_ready)
        if burst := self._asked(ctx, axi, "aw", address_ready):
            self.addresses.append(burst)
        ctx.set(axi.wready, data_ready)
        word = (ctx.get(axi.wdata), ctx.get(axi.wstrb), ctx.get(axi.wlast))
        if self._shown("w", ctx.get(axi.wvalid), data_ready, word):
            self.data.append(word)
        if self.draw is None:
            assert not self.data or self.addresses, "a word before its address"
        self._store()
        comes = bool(self.responses and self.responses[0][0] <= self.cycle and self._chance())
        ctx.set(axi.bvalid, comes)
        if comes:
            ctx.set(axi.bresp, self.responses.popleft()[1])
        assert ctx.get(axi.bready)

    def _asked(self, ctx, axi: Interface, channel: str, ready: bool) -> tuple[int, int] | None:
        """Return address and words of the burst that AR or AW hands over in this cycle."""

        def value(name: str) -> int:
            return ctx.get(getattr(axi, channel + name))

        address, words = value("addr"), value("len") + 1
        constant = (value("id"), value("size"), value("burst"), value("prot"))
        if not self._shown(channel, value("valid"), ready, (address, words)):
            return None
        assert constant == (0, self.bytes.bit_length() - 1, 1, 0)
        assert address % self.bytes == 0
        assert 1 <= words <= 64
        assert address // PAGE_BYTES == (address + words * self.bytes - 1) // PAGE_BYTES
        return address, words

    def _shown(self, channel: str, valid: int, ready: bool, payload: tuple[int, ...]) -> bool:
        """Return whether it is handed over; see that what was not taken still stands."""
        if channel in self.shown:
            assert valid, f"{channel} went away"
            assert payload == self.shown[channel], f"{channel} changed"
        self.shown.pop(channel, None)
        if valid and not ready:
            self.shown[channel] = payload
        return bool(valid and ready)

    def _store(self) -> None:
        """Write the bursts of which address and words are there."""
        while self.addresses and len(self.data) >= self.addresses[0][1]:
            address, words = self.addresses.popleft()
            response = 0
            for i in range(words):
                data, strobe, last = self.data.popleft()
                assert last == (i == words - 1)
                for lane in range(self.bytes):
                    if strobe >> lane & 1:
                        self.dram[address + i * self.bytes + lane] = data >> 8 * lane & 0xFF
                if address + i * self.bytes in self.refused:
                    response = SLAVE_ERROR
            self.responses.append((self.cycle + self.latency, response))
