"""sim/TIMING.md once more, cycle by cycle, as hardware would do it: slow, plain, and its test.

Each cycle is decided by the state at its beginning; what it changes is put off to its end.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vtakit.isa.config import Config
from vtakit.isa.instructions import Alu, Finish, Gemm, Instruction, Load, Store, Unit
from vtakit.sim import costs

from .interpreter import Interpreter, decode_program

FETCH = "fetch"
POPS = {Unit.LOAD: (None, 1), Unit.COMPUTE: (0, 3), Unit.STORE: (2, None)}
PUSHES = {Unit.LOAD: (None, 0), Unit.COMPUTE: (1, 2), Unit.STORE: (3, None)}


class StandstillError(Exception):
    """Nothing has moved for longer than any latency."""


def bursts_of(insn: Load | Store, config: Config) -> list[int]:
    """Return the bus words of each burst of a transfer."""
    size, bus = insn.memory.element_bytes(config), config.bus_bytes
    words: list[int] = []
    for y in range(insn.y_size if insn.x_size else 0):
        at = (insn.dram_base + y * insn.x_stride) * size % (1 << 32)
        end = at + insn.x_size * size
        while at < end:
            stop = min(end, at // 4096 * 4096 + 4096, at // bus * bus + costs.MAX_BURST_WORDS * bus)
            words.append(-(-stop // bus) - at // bus)
            at = stop
    return words


def pads_of(insn: Load) -> int:
    """Return how many elements of pads a LOAD writes."""
    if insn.x_size == 0:
        return 0
    width = insn.x_pad_0 + insn.x_size + insn.x_pad_1
    return (insn.y_pad_0 + insn.y_size + insn.y_pad_1) * width - insn.y_size * insn.x_size


def issue_cycles(insn: Gemm | Alu, state: Interpreter) -> int:
    """Return the cycles that its micro-ops take to issue."""
    steps = state.steps(insn)
    if isinstance(insn, Gemm) or insn.use_imm or state.config.acc_read_ports == 2:
        return len(steps)
    cycles, register = 0, None
    for dst, src, _ in steps:
        cycles += 1 if register == src else 2
        register = None if dst == src else src
    return cycles


@dataclass
class UnderWay:
    """An instruction between its start and its end."""

    index: int
    insn: Instruction
    start: int
    setup: int
    to_request: deque[int] = field(default_factory=deque[int])  # words of bursts
    awaited: int = 0  # words asked for, or to be, and not arrived
    pads: int = 0
    issue: int = 0  # cycles of issue left
    stages: int = 1
    last_issue: int = -1
    to_send: deque[int] = field(default_factory=deque[int])  # words left of bursts
    responses: int = 0  # awaited

    def ready(self, cycle: int) -> bool:
        return cycle >= self.start + self.setup

    def front_is_free(self, cycle: int) -> bool:
        busy = self.to_request or self.pads or self.issue or self.to_send
        return self.ready(cycle) and not busy

    def has_written(self, cycle: int) -> bool:
        waiting = self.awaited or self.responses
        drained = self.last_issue < 0 or cycle >= self.last_issue + self.stages
        return self.front_is_free(cycle) and not waiting and drained


@dataclass
class ReadBurst:
    reader: Unit | str
    granted: int
    words: int
    owner: UnderWay | None


class CycleReference:
    """The machine of a program, cycle by cycle."""

    def __init__(
        self,
        insns: npt.NDArray[np.uint8],
        state: Interpreter,
        latency: int,
        tokens: list[int] | None = None,
    ) -> None:
        self.program = decode_program(insns, state.config)
        self.state, self.config, self.latency = state, state.config, latency
        self.cycle = 0
        self.tokens = list(tokens or [0, 0, 0, 0])
        self.queues: dict[Unit, deque[int]] = {unit: deque() for unit in Unit}
        self.under_way: dict[Unit, deque[UnderWay]] = {unit: deque() for unit in Unit}
        self.last: dict[Unit, UnderWay | None] = dict.fromkeys(Unit)
        self.reads: deque[ReadBurst] = deque()
        self.responses: deque[tuple[int, UnderWay]] = deque()
        self.write_bursts = 0  # begun and without response
        self.fetch_asked = self.fetch_bytes = self.dispatched = 0
        self.starts = [-1] * len(self.program)
        self.ends = [-1] * len(self.program)
        self.later: list[Callable[[], None]] = []

    def run(self) -> int:
        """Run to the end; return the cycles."""
        still = 0
        while any(end < 0 for end in self.ends):
            self.later = []
            self._receive_word()
            self._grant_read()
            self._dispatch()
            for unit in Unit:
                self._pads_and_issue(unit)
                self._end(unit)
                self._start(unit)
            self._write()
            still = 0 if self.later else still + 1
            if still > 2 * self.latency + 100:
                raise StandstillError(f"nothing moves in cycle {self.cycle}")
            for change in self.later:
                change()
            self.cycle += 1
        return max(self.ends)

    # Memory

    def _arriving(self) -> ReadBurst | None:
        if self.reads and self.cycle >= self.reads[0].granted + self.latency:
            return self.reads[0]
        return None

    def _receive_word(self) -> None:
        burst = self._arriving()
        if burst is None:
            return

        def receive() -> None:
            burst.words -= 1
            if burst.words == 0:
                self.reads.popleft()
            if burst.owner is None:
                self.fetch_bytes += self.config.bus_bytes
            else:
                burst.owner.awaited -= 1

        self.later.append(receive)

    def _grant_read(self) -> None:
        if len(self.reads) >= costs.BURSTS_IN_FLIGHT:
            return
        if sum(burst.words for burst in self.reads) >= costs.WORDS_IN_FLIGHT:
            return
        words = self._fetch_request()
        if words:
            self._grant(FETCH, words, None)
            return
        for unit in (Unit.COMPUTE, Unit.LOAD):
            front = self.last[unit]
            if front is not None and front.ready(self.cycle) and front.to_request:
                self._grant(unit, front.to_request[0], front)
                return

    def _grant(self, reader: Unit | str, words: int, owner: UnderWay | None) -> None:
        burst = ReadBurst(reader, self.cycle, words, owner)

        def grant() -> None:
            self.reads.append(burst)
            if owner is None:
                self.fetch_asked += 1
            else:
                owner.to_request.popleft()

        self.later.append(grant)

    def _write(self) -> None:
        if self.responses and self.responses[0][0] == self.cycle:
            owner = self.responses[0][1]

            def respond() -> None:
                self.responses.popleft()
                owner.responses -= 1

            self.later.append(respond)
        front = self.last[Unit.STORE]
        if front is None or not front.ready(self.cycle) or not front.to_send:
            return
        begins = front.to_send[0] == front.responses_words[0] if False else front.burst_begins
        if begins and self.write_bursts - len(self._answered()) >= costs.BURSTS_IN_FLIGHT:
            return
