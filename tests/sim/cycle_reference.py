"""sim/TIMING.md once more, cycle by cycle, as hardware would do it: slow, plain, and its test.

Each cycle is decided by the state at its beginning; what it changes is put off to its end.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from vtakit.isa import costs
from vtakit.isa.config import Config
from vtakit.isa.instructions import Alu, Finish, Gemm, Instruction, Load, Memory, Store, Unit

from .interpreter import Interpreter, decode_program

IN_FLIGHT = 8
NONE = -1
POPS = {Unit.LOAD: (NONE, 1), Unit.COMPUTE: (0, 3), Unit.STORE: (2, NONE), Unit.MATRIX: (0, 3)}
PUSHES = {Unit.LOAD: (NONE, 0), Unit.COMPUTE: (1, 2), Unit.STORE: (3, NONE), Unit.MATRIX: (1, 2)}
MIDDLE = (Unit.COMPUTE, Unit.MATRIX)


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


def meet(a: Instruction, b: Instruction, config: Config) -> bool:
    """Whether two instructions of COMPUTE and MATRIX keep their order."""
    banks = [
        {0, 1} if isinstance(one, Finish) or (isinstance(one, Load) and one.memory is Memory.UOP)
        else {one.bank if isinstance(one, Load | Gemm | Alu) else 0}
        for one in (a, b)
    ]  # fmt: skip
    flags = ("pop_prev", "pop_next", "push_prev", "push_next")
    return bool(banks[0] & banks[1]) or any(getattr(a, f) and getattr(b, f) for f in flags)


@dataclass(eq=False)
class UnderWay:
    """An instruction between its start and its end."""

    index: int
    insn: Instruction
    start: int
    setup: int
    requests: deque[int] = field(default_factory=deque[int])  # words of each burst to ask for
    awaited: int = 0  # words to arrive
    pads: int = 0  # to write
    issue: int = 0  # cycles of issue left
    stages: int = 0
    last_issue: int | None = None
    sends: deque[int] = field(default_factory=deque[int])  # words left of each burst to send
    responses: int = 0  # to arrive
    written: int | None = None  # first cycle at whose beginning it had written

    def is_ready(self, cycle: int) -> bool:
        return cycle >= self.start + self.setup

    def front_is_free(self, cycle: int) -> bool:
        busy = self.requests or self.pads or self.issue or self.sends
        return self.is_ready(cycle) and not busy

    def has_written(self, cycle: int) -> bool:
        drained = self.last_issue is None or cycle >= self.last_issue + self.stages
        waits = self.awaited or self.responses
        return self.front_is_free(cycle) and drained and not waits


@dataclass(eq=False)
class ReadBurst:
    """A granted read request: its words that have not arrived, and for whom; None is fetch."""

    granted: int
    words: int
    unit: Unit | None
    owner: UnderWay | None


class CycleReference:
    """The machine while it runs a program on the buffers and memory of an interpreter.

    `starts` and `ends` are then the cycles of each instruction, `tokens` what is left, and `spent`
    counts the cycles of each unit by what it did or waited for, as in `machine.UnitCycles`.
    """

    def __init__(
        self,
        insns: npt.NDArray[np.uint8],
        state: Interpreter,
        latency: int,
        tokens: tuple[int, ...] = (0, 0, 0, 0),
    ) -> None:
        self.program = decode_program(insns, state.config)
        self.state, self.config, self.latency = state, state.config, latency
        self.cycle = 0
        self.tokens = list(tokens)
        self.queues: dict[Unit, deque[int]] = {unit: deque() for unit in Unit}
        self.under_way: dict[Unit, deque[UnderWay]] = {unit: deque() for unit in Unit}
        self.last: dict[Unit, UnderWay | None] = dict.fromkeys(Unit)
        self.reads: deque[ReadBurst] = deque()
        self.responses: deque[tuple[int, UnderWay]] = deque()
        self.unanswered = 0  # write bursts begun whose response has not arrived
        self.mid_burst = False
        self.asked = self.received_words = self.dispatched = 0  # fetch: bursts, words, instructions
        self.starts = [-1] * len(self.program)
        self.ends = [-1] * len(self.program)
        self.spent: dict[Unit, Counter[str]] = {unit: Counter() for unit in Unit}
        self.changes: list[Callable[[], None]] = []

    def run(self) -> int:
        """Run to the end and return the cycles, or raise StandstillError."""
        still = 0
        while -1 in self.ends:
            self.changes = []
            arriving = self._arriving(self._grant())
            if arriving is not None:
                self._do(self._receive, arriving)
            self._dispatch()
            for unit in Unit:
                self._note_written(unit)
                self._advance(unit, arriving)
                self._end(unit)
                self.spent[unit][self._start(unit)] += 1
            self._send()
            still = 0 if self.changes or self.reads or self.responses else still + 1
            if still > 20:
                raise StandstillError(f"nothing moves in cycle {self.cycle}")
            for change in self.changes:
                change()
            self.cycle += 1
        return max(self.ends)

    def _do(self, change: Callable[..., None], *arguments: object) -> None:
        """Put a change off to the end of the cycle."""
        self.changes.append(lambda: change(*arguments))

    # the memory port

    def _arriving(self, granted: ReadBurst | None) -> ReadBurst | None:
        """The burst of which a word arrives in this cycle, in which `granted` was."""
        oldest = self.reads[0] if self.reads else granted
        if oldest is not None and self.cycle >= oldest.granted + self.latency:
            return oldest
        return None

    def _receive(self, burst: ReadBurst) -> None:
        burst.words -= 1
        if burst.words == 0:
            self.reads.popleft()
        if burst.owner is None:
            self.received_words += 1
        else:
            burst.owner.awaited -= 1

    def _grant(self) -> ReadBurst | None:
        """Grant one of the requests that stand."""
        if len(self.reads) >= costs.BURSTS_IN_FLIGHT:
            return None
        if sum(burst.words for burst in self.reads) >= costs.WORDS_IN_FLIGHT:
            return None
        burst = self._requested()
        if burst is not None:
            self._do(self._ask, burst)
        return burst

    def _requested(self) -> ReadBurst | None:
        """The burst of which the request stands that comes first."""
        words = self._fetch_words()
        if words:
            return ReadBurst(self.cycle, words, None, None)
        for unit in (Unit.COMPUTE, Unit.LOAD):
            front = self.last[unit]
            if front is not None and front.is_ready(self.cycle) and front.requests:
                return ReadBurst(self.cycle, front.requests[0], unit, front)
        return None

    def _ask(self, burst: ReadBurst) -> None:
        self.reads.append(burst)
        if burst.owner is None:
            self.asked += 1
        else:
            burst.owner.requests.popleft()

    def _send(self) -> None:
        """Send a word of a STORE; receive a response."""
        if self.responses and self.responses[0][0] == self.cycle:
            self._do(self._respond, self.responses[0][1])
        front = self.last[Unit.STORE]
        if front is None or not front.is_ready(self.cycle) or not front.sends:
            return
        if self.mid_burst or self.unanswered < costs.BURSTS_IN_FLIGHT:
            self._do(self._sent, front, not self.mid_burst)

    def _sent(self, owner: UnderWay, begins: bool) -> None:
        self.unanswered += begins
        owner.sends[0] -= 1
        self.mid_burst = owner.sends[0] > 0
        if not self.mid_burst:
            owner.sends.popleft()
            self.responses.append((self.cycle + self.latency, owner))
            if self.latency == 0:
                self._respond(owner)

    def _respond(self, owner: UnderWay) -> None:
        self.responses.popleft()
        self.unanswered -= 1
        owner.responses -= 1

    # fetch

    def _fetch_words(self) -> int:
        """The words of the burst that fetch asks for, or 0."""
        first = self.asked * costs.FETCH_BURST
        if self.asked >= 2 and self.dispatched < first - costs.FETCH_BURST:
            return 0
        count = min(costs.FETCH_BURST, len(self.program) - first)
        return -(-max(count, 0) * 16 // self.config.bus_bytes)

    def _dispatch(self) -> None:
        index = self.dispatched
        if index == len(self.program):
            return
        # the words of a whole burst, then as many as end with this instruction
        whole = costs.FETCH_BURST * 16 // self.config.bus_bytes
        inside = -(-(index % costs.FETCH_BURST + 1) * 16 // self.config.bus_bytes)
        if self.received_words < index // costs.FETCH_BURST * whole + inside:
            return
        queue = self.queues[self.program[index].unit(self.config)]
        if len(queue) < self.config.command_queue_depth:
            self._do(self._hand_over, queue, index)

    def _hand_over(self, queue: deque[int], index: int) -> None:
        queue.append(index)
        self.dispatched += 1

    # the units

    def _start(self, unit: Unit) -> str:
        """Start the unit's next instruction if it may; return what the unit spends the cycle on."""
        last, under_way = self.last[unit], self.under_way[unit]
        if last is not None and not last.front_is_free(self.cycle):
            return "busy"
        if not self.queues[unit]:
            return "no_instruction"
        index = self.queues[unit][0]
        insn = self.program[index]
        if last is not None and under_way and last.insn.opcode != insn.opcode:
            return self._wait_for(last)
        if len(under_way) >= IN_FLIGHT:
            return self._wait_for(under_way[0])
        if unit in MIDDLE and self._must_follow(unit, index):
            return "order"
        prev, following = POPS[unit]
        if insn.pop_prev and self.tokens[prev] == 0:
            return "token_prev"
        if insn.pop_next and self.tokens[following] == 0:
            return "token_next"
        pops = [prev] * insn.pop_prev + [following] * insn.pop_next
        self._do(self._begin, unit, self._under_way(index, insn), pops)
        return "busy"

    def _must_follow(self, unit: Unit, index: int) -> bool:
        """Whether an earlier instruction of the other unit, that this one meets, has not ended."""
        return any(
            self.ends[i] < 0 and other.unit(self.config) in MIDDLE
            and other.unit(self.config) is not unit
            and meet(self.program[index], other, self.config)
            for i, other in enumerate(self.program[:index])
        )  # fmt: skip

    def _wait_for(self, op: UnderWay) -> str:
        if op.written is not None and self.cycle > op.written:
            return "token_full"
        return "memory" if isinstance(op.insn, Load | Store) else "pipeline"

    def _under_way(self, index: int, insn: Instruction) -> UnderWay:
        match insn:
            case Load():
                bursts = bursts_of(insn, self.config)
                return UnderWay(
                    index,
                    insn,
                    self.cycle,
                    costs.LOAD_SETUP,
                    requests=deque(bursts),
                    awaited=sum(bursts),
                    pads=pads_of(insn),
                )
            case Store():
                bursts = bursts_of(insn, self.config)
                return UnderWay(
                    index,
                    insn,
                    self.cycle,
                    costs.STORE_SETUP,
                    sends=deque(bursts),
                    responses=len(bursts),
                )
            case Gemm() | Alu():
                stages = costs.GEMM_STAGES if isinstance(insn, Gemm) else costs.ALU_STAGES
                cycles = issue_cycles(insn, self.state)
                return UnderWay(
                    index, insn, self.cycle, costs.ISSUE_SETUP, issue=cycles, stages=stages
                )
            case _:
                return UnderWay(index, insn, self.cycle, costs.ISSUE_SETUP)

    def _begin(self, unit: Unit, op: UnderWay, pops: list[int]) -> None:
        self.queues[unit].popleft()
        for queue in pops:
            self.tokens[queue] -= 1
        self.under_way[unit].append(op)
        self.last[unit] = op
        self.starts[op.index] = op.start

    def _note_written(self, unit: Unit) -> None:
        for op in self.under_way[unit]:
            if not op.has_written(self.cycle):
                break
            if op.written is None:
                op.written = self.cycle

    def _advance(self, unit: Unit, arriving: ReadBurst | None) -> None:
        """Write a pad or issue a micro-op of the unit's last instruction."""
        op = self.last[unit]
        if op is None or not op.is_ready(self.cycle):
            return
        if op.issue:
            self._do(self._issue, op)
        if op.pads:
            earlier = [other.written for other in self.under_way[unit] if other is not op]
            if None not in earlier and (arriving is None or arriving.unit != unit):
                self._do(self._pad, op)

    def _issue(self, op: UnderWay) -> None:
        op.issue -= 1
        op.last_issue = self.cycle

    def _pad(self, op: UnderWay) -> None:
        op.pads -= 1

    def _end(self, unit: Unit) -> None:
        if not self.under_way[unit]:
            return
        op = self.under_way[unit][0]
        flags = (op.insn.push_prev, op.insn.push_next)
        pushes = [q for q, flag in zip(PUSHES[unit], flags, strict=True) if flag]
        has_room = all(self.tokens[q] < self.config.token_queue_depth for q in pushes)
        if op.written is not None and has_room:
            self._do(self._finish, unit, op, pushes)

    def _finish(self, unit: Unit, op: UnderWay, pushes: list[int]) -> None:
        self.under_way[unit].popleft()
        for queue in pushes:
            self.tokens[queue] += 1
        self.ends[op.index] = self.cycle + 1
        self.state.execute(op.insn)
