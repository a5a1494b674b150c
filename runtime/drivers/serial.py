"""A board at the other end of a serial line, as a device (`pip install 'vtakit[serial]'`)."""

import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from ...isa.config import DRAM_ADDRESS_BITS, PAGE_BYTES, Config
from ...isa.instructions import Load, Memory, Opcode
from ...isa.link import WORD_BYTES
from ...isa.registers import Control, Status
from ...isa.stream import opcodes, unpack, words
from ..buffers import Heap, OutOfMemory
from .device import DeviceError, RunResult
from .host import check_identity, command, error_of, read_counters, read_register, write_register
from .in_process import flat
from .serial_link import SerialLink

U8 = npt.NDArray[np.uint8]

RUN_SECONDS = 600.0
"""How long a program may run on a board."""
POLL_SECONDS = 0.002


class SerialDevice:
    """A `Device` whose memory is a copy of the board's.

    The copy is what `view` shows. Before a run the words go to the board that differ from what is
    known to be there; after it, what the program has stored is out of date here until `fetch` or
    `read` asks for it.

    Parameters
    ----------
    config : Config
    link : SerialLink
        Closed with the device.

    Raises
    ------
    DeviceError
        When the board has another configuration, or does not come to rest.
    """

    def __init__(self, config: Config, link: SerialLink) -> None:
        self._config = config
        self._link = link
        check_identity(link, config)
        self._reset()
        size = link.board.memory_bytes
        self.clock_hz = link.board.clock_hz
        self._heap = Heap(PAGE_BYTES, min(size, 1 << DRAM_ADDRESS_BITS))
        self._host: U8 = np.zeros(size, np.uint8)
        self._words = self._host.view(np.uint32)
        self._sent = np.zeros_like(self._words)
        self._unsent = np.ones(self._words.size, bool)  # what the board holds there is not known
        self._stale = np.zeros(self._words.size, bool)  # the board has stored something newer
        self._used: dict[int, int] = {}
        self._programs: OrderedDict[bytes, int] = OrderedDict()
        self._counters: Counter[str] = Counter()

    @property
    def config(self) -> Config:
        """The machine's configuration."""
        return self._config

    def allocate(self, size_bytes: int, *, align: int = PAGE_BYTES) -> int:
        """Return the address of so many unused bytes; raises `OutOfMemory`."""
        while True:
            try:
                address = self._heap.allocate(size_bytes, align=align)
            except OutOfMemory:
                if not self._programs:
                    raise
                self.release(self._programs.popitem(last=False)[1])
            else:
                self._used[address] = size_bytes
                return address

    def release(self, address: int) -> None:
        """Give back what `allocate` returned."""
        self._heap.release(address)
        del self._used[address]

    def write(self, address: int, data: U8) -> None:
        """Copy bytes, uint8 (n), to memory; raises `DeviceError` outside it."""
        self.view(address, data.size)[:] = data

    def read(self, address: int, size_bytes: int) -> U8:
        """Return a copy of memory, uint8 (size_bytes); raises `DeviceError` outside it."""
        self.fetch(address, size_bytes)
        return self.view(address, size_bytes).copy()

    def view(self, address: int, size_bytes: int) -> U8:
        """Return the copy of memory, uint8 (size_bytes); raises `DeviceError` outside it."""
        end = address + size_bytes
        if address < 0 or end > self._host.size:
            raise DeviceError(
                f"bytes {address} to {end - 1} are not in memory, which ends at "
                f"{self._host.size - 1}"
            )
        return self._host[address:end]

    def fetch(self, address: int, size_bytes: int) -> None:
        """Read from the board what programs have stored since the last time."""
        first, last = address // WORD_BYTES, -(-(address + size_bytes) // WORD_BYTES)
        for begin, end in _spans(self._stale[first:last]):
            data = self._link.read_memory((first + begin) * WORD_BYTES, (end - begin) * WORD_BYTES)
            found = np.frombuffer(data, np.uint32)
            part = slice(first + begin, first + end)
            self._words[part] = self._sent[part] = found
            self._stale[part] = False

    def run(self, insns: U8) -> RunResult:
        """Execute a stream; raises `sim.errors.ProgramError` for a malformed one."""
        program = np.ascontiguousarray(insns)
        address = self._place(program)
        self._send()
        self._mark_stored(program)
        link = self._link
        write_register(link, "INSN_ADDRESS", address)
        write_register(link, "INSN_COUNT", len(program))
        command(link, Control(clear=True), self._config)
        command(link, Control(start=True), self._config)
        try:
            self._wait()
        except BaseException:
            self._reset()
            raise
        if Status.decode(read_register(link, "STATUS"), self._config).error:
            error = error_of(link, program, self._config)
            self._reset()
            raise error
        counted = read_counters(link)
        cycles = read_register(link, "CYCLES")
        counters = flat(counted)
        self._counters.update(counters)
        return RunResult(cycles, counters)

    @property
    def counters(self) -> Mapping[str, int]:
        """What all runs did, by the names of `RunResult.counters`."""
        return dict(self._counters)

    def close(self) -> None:
        """Let go of the port."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _place(self, program: U8) -> int:
        """Return where a program lies in memory."""
        name = program.tobytes()
        if name in self._programs:
            self._programs.move_to_end(name)
            return self._programs[name]
        address = self.allocate(max(program.size, 1))
        self._programs[name] = address
        self.write(address, program.reshape(-1))
        return address

    def _send(self) -> None:
        """Bring the board's memory up to date."""
        for address, size_bytes in self._used.items():
            first, last = address // WORD_BYTES, -(-(address + size_bytes) // WORD_BYTES)
            part = slice(first, last)
            differs = self._unsent[part] & ~self._stale[part]
            differs |= self._words[part] != self._sent[part]
            for begin, end in _spans(differs):
                span = slice(first + begin, first + end)
                self._link.write_memory(span.start * WORD_BYTES, self._words[span].tobytes())
                self._sent[span] = self._words[span]
                self._unsent[span] = False
                self._stale[span] = False

    def _mark_stored(self, program: U8) -> None:
        """Note which words a program stores: what is here is out of date."""
        stores = words(program)[opcodes(program) == Opcode.STORE]
        columns = unpack(Load, stores, self._config)
        rows = columns["y_size"].astype(np.int64)
        first = np.cumsum(rows) - rows  # of each instruction among all rows
        row = np.arange(int(rows.sum()), dtype=np.int64) - np.repeat(first, rows)
        base, size, stride = (
            np.repeat(columns[name].astype(np.int64), rows)
            for name in ("dram_base", "x_size", "x_stride")
        )
        element = Memory.OUT.element_bytes(self._config)
        begins = (base + row * stride) * element
        ends = begins + size * element
        change = np.zeros(self._words.size + 1, np.int32)
        np.add.at(change, np.minimum(begins // WORD_BYTES, self._words.size), 1)
        np.add.at(change, np.minimum(-(-ends // WORD_BYTES), self._words.size), -1)
        stored = np.cumsum(change[:-1]) > 0
        self._stale |= stored
        self._unsent &= ~stored

    def _wait(self) -> None:
        """Wait for the end of a run."""
        ends = time.monotonic() + RUN_SECONDS
        pause = POLL_SECONDS
        while not Status.decode(read_register(self._link, "STATUS"), self._config).done:
            if time.monotonic() > ends:
                raise DeviceError(f"the program has not ended in {RUN_SECONDS:g} s")
            time.sleep(pause)
            pause = min(2 * pause, 0.1)

    def _reset(self) -> None:
        """Break off what runs, and forget tokens and errors."""
        command(self._link, Control(reset=True, clear=True), self._config)
        for _ in range(100):
            if not Status.decode(read_register(self._link, "STATUS"), self._config).busy:
                return
        raise DeviceError("the board does not come to rest after a reset; switch it off and on")


def _spans(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return where flags are set: the first of each span, and the one after its last."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
