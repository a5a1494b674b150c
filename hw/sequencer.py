"""When a unit's instructions start and end: command queue, tokens, what is under way."""

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from ..isa.costs import IN_FLIGHT
from ..isa.instructions import Instruction, Opcode
from ..isa.registers import Activity
from .layouts import layout
from .ports import INDEX_BITS, Command, Interface
from .queue import Queue

SLOT_BITS = IN_FLIGHT.bit_length() - 1


class PopSignature(wiring.Signature):
    """The taking side of a token queue, as the taker sees it; see `TokenCounter`."""

    def __init__(self):
        super().__init__({"pop": Out(1), "ready": In(1)})


class PushSignature(wiring.Signature):
    """The giving side of a token queue, as the giver sees it; see `TokenCounter`."""

    def __init__(self):
        super().__init__({"push": Out(1), "full": In(1)})


class Sequencer(wiring.Component):
    """Start and end the instructions of one unit as sim/TIMING.md has it.

    Parameters
    ----------
    config : Config
    ordered : bool
        Whether it is COMPUTE or MATRIX of two, that follow each other where they meet.

    Members
    -------
    input : In(stream.Signature(Command))
        To the end of the command queue.
    after, other : In(32)
        Where `ordered`: with `input`, what `Order` says; and the other unit's `oldest`.
    pop_prev, pop_next : Out(PopSignature())
    push_prev, push_next : Out(PushSignature())
        Token queues from and to the neighbours; of a neighbour that does not exist, none is used.
    start : Out(1)
        The instruction of `command` starts in this cycle.
    command : Out(Command)
        The front of the command queue.
    slot : Out(range(IN_FLIGHT))
        Where it is kept while it is under way.
    front_free : In(1)
        An instruction may start in this cycle.
    written : In(IN_FLIGHT)
        A bit for a cycle, c: the instruction in that slot has written from c + 1 on. That may be
        the cycle in which it starts.
    halt : In(1)
        Start nothing.
    ended : Out(1)
        The oldest instruction pushes its tokens in this cycle: it ends with it.
    idle : Out(1)
        Nothing is under way or waits, at the beginning of the cycle.
    stuck : Out(1)
        Nothing but a token, given or taken by another unit, or another instruction can change what
        this one does.
    oldest : Out(32)
        Index of the oldest instruction that has not ended; all ones while `idle`.
    activity : Out(Activity)
        What the unit does in this cycle.
    """

    input: Interface
    after: Signal
    other: Signal
    pop_prev: Interface
    pop_next: Interface
    push_prev: Interface
    push_next: Interface
    start: Signal
    command: Interface
    slot: Signal
    front_free: Signal
    written: Signal
    halt: Signal
    ended: Signal
    idle: Signal
    stuck: Signal
    oldest: Signal
    activity: Signal

    def __init__(self, config: Config, *, ordered: bool = False):
        self.config = config
        self.ordered = ordered
        order = {"after": In(INDEX_BITS), "other": In(INDEX_BITS)} if ordered else {}
        super().__init__(
            {
                "input": In(stream.Signature(Command)),
                **order,
                "pop_prev": Out(PopSignature()),
                "pop_next": Out(PopSignature()),
                "push_prev": Out(PushSignature()),
                "push_next": Out(PushSignature()),
                "start": Out(1),
                "command": Out(Command),
                "slot": Out(SLOT_BITS),
                "front_free": In(1),
                "written": In(IN_FLIGHT),
                "halt": In(1),
                "ended": Out(1),
                "idle": Out(1),
                "stuck": Out(1),
                "oldest": Out(INDEX_BITS),
                "activity": Out(range(len(Activity))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shape = data.StructLayout({"command": Command, "after": INDEX_BITS * self.ordered})
        m.submodules.queue = queue = Queue(shape, self.config.command_queue_depth)
        waiting = queue.output.payload.command
        follows = Signal()
        m.d.comb += [
            queue.input.valid.eq(self.input.valid),
            self.input.ready.eq(queue.input.ready),
            queue.input.payload.command.eq(self.input.payload),
            follows.eq(1),
        ]
        if self.ordered:
            m.d.comb += [
                queue.input.payload.after.eq(self.after),
                follows.eq(self.other >= queue.output.payload.after),
            ]
        insn = layout(Instruction, self.config)(waiting.insn)

        head = Signal(SLOT_BITS)
        tail = Signal(SLOT_BITS)
        count = Signal(range(IN_FLIGHT + 1))
        written = Signal(IN_FLIGHT)
        last_opcode = Signal.like(insn.opcode)
        other_kind = Signal()
        room = Signal()
        tokens = Signal()
        m.d.comb += [
            self.command.eq(waiting),
            self.slot.eq(tail),
            other_kind.eq((count != 0) & (insn.opcode != last_opcode)),
            room.eq(~other_kind & (count != IN_FLIGHT)),
            tokens.eq(
                (~insn.pop_prev | self.pop_prev.ready) & (~insn.pop_next | self.pop_next.ready)
            ),
            self.start.eq(
                queue.output.valid & self.front_free & room & follows & tokens & ~self.halt
            ),
            queue.output.ready.eq(self.start),
            self.pop_prev.pop.eq(self.start & insn.pop_prev),
            self.pop_next.pop.eq(self.start & insn.pop_next),
        ]
        with m.If(self.start):
            m.d.sync += [tail.eq(tail + 1), last_opcode.eq(insn.opcode)]
        started = Signal(IN_FLIGHT)
        m.d.comb += started.eq(self.start << tail)
        m.d.sync += [
            written.eq(written & ~started | self.written),
            count.eq(count + self.start - self.ended),
        ]

        gives_prev = Signal(IN_FLIGHT)
        gives_next = Signal(IN_FLIGHT)
        indices = Array(Signal(INDEX_BITS, name=f"index_{slot}") for slot in range(IN_FLIGHT))
        with m.If(self.start):
            m.d.sync += [
                gives_prev.bit_select(tail, 1).eq(insn.push_prev),
                gives_next.bit_select(tail, 1).eq(insn.push_next),
                indices[tail].eq(waiting.index),
            ]
        has_written, to_prev, to_next = (
            Signal(name=name) for name in ("has_written", "to_prev", "to_next")
        )
        m.d.comb += [
            has_written.eq((count != 0) & written.bit_select(head, 1)),
            to_prev.eq(gives_prev.bit_select(head, 1)),
            to_next.eq(gives_next.bit_select(head, 1)),
            self.ended.eq(
                has_written
                & (~to_prev | ~self.push_prev.full)
                & (~to_next | ~self.push_next.full)
                & ~self.halt
            ),
            self.push_prev.push.eq(self.ended & to_prev),
            self.push_next.push.eq(self.ended & to_next),
        ]
        with m.If(self.ended):
            m.d.sync += head.eq(head + 1)

        places = Signal(2 * IN_FLIGHT)  # of what is under way; those beyond the end wrap
        under_way = Signal(IN_FLIGHT)
        all_written = Signal()
        m.d.comb += [
            places.eq(((1 << count) - 1) << head),
            under_way.eq(places[:IN_FLIGHT] | places[IN_FLIGHT:]),
            all_written.eq(~(under_way & ~written).any()),
            self.idle.eq((count == 0) & ~queue.output.valid),
            self.stuck.eq(self.front_free & all_written & ~self.start & ~self.ended),
            self.oldest.eq(
                Mux(
                    count != 0,
                    indices[head],
                    Mux(queue.output.valid, waiting.index, -1),
                )
            ),
        ]
        self._account(
            m, insn, queue.output.valid, other_kind, room, follows, all_written, has_written
        )
        return m

    def _account(
        self,
        m: Module,
        insn: Interface,
        seen: Value,
        other_kind: Value,
        room: Value,
        follows: Value,
        all_written: Value,
        has_written: Value,
    ) -> None:
        """Say what the unit does: sim/TIMING.md, "Where cycles went".

        An instruction that awaits the end of another one puts its wait down to that one's work up
        to and with the cycle in which it has written, and from then on to full token queues.
        """
        transfers = Signal()  # what is under way are LOADs or STOREs
        all_wrote = Signal()  # in the cycle before, already
        oldest_wrote = Signal()  # in the cycle before, already
        with m.If(self.start):
            m.d.sync += transfers.eq((insn.opcode == Opcode.LOAD) | (insn.opcode == Opcode.STORE))
        m.d.sync += [all_wrote.eq(all_written & ~self.start), oldest_wrote.eq(has_written)]
        with m.If(self.start | ~self.front_free):
            m.d.comb += self.activity.eq(Activity.BUSY)
        with m.Elif(~seen):
            m.d.comb += self.activity.eq(Activity.NO_INSTRUCTION)
        with m.Elif(~room):
            with m.If(Mux(other_kind, all_wrote, oldest_wrote)):
                m.d.comb += self.activity.eq(Activity.TOKEN_FULL)
            with m.Elif(transfers):
                m.d.comb += self.activity.eq(Activity.MEMORY)
            with m.Else():
                m.d.comb += self.activity.eq(Activity.PIPELINE)
        with m.Elif(~follows):
            m.d.comb += self.activity.eq(Activity.ORDER)
        with m.Elif(insn.pop_prev & ~self.pop_prev.ready):
            m.d.comb += self.activity.eq(Activity.TOKEN_PREV)
        with m.Else():
            m.d.comb += self.activity.eq(Activity.TOKEN_NEXT)
