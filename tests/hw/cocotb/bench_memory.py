"""The read half of the memory port with three readers, and LOADs; all that can wait does."""

import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiReadBus, AxiSlaveRead
from vtakit.isa.config import PAGE_BYTES, Config
from vtakit.isa.costs import BURSTS_IN_FLIGHT, MAX_BURST_WORDS, WORDS_IN_FLIGHT

from .bench_parts import begin, pauses
from .core_system import Dram
from .simulation import parameters

READERS = ("fetch", "compute", "load")
"""In the order in which they come first."""

CYCLES = 6000
PAGES = 16


def request(draw: random.Random, config: Config, most: int) -> tuple[int, int]:
    """Return address and words, `most` at most, of a burst in a page, which may be refused."""
    words = draw.choice((1, min(2, most), draw.randrange(1, most + 1)))
    page = draw.randrange(PAGES + 1)
    last = PAGE_BYTES // config.bus_bytes - words
    return page * PAGE_BYTES + config.bus_bytes * draw.randrange(last + 1), words


def words_at(dram: Dram, address: int, words: int, size: int) -> list[tuple[int, bool]]:
    """Return what is read there: words, and whether they are refused."""
    found: list[tuple[int, bool]] = []
    for at in range(address, address + words * size, size):
        inside = PAGE_BYTES <= at < dram.data.size
        word = dram.data[at : at + size].tobytes() if inside else bytes(size)
        found.append((int.from_bytes(word, "little"), not inside))
    return found


def mostly() -> Iterator[bool]:
    """Pause in most cycles."""
    while True:
        yield random.random() < 0.9


@cocotb.test()
async def three_readers(dut: Any) -> None:
    """Requests are granted one a cycle, in their order of rank; each reader gets its words."""
    config = Config.from_json(parameters()["config"])
    draw = random.Random(parameters()["seed"])
    dram = Dram(PAGES * PAGE_BYTES)
    dram.data[:] = list(draw.randbytes(dram.data.size))
    slave = AxiSlaveRead(AxiReadBus.from_prefix(dut, "port__axi_"), dut.clk, dut.rst, target=dram)
    slave.ar_channel.queue_occupancy_limit = -1
    slave.ar_channel.set_pause_generator(pauses())
    slave.log.setLevel("ERROR")  # it tells of every word refused
    inputs = [f"port__{name}__request__{end}" for name in READERS for end in ("valid", "payload")]
    await begin(dut, *inputs)

    asked: dict[int, tuple[int, int]] = {}
    coming: deque[tuple[int, int, bool, bool]] = deque()  # reader, word, refused, last
    standing: int | None = None
    most_bursts = most_words = 0
    served: dict[str, int] = dict.fromkeys(READERS, 0)
    eagerness, longest = 0.0, 1
    for cycle in range(CYCLES):
        if cycle % 300 == 0:
            eagerness, longest = draw.choice((0.02, 0.2, 1)), draw.choice((1, MAX_BURST_WORDS))
            slave.r_channel.set_pause_generator(pauses() if cycle % 900 else mostly())
        for number, name in enumerate(READERS):
            if number not in asked and draw.random() < eagerness:
                asked[number] = address, words = request(draw, config, longest)
                getattr(dut, f"port__{name}__request__payload").value = address | words << 32
            getattr(dut, f"port__{name}__request__valid").value = number in asked
        await RisingEdge(dut.clk)

        bursts = sum(last for *_, last in coming)
        may_ask = bursts < BURSTS_IN_FLIGHT and len(coming) < WORDS_IN_FLIGHT
        first = standing if standing is not None else min(asked, default=None)
        assert dut.port__drained.value == (not coming and standing is None)
        assert dut.port__axi__arvalid.value == (first is not None and may_ask)
        assert dut.port__axi__rready.value
        granted = bool(dut.port__axi__arvalid.value) and bool(dut.port__axi__arready.value)
        for number, name in enumerate(READERS):
            ready = getattr(dut, f"port__{name}__request__ready").value
            assert ready == (granted and number == first), name
        _take(dut, coming, served)
        standing = first if dut.port__axi__arvalid.value and not granted else None
        if granted:
            assert first is not None
            address, words = asked.pop(first)
            found = words_at(dram, address, words, config.bus_bytes)
            assert dut.port__axi__araddr.value == address
            assert dut.port__axi__arlen.value == words - 1
            coming.extend((first, *one, i == words - 1) for i, one in enumerate(found))
        most_bursts = max(most_bursts, sum(last for *_, last in coming))
        most_words = max(most_words, len(coming))
    assert most_bursts == BURSTS_IN_FLIGHT
    assert WORDS_IN_FLIGHT <= most_words < WORDS_IN_FLIGHT + MAX_BURST_WORDS
    assert min(served.values()) > 100, served


def _take(dut: Any, coming: deque[tuple[int, int, bool, bool]], served: dict[str, int]) -> None:
    """See that a word goes to the reader that asked for the oldest burst, and to no other."""
    owner = None
    if dut.port__axi__rvalid.value:
        owner, word, refused, last = coming.popleft()
        assert dut.port__axi__rlast.value == last
        data = getattr(dut, f"port__{READERS[owner]}__data__data")
        error = getattr(dut, f"port__{READERS[owner]}__data__error")
        assert (int(data.value), bool(error.value)) == (word, refused)
        served[READERS[owner]] += 1
    for number, name in enumerate(READERS):
        assert getattr(dut, f"port__{name}__data__valid").value == (number == owner), name
