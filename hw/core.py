"""The accelerator: fetch, its units, four token queues, the memory port and the registers."""

from collections.abc import Iterable
from functools import reduce

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..isa.config import Config
from ..isa.instructions import Memory, Unit, units
from ..isa.registers import Activity, ErrorCode
from .axi import LiteSignature, ReadSignature, WriteSignature
from .buffers import Buffer
from .check import Check
from .compute import ComputeEngine
from .counters import kept
from .fetch import Fetch
from .load import LoadEngine
from .memory import ReadChannel
from .order import Order
from .ports import INDEX_BITS, Fault, Interface
from .registers import Registers
from .sequencer import Sequencer
from .store import StoreEngine
from .tokens import TokenCounter

NEIGHBOURS = (
    (Unit.LOAD, Unit.COMPUTE),
    (Unit.COMPUTE, Unit.LOAD),
    (Unit.COMPUTE, Unit.STORE),
    (Unit.STORE, Unit.COMPUTE),
)
"""Who gives tokens to whom."""


class Core(wiring.Component):
    """One machine.

    A program that is started runs until all its instructions have ended, or until something is
    wrong: then nothing new begins, what is on the bus is finished, and all but the registers and
    the buffers' contents is reset.

    Parameters
    ----------
    config : Config

    Members
    -------
    read : Out(ReadSignature(config.bus_bits))
    write : Out(WriteSignature(config.bus_bits))
        The memory port.
    registers : In(LiteSignature())
        `isa.registers`.
    interrupt : Out(1)
        STATUS.done.
    running : Out(1)
        In the cycles that CYCLES counts, from 0 on.
    starts, ends : Out(len(Unit))
        A bit by unit: an instruction starts, or pushes its tokens and so ends with this cycle.
    """

    read: Interface
    write: Interface
    registers: Interface
    interrupt: Signal
    running: Signal
    starts: Signal
    ends: Signal

    def __init__(self, config: Config):
        self.config = config
        super().__init__(
            {
                "read": Out(ReadSignature(config.bus_bits)),
                "write": Out(WriteSignature(config.bus_bits)),
                "registers": In(LiteSignature()),
                "interrupt": Out(1),
                "running": Out(1),
                "starts": Out(len(Unit)),
                "ends": Out(len(Unit)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        flush = Signal()  # reset all but the registers
        flushed = ResetInserter(flush)

        registers = m.submodules.registers = Registers(config)
        wiring.connect(m, wiring.flipped(self.registers), registers.bus)
        fetch, load = Fetch(config), LoadEngine(config, (Memory.INP, Memory.WGT))
        compute, store, channel = ComputeEngine(config), StoreEngine(config), ReadChannel(config)
        engines = {Unit.LOAD: load, Unit.COMPUTE: compute, Unit.STORE: store}
        ordered = (Unit.COMPUTE, Unit.MATRIX) if config.acc_banks == 2 else ()
        sequencers = {unit: Sequencer(config, ordered=unit in ordered) for unit in units(config)}
        m.submodules.fetch = flushed(fetch)
        m.submodules.memory = flushed(channel)
        for unit in sequencers:
            name = unit.name.lower()
            m.submodules[f"{name}_sequencer"] = flushed(sequencers[unit])
            if unit in engines:
                m.submodules[name] = flushed(engines[unit])
            else:
                engines[unit] = compute.matrix
            self._drive(m, sequencers[unit], engines[unit])

        wiring.connect(m, fetch.reader, channel.fetch)
        wiring.connect(m, compute.reader, channel.compute)
        wiring.connect(m, load.reader, channel.load)
        wiring.connect(m, channel.axi, wiring.flipped(self.read))
        wiring.connect(m, store.axi, wiring.flipped(self.write))
        wiring.connect(m, store.out, compute.out)
        for memory in (Memory.INP, Memory.WGT):
            name = memory.name.lower()
            m.submodules[name] = buffer = Buffer(config, memory)
            wiring.connect(m, getattr(load, f"fill_{name}"), buffer.fill)
            wiring.connect(m, getattr(compute, name), buffer.read)

        self._join(m, sequencers, registers, flushed)
        found = [self._hand_over(m, fetch, sequencers)]
        found += [part.error for part in (*engines.values(), fetch)]
        drained = [part.drained for part in (fetch, compute, load, store, channel)]
        halt = self._run(m, fetch, sequencers, registers, found, flush, drained)
        for part in (fetch, *engines.values(), *sequencers.values()):
            m.d.comb += part.halt.eq(halt)
        self._count(m, fetch, engines, sequencers, registers)
        return m

    def _drive(self, m: Module, sequencer: Sequencer, engine: Interface) -> None:
        """Let a sequencer start an engine's instructions."""
        m.d.comb += [
            engine.start.eq(sequencer.start),
            engine.command.eq(sequencer.command),
            engine.slot.eq(sequencer.slot),
            sequencer.front_free.eq(engine.front_free),
            sequencer.written.eq(engine.written),
        ]

    def _join(
        self,
        m: Module,
        sequencers: dict[Unit, Sequencer],
        registers: Registers,
        flushed: ResetInserter,
    ) -> None:
        """Put the token queues between neighbours."""
        for giver, taker in NEIGHBOURS:
            name = f"tokens_{giver.name}_{taker.name}"
            tokens = TokenCounter(self.config.token_queue_depth)
            m.submodules[name.lower()] = flushed(tokens)
            push = "push_next" if giver < taker else "push_prev"
            pop = "pop_prev" if giver < taker else "pop_next"
            # MATRIX has COMPUTE's queues; the two never push, or pop, in the same cycle.
            gives = [getattr(sequencer, push) for sequencer in _all_of(sequencers, giver)]
            takes = [getattr(sequencer, pop) for sequencer in _all_of(sequencers, taker)]
            m.d.comb += [
                tokens.push.eq(Cat(one.push for one in gives).any()),
                *(one.full.eq(tokens.full) for one in gives),
                tokens.pop.eq(Cat(one.pop for one in takes).any()),
                *(one.ready.eq(tokens.ready) for one in takes),
                registers.tokens[name.upper()].eq(tokens.level),
            ]

    def _hand_over(self, m: Module, fetch: Fetch, sequencers: dict[Unit, Sequencer]) -> Interface:
        """Hand each instruction to its unit; return what is wrong with the one that cannot be."""
        m.submodules.check = check = Check(self.config)
        command = fetch.command
        sound = Signal()
        fault = Signal(Fault)
        m.d.comb += [
            check.insn.eq(command.payload.insn),
            check.last.eq(fetch.last),
            sound.eq(check.code == ErrorCode.NONE),
            fault.valid.eq(command.valid & ~sound),
            fault.code.eq(check.code),
            fault.index.eq(command.payload.index + check.next),
        ]
        for unit, sequencer in sequencers.items():
            own = sound & (check.unit == unit)
            m.d.comb += [
                sequencer.input.valid.eq(command.valid & own),
                sequencer.input.payload.eq(command.payload),
            ]
            with m.If(own):
                m.d.comb += command.ready.eq(sequencer.input.ready)
        if Unit.MATRIX in sequencers:
            m.submodules.order = order = Order(self.config)
            compute, matrix = sequencers[Unit.COMPUTE], sequencers[Unit.MATRIX]
            m.d.comb += [
                order.insn.eq(command.payload.insn),
                order.index.eq(command.payload.index),
                order.unit.eq(check.unit),
                order.taken.eq(command.valid & command.ready),
                order.forget.eq(fetch.start),
                compute.after.eq(order.after),
                compute.other.eq(matrix.oldest),
                matrix.after.eq(order.after),
                matrix.other.eq(compute.oldest),
            ]
        return fault

    def _run(
        self,
        m: Module,
        fetch: Fetch,
        sequencers: dict[Unit, Sequencer],
        registers: Registers,
        found: Iterable[Interface],
        flush: Signal,
        drained: Iterable[Value],
    ) -> Value:
        """Start, finish, and stop for an error; return whether all is to halt."""
        control, status, error = registers.control, registers.status, registers.error
        busy = Signal()
        halting = Signal()
        forget = Signal()
        empty = Signal()  # the program that was started has no instruction
        begins = Signal()
        quiet = Signal()
        stuck = Signal()
        every = list(sequencers.values())
        waits = fetch.command.valid & ~fetch.command.ready
        m.d.comb += [
            begins.eq(control.start & ~busy & ~halting & ~status.error),
            fetch.address.eq(registers.insn_address),
            fetch.count.eq(registers.insn_count),
            fetch.start.eq(begins),
            quiet.eq(fetch.idle & _all(unit.idle for unit in every)),
            stuck.eq((fetch.idle | waits) & _all(unit.stuck for unit in every) & ~quiet),
            self.running.eq(busy & ~quiet & ~halting),
            status.busy.eq(busy | halting),
            self.interrupt.eq(status.done),
            flush.eq(halting & _all(drained)),
        ]

        fault = Signal(Fault)
        oldest = Signal(INDEX_BITS)
        m.d.comb += oldest.eq(_least(unit.oldest for unit in every))
        with m.If(empty):
            m.d.comb += [
                fault.valid.eq(busy),
                fault.code.eq(ErrorCode.MISSING_FINISH),
                fault.index.eq(-1),
            ]
        with m.Elif(stuck):
            m.d.comb += [
                fault.valid.eq(busy),
                fault.code.eq(ErrorCode.DEADLOCK),
                fault.index.eq(oldest),
            ]
        for one in found:
            with m.If(one.valid):
                m.d.comb += fault.eq(one)

        with m.If(begins):
            m.d.sync += [
                busy.eq(1),
                status.done.eq(0),
                empty.eq(registers.insn_count == 0),
            ]
        with m.If(busy & ~halting):
            with m.If(fault.valid):
                m.d.sync += [
                    halting.eq(1),
                    status.error.eq(1),
                    error.code.eq(fault.code),
                    registers.error_insn.eq(fault.index),
                ]
            with m.Elif(quiet):
                m.d.sync += [busy.eq(0), status.done.eq(1)]
        with m.If(control.reset):
            m.d.sync += [halting.eq(1), forget.eq(1)]
        with m.If(flush):
            m.d.sync += [busy.eq(0), halting.eq(0), status.done.eq(1)]
            with m.If(forget):
                m.d.sync += [
                    forget.eq(0),
                    status.done.eq(0),
                    status.error.eq(0),
                    error.code.eq(ErrorCode.NONE),
                    registers.error_insn.eq(0),
                ]
        return halting

    def _count(
        self,
        m: Module,
        fetch: Fetch,
        engines: dict[Unit, Interface],
        sequencers: dict[Unit, Sequencer],
        registers: Registers,
    ) -> None:
        """Tell the counters what happens in this cycle."""
        rises = registers.rises
        load, compute, store = (engines[unit] for unit in (Unit.LOAD, Unit.COMPUTE, Unit.STORE))
        for counter, rise in {
            "CYCLES": 1,
            "GEMM_CYCLES": compute.gemm,
            "ALU_CYCLES": compute.alu,
            "OPERAND_HITS": compute.operand_hit,
            "FETCH_WORDS": fetch.reader.data.valid,
            "LOAD_WORDS": load.reader.data.valid,
            "COMPUTE_WORDS": compute.reader.data.valid,
            "STORE_WORDS": self.write.wvalid & self.write.wready,
            "INP_LOAD_NBYTES": load.inp_bytes,
            "WGT_LOAD_NBYTES": load.wgt_bytes,
            "ACC_LOAD_NBYTES": compute.acc_bytes,
            "UOP_LOAD_NBYTES": compute.uop_bytes,
            "OUT_STORE_NBYTES": store.out_bytes,
            "GEMM_COUNTER": compute.gemm_counted,
            "ALU_COUNTER": compute.alu_counted,
        }.items():
            m.d.comb += rises[counter].eq(Mux(self.running, rise, 0))
        for unit, sequencer in sequencers.items():
            m.d.comb += [
                self.starts[unit].eq(sequencer.start),
                self.ends[unit].eq(sequencer.ended),
            ]
            for activity in Activity:
                name = f"{unit.name}_{activity.name}"
                if name in kept(self.config):
                    now = self.running & (sequencer.activity == activity)
                    m.d.comb += rises[name].eq(now)


def _all_of(sequencers: dict[Unit, Sequencer], unit: Unit) -> list[Sequencer]:
    """Return the sequencers that share a unit's token queues."""
    found = [sequencers[unit]]
    if unit is Unit.COMPUTE and Unit.MATRIX in sequencers:
        found.append(sequencers[Unit.MATRIX])
    return found


def _all(bits: Iterable[Value]) -> Value:
    """Return whether every bit is set."""
    return Cat(bits).all()


def _least(values: Iterable[Value]) -> Value:
    """Return the least of some numbers."""
    return reduce(lambda a, b: Mux(b < a, b, a), values)
